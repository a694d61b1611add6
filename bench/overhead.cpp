// What a task takes: `true` in busybox through a running agent, in a sandbox and in a container made for it, by exec in a container that is
// up already, by the raw API over one kept connection, and by `docker run --rm`, interleaved in one run, so that the machine's mood hits all alike. Needs DOCKER_HOST and DAVIT_HOST.
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

std::string task_body(start_mode start) {
  task_spec spec;
  spec.image = image;
  spec.command = {"true"};
  spec.network = "none";
  spec.start = start;
  return json::write(spec);
}

/// One task after the other, until `left` is used up.
awaitable<void> davit_worker(api_client& client, start_mode start, int& left) {
  auto body = task_body(start);
  while (left-- > 0) {
    auto accepted = co_await client.http()->request(client.request("POST", "/v1/tasks", body), {});
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

/// An exec in a container that is up: what starting a process takes, without a container of its own or a log that outlives it.
awaitable<void> exec_worker(std::shared_ptr<transport::http_client> http, std::string container, int& left) {
  while (left-- > 0) {
    auto created = co_await must(http, "POST", "/v1.41/containers/" + container + "/exec", R"({"Cmd":["true"],"AttachStdout":true,"AttachStderr":true})");
    json::parser parser;
    std::string_view id;
    auto root = parser.parse(created);
    if (!root || (*root)["Id"].get(id) != simdjson::SUCCESS)
      fail("no exec id");
    transport::http_request request;
    request.method = "POST";
    request.target = "/v1.41/exec/" + std::string{id} + "/start";
    request.body = R"({"Detach":false,"Tty":false})";
    auto line = co_await http->hijack(std::move(request), {});
    if (!line)
      fail(line.error().message);
    std::vector<char> buffer(4096);
    while (true) {
      auto count = co_await line->stream->read_some(buffer, transport::no_deadline);
      if (!count || *count == 0)
        break;
    }
    auto ended = co_await must(http, "GET", "/v1.41/exec/" + std::string{id} + "/json");
    if (ended.find("\"ExitCode\":0") == std::string::npos)
      fail("an exec did not exit with 0");
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

  double by_davit(int count, int at_once, start_mode start) {
    auto& context = agent.context();
    auto left = count;
    auto begun = steady::now();
    for (int i = 0; i < at_once; ++i)
      asio::co_spawn(context, davit_worker(agent, start, left), asio::detached);
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

  double by_exec() {
    asio::io_context context{1};
    auto client = std::make_shared<transport::http_client>(context.get_executor(), engine);
    auto left = 1;
    auto begun = steady::now();
    asio::co_spawn(context, exec_worker(client, "bench-waiting", left), asio::detached);
    context.run();
    return since(begun);
  }

  /// As many as that at once, with the shell's own means.
  double by_docker_runs(int count, int at_once) {
    auto begun = steady::now();
    auto command = "seq " + std::to_string(count) + " | xargs -P " + std::to_string(at_once) + " -I{} docker run --rm --network none --memory 512m --cpus 1 --pids-limit 512 "
                   "--security-opt no-new-privileges --log-driver local " + image + " true";
    if (std::system(command.c_str()) != 0)
      fail("docker run failed");
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
    auto shell = [](const std::string& command) {
      if (std::system(command.c_str()) != 0)
        fail(command);
    };
    shell("docker run -d --name bench-waiting --network none " + image + " sleep 86400 >/dev/null");
    struct way {
      const char* name;
      std::function<double()> once;
      std::vector<double> seconds{};
    };
    std::vector<way> ways{
      {"davit, warm", [&] { return run.by_davit(1, 1, start_mode::automatic); }},
      {"davit, cold", [&] { return run.by_davit(1, 1, start_mode::cold); }},
      {"exec in a container that is up", [&] { return run.by_exec(); }},
      {"raw API, kept connection", [&] { return run.by_raw(1, 1); }},
      {"docker run --rm", [&] { return run.by_docker_run(); }},
    };
    for (auto& one : ways) // the engine's caches, the connections, the first sandbox
      for (int i = 0; i < 2; ++i)
        one.once();
    for (int i = 0; i < rounds; ++i) {
      // In turns, from another beginning and in the other direction each time: what one leaves behind for the kernel to clear up hits the next.
      for (std::size_t turn = 0; turn < ways.size(); ++turn) {
        auto step = i % 2 == 0 ? turn : ways.size() - 1 - turn;
        auto& one = ways[(step + static_cast<std::size_t>(i / 2)) % ways.size()];
        one.seconds.push_back(one.once());
      }
    }
    auto base = percentile(ways.back().seconds, 0.5), base99 = percentile(ways.back().seconds, 0.99), exec = percentile(ways[2].seconds, 0.5), raw = percentile(ways[3].seconds, 0.5);
    std::printf("| `true`, submit to exit code | p50 ms | to docker run | to raw API | to exec | p99 ms | to docker run |\n|---|---|---|---|---|---|---|\n");
    for (const auto& one : ways) {
      auto middle = percentile(one.seconds, 0.5), most = percentile(one.seconds, 0.99);
      std::printf("| %s | %.0f | %.3f | %.2f | %.2f | %.0f | %.3f |\n", one.name, middle * 1e3, middle / base, middle / raw, middle / exec, most * 1e3, most / base99);
    }
    shell("docker rm -f bench-waiting >/dev/null");
    std::printf("\n| at once | davit tasks/s | cold | raw API | docker run, xargs -P | davit to docker run |\n|---|---|---|---|---|---|\n");
    for (int at_once : {1, 4, 16}) {
      double ours = 0, cold = 0, raw_total = 0, docker = 0;
      auto count = std::max(40, 4 * at_once); // more than wait already: what can be kept up
      auto turns = std::max(1, rounds / 20);
      for (int i = 0; i < turns; ++i) { // interleaved
        ours += run.by_davit(count, at_once, start_mode::automatic);
        cold += run.by_davit(count, at_once, start_mode::cold);
        raw_total += run.by_raw(count, at_once);
        docker += run.by_docker_runs(count, at_once);
      }
      auto total = turns * static_cast<double>(count);
      std::printf("| %d | %.2f | %.2f | %.2f | %.2f | %.2f |\n", at_once, total / ours, total / cold, total / raw_total, total / docker, docker / ours);
      std::fflush(stdout);
    }
  } catch (const command_failure& e) {
    fail(e.message);
  }
}
