// What davit adds to a task: `true` in busybox through a running agent, by the raw API over one kept connection, and by
// `docker run --rm`, interleaved in one run, so that the machine's mood hits all alike. Needs DOCKER_HOST and DAVIT_HOST.
#include "cli/client.hpp"
#include "json/write.hpp"
#include "messages/task.hpp"
#include "transport/engine_client.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <numeric>
#include <vector>

using namespace davit;
namespace asio = boost::asio;
using steady = std::chrono::steady_clock;
using transport::awaitable;

namespace {

const std::string image = "busybox:bench";

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "bench: " << what << '\n';
  std::exit(1);
}

double since(steady::time_point begun) {
  return std::chrono::duration<double>(steady::now() - begun).count();
}

// -- by davit --------------------------------------------------------------------------------------------------------

const std::string& task_body() {
  static const auto body = [] {
    task_spec spec;
    spec.image = image;
    spec.command = {"true"};
    spec.network = "none";
    return json::write(spec);
  }();
  return body;
}

/// One task after the other, until `left` is used up.
awaitable<void> davit_worker(api_client& client, int& left) {
  while (left-- > 0) {
    auto accepted = co_await client.http()->request(client.request("POST", "/v1/tasks", task_body()), {});
    json::parser parser;
    std::string_view id;
    if (!accepted || accepted->status != 202)
      fail("a task was not accepted");
    auto root = parser.parse(accepted->body);
    if (!root || (*root)["id"].get(id) != simdjson::SUCCESS)
      fail("no id");
    auto ended = co_await client.http()->request(client.request("GET", "/v1/tasks/" + std::string{id} + "/wait"), {});
    if (!ended || ended->status != 200 || ended->body.find("\"outcome\":\"succeeded\"") == std::string::npos)
      fail("a task did not succeed: " + (ended ? ended->body : ended.error().message));
  }
}

// -- by the raw API --------------------------------------------------------------------------------------------------

awaitable<std::string> must(std::shared_ptr<transport::http_client> http, std::string method, std::string target, std::string body = {}) {
  transport::http_request request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.body = std::move(body);
  auto answer = co_await http->request(std::move(request), {});
  if (!answer || answer->status >= 300)
    fail(answer ? answer->body : answer.error().message);
  co_return answer->body;
}

/// create, start, wait, logs, delete: what it takes to run a container, know its output and its code, and leave nothing.
awaitable<void> raw_worker(std::shared_ptr<transport::http_client> http, int& left) {
  const std::string body = R"({"Image":")" + image
                           + R"(","Cmd":["true"],"HostConfig":{"NetworkMode":"none","Memory":536870912,"MemorySwap":536870912,"NanoCpus":1000000000,"PidsLimit":512,)"
                             R"("SecurityOpt":["no-new-privileges"],"LogConfig":{"Type":"local","Config":{"mode":"blocking"}}}})";
  while (left-- > 0) {
    auto created = co_await must(http, "POST", "/v1.41/containers/create", body);
    json::parser parser;
    std::string_view id;
    auto root = parser.parse(created);
    if (!root || (*root)["Id"].get(id) != simdjson::SUCCESS)
      fail("no container id");
    auto path = "/v1.41/containers/" + std::string{id};
    co_await must(http, "POST", path + "/start");
    auto ended = co_await must(http, "POST", path + "/wait");
    if (ended.find("\"StatusCode\":0") == std::string::npos)
      fail("a container did not exit with 0");
    co_await must(http, "GET", path + "/logs?stdout=1&stderr=1");
    co_await must(http, "DELETE", path + "?v=1");
  }
}

// -- measuring -------------------------------------------------------------------------------------------------------

struct bench {
  api_client agent{agent_endpoint("")};
  transport::endpoint engine = [] {
    auto where = transport::endpoint_of(transport::engine_from_environment([](const char* name) -> const char* { return std::getenv(name); }));
    if (!where)
      fail(where.error().message);
    return *where;
  }();

  double by_davit(int count, int at_once) {
    auto& context = agent.context();
    auto left = count;
    auto begun = steady::now();
    for (int i = 0; i < at_once; ++i)
      asio::co_spawn(context, davit_worker(agent, left), asio::detached);
    context.restart();
    context.run();
    return since(begun);
  }

  double by_raw(int count, int at_once) {
    asio::io_context context{1};
    auto left = count;
    std::vector<std::shared_ptr<transport::http_client>> clients;
    for (int i = 0; i < at_once; ++i)
      clients.push_back(std::make_shared<transport::http_client>(context.get_executor(), engine));
    auto begun = steady::now();
    for (auto& one : clients)
      asio::co_spawn(context, raw_worker(one, left), asio::detached);
    context.run();
    return since(begun);
  }

  double by_docker_run() {
    auto begun = steady::now();
    auto command = "docker run --rm --network none --memory 512m --cpus 1 --pids-limit 512 --security-opt no-new-privileges --log-driver local " + image + " true";
    if (std::system(command.c_str()) != 0)
      fail("docker run failed");
    return since(begun);
  }
};

double percentile(std::vector<double> values, double at) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(at * static_cast<double>(values.size())))];
}

} // namespace

int main(int argc, char** argv) {
  try {
    auto rounds = argc > 1 ? std::atoi(argv[1]) : 40;
    bench run;
    run.by_davit(2, 1); // warm: the engine's caches, both connections
    run.by_raw(2, 1);
    run.by_docker_run();
    std::vector<double> davit, raw, docker;
    for (int i = 0; i < rounds; ++i) {
      // In turns, each order as often as any other: what one leaves behind for the kernel to clear up hits the next.
      static constexpr int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
      std::function<void()> turns[] = {[&] { davit.push_back(run.by_davit(1, 1)); }, [&] { raw.push_back(run.by_raw(1, 1)); }, [&] { docker.push_back(run.by_docker_run()); }};
      for (int turn : orders[i % 6])
        turns[turn]();
    }
    auto base = percentile(raw, 0.5), base99 = percentile(raw, 0.99);
    std::printf("| `true`, submit to exit code | p50 ms | ratio to raw | p99 ms | ratio to raw |\n|---|---|---|---|---|\n");
    for (const auto& [name, values] : {std::pair{"davit, running agent", &davit}, std::pair{"raw API, kept connection", &raw}, std::pair{"docker run --rm", &docker}})
      std::printf("| %s | %.0f | %.2f | %.0f | %.2f |\n", name, percentile(*values, 0.5) * 1e3, percentile(*values, 0.5) / base, percentile(*values, 0.99) * 1e3,
                  percentile(*values, 0.99) / base99);
    std::printf("\n| at once | davit tasks/s | raw tasks/s | ratio |\n|---|---|---|---|\n");
    for (int at_once : {1, 4, 16}) {
      double ours = 0, theirs = 0;
      auto count = std::max(rounds / 2, 2 * at_once);
      for (int i = 0; i < 4; ++i) { // interleaved
        ours += run.by_davit(count / 2, at_once);
        theirs += run.by_raw(count / 2, at_once);
      }
      auto total = 4.0 * (count / 2);
      std::printf("| %d | %.2f | %.2f | %.2f |\n", at_once, total / ours, total / theirs, theirs / ours);
      std::fflush(stdout);
    }
  } catch (const command_failure& e) {
    fail(e.message);
  }
}
