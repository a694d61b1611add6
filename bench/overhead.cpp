// What a task takes: `true` in busybox through a running agent (in a sandbox, in a container made for it, in one that
// joins a network which waited), by exec in a container that is up already, by the raw API over one kept connection, by
// dockerode and by `docker run --rm`, interleaved in one run, so that the machine's mood hits all alike.
// davit_bench_overhead ROUNDS NETWORK [DOCKERODE...]: needs DOCKER_HOST and DAVIT_HOST; NETWORK is one of the engine's,
// "" for none; DOCKERODE is a command that runs a container for each line it reads and answers with a line. Says what
// it found as lines of JSON (bench/report.mjs).
#include "cli/client.hpp"
#include "json/write.hpp"
#include "messages/task.hpp"
#include "transport/engine_client.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>
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

/// How a task is to be run.
struct manner {
  start_mode start = start_mode::automatic;
  std::string network = "none";
  bool once = false; ///< At most: so it is never in a sandbox.
};

std::string task_body(const manner& how) {
  task_spec spec;
  spec.image = image;
  spec.command = {"true"};
  spec.network = how.network;
  spec.start = how.start;
  spec.at_most_once = how.once;
  return json::write(spec);
}

/// One task after the other, until `left` is used up.
awaitable<void> davit_worker(api_client& client, manner how, int& left) {
  auto body = task_body(how);
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

awaitable<std::string>
must(std::shared_ptr<transport::http_client> http, std::string method, std::string target, std::string body = {}) {
  transport::http_request request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.body = std::move(body);
  auto answer = co_await http->request(std::move(request), {});
  if (!answer || answer->status >= 300)
    fail(answer ? answer->body : answer.error().message);
  co_return answer->body;
}

/// create, start, wait, logs, delete: what it takes to run a container, know its output and its code, and leave
/// nothing.
awaitable<void> raw_worker(std::shared_ptr<transport::http_client> http, std::string network, int& left) {
  const std::string body
    = R"({"Image":")" + image + R"(","Cmd":["true"],"HostConfig":{"NetworkMode":")" + network
    + R"(","Memory":536870912,"MemorySwap":536870912,"NanoCpus":1000000000,"PidsLimit":512,)"
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

/// An exec in a container that is up: what starting a process takes, without a container of its own or a log that
/// outlives it.
awaitable<void> exec_worker(std::shared_ptr<transport::http_client> http, std::string container, int& left) {
  while (left-- > 0) {
    auto created = co_await must(http, "POST", "/v1.41/containers/" + container + "/exec",
                                 R"({"Cmd":["true"],"AttachStdout":true,"AttachStderr":true})");
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
    auto where = transport::endpoint_of(
      transport::engine_from_environment([](const char* name) -> const char* { return std::getenv(name); }));
    if (!where)
      fail(where.error().message);
    return *where;
  }();

  double by_davit(int count, int at_once, manner how) {
    auto& context = agent.context();
    auto left = count;
    auto begun = steady::now();
    for (int i = 0; i < at_once; ++i)
      asio::co_spawn(context, davit_worker(agent, how, left), asio::detached);
    context.restart();
    context.run();
    return since(begun);
  }

  double by_raw(int count, int at_once, const std::string& network = "none") {
    asio::io_context context{1};
    auto left = count;
    std::vector<std::shared_ptr<transport::http_client>> clients;
    clients.reserve(static_cast<std::size_t>(at_once));
    for (int i = 0; i < at_once; ++i)
      clients.push_back(std::make_shared<transport::http_client>(context.get_executor(), engine));
    auto begun = steady::now();
    for (auto& one : clients)
      asio::co_spawn(context, raw_worker(one, network, left), asio::detached);
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
    return timed("seq " + std::to_string(count) + " | xargs -P " + std::to_string(at_once) + " -I{} "
                 + docker_run("none"));
  }

  double by_docker_run(const std::string& network = "none") { return timed(docker_run(network)); }

private:
  static std::string docker_run(const std::string& network) {
    return "docker run --rm --network " + network
         + " --memory 512m --cpus 1 --pids-limit 512 --security-opt no-new-privileges --log-driver local " + image
         + " true";
  }

  static double timed(const std::string& command) {
    auto begun = steady::now();
    if (std::system(command.c_str()) != 0)
      fail(command);
    return since(begun);
  }
};

/// A process that runs a container for each line that it is sent, and says so when it has ended.
class helper {
public:
  explicit helper(const std::vector<std::string>& command) {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0)
      fail("no pipes");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      std::vector<char*> words;
      words.reserve(command.size() + 1);
      for (const auto& one : command)
        words.push_back(const_cast<char*>(one.c_str()));
      words.push_back(nullptr);
      ::execvp(words[0], words.data());
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    to_ = in[1];
    from_ = out[0];
  }

  ~helper() {
    ::close(to_);
    ::close(from_);
    ::waitpid(pid_, nullptr, 0);
  }

  double once() {
    auto begun = steady::now();
    char answer = 0;
    if (::write(to_, "\n", 1) != 1 || ::read(from_, &answer, 1) != 1)
      fail("dockerode did not run its container");
    return since(begun);
  }

private:
  int to_ = -1, from_ = -1;
  pid_t pid_ = -1;
};

double percentile(std::vector<double> values, double at) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(at * static_cast<double>(values.size())))];
}

/// A line of the table: what davit takes or gives, and the peer it is measured against; `asked`: what the ratio should
/// be, as a sentence.
void say(const std::string& what, const std::string& unit, double value, const std::string& peer, double peer_value,
         const std::string& asked = {}) {
  std::printf(R"({"what":"%s","unit":"%s","value":%.4g,"peer":"%s","peer_value":%.4g,"ratio":%.4g,"asked":"%s"})"
              "\n",
              what.c_str(), unit.c_str(), value, peer.c_str(), peer_value, value / peer_value, asked.c_str());
  std::fflush(stdout);
}

/// Processor seconds of a process by now.
double cpu_of(const char* pid) {
  std::ifstream file{std::string{"/proc/"} + (pid ? pid : "self") + "/stat"};
  std::string text{std::istreambuf_iterator<char>{file}, {}};
  std::istringstream rest{text.substr(text.rfind(')') + 2)};
  std::string skipped;
  for (int i = 0; i < 11; ++i)
    rest >> skipped;
  double user = 0, system = 0;
  rest >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

} // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 3)
      fail("davit_bench_overhead ROUNDS NETWORK [DOCKERODE...]");
    auto rounds = std::atoi(argv[1]);
    std::string network = argv[2];
    std::optional<helper> dockerode;
    if (argc > 3)
      dockerode.emplace(std::vector<std::string>{argv + 3, argv + argc});
    bench run;
    auto shell = [](const std::string& command) {
      if (std::system(command.c_str()) != 0)
        fail(command);
    };
    shell("docker run -d --name bench-waiting --network none " + image + " sleep 86400 >/dev/null");
    struct way {
      std::string name;
      std::function<double()> once;
      std::vector<double> seconds{};
      double p50() const { return percentile(seconds, 0.5) * 1e3; }
      double p99() const { return percentile(seconds, 0.99) * 1e3; }
    };
    const std::string docker_name = "docker run --rm", exec_name = "exec in a container that is up",
                      raw_name = "raw API, kept connection", network_name = "docker run --rm, with a network";
    std::vector<way> ways{
      {"warm", [&] { return run.by_davit(1, 1, {}); }},
      {"cold", [&] { return run.by_davit(1, 1, {start_mode::cold}); }},
      {exec_name, [&] { return run.by_exec(); }},
      {raw_name, [&] { return run.by_raw(1, 1); }},
      {docker_name, [&] { return run.by_docker_run(); }},
    };
    if (dockerode)
      ways.push_back({"dockerode", [&] { return dockerode->once(); }});
    if (!network.empty()) {
      ways.push_back({"network ahead", [&] { return run.by_davit(1, 1, {start_mode::automatic, network, true}); }});
      ways.push_back({"cold, with a network", [&] { return run.by_davit(1, 1, {start_mode::cold, network}); }});
      ways.push_back({network_name, [&] { return run.by_docker_run(network); }});
    }
    for (auto& one : ways) // the engine's caches, the connections, the first sandbox
      for (int i = 0; i < 2; ++i)
        one.once();
    for (int i = 0; i < rounds; ++i) {
      // In turns, from another beginning and in the other direction each time: what one leaves behind for the kernel to
      // clear up hits the next.
      for (std::size_t turn = 0; turn < ways.size(); ++turn) {
        auto step = i % 2 == 0 ? turn : ways.size() - 1 - turn;
        auto& one = ways[(step + static_cast<std::size_t>(i / 2)) % ways.size()];
        one.seconds.push_back(one.once());
      }
    }
    auto way_of = [&](const std::string& name) -> const way& {
      return *std::find_if(ways.begin(), ways.end(), [&](const way& one) { return one.name == name; });
    };
    auto compare = [&](const std::string& name, const std::string& peer, const std::string& asked = {}) {
      const auto &mine = way_of(name), &theirs = way_of(peer);
      say(name + ", submit to exit code, p50", "ms", mine.p50(), peer, theirs.p50(), asked);
      say(name + ", submit to exit code, p99", "ms", mine.p99(), peer, theirs.p99());
    };
    compare("warm", docker_name, "at most 0.20");
    compare("warm", exec_name, "at most 1.15");
    compare("cold", raw_name, "at most 1.05");
    compare("cold", docker_name);
    if (dockerode) {
      compare("warm", "dockerode");
      compare("cold", "dockerode");
    }
    if (!network.empty()) {
      compare("network ahead", network_name, "at most 0.55");
      compare("cold, with a network", network_name);
    }
    shell("docker rm -f bench-waiting >/dev/null");
    double best = 0, best_docker = 0, agent_cpu = 0;
    int agent_tasks = 0;
    for (int at_once : {1, 4, 16}) {
      double ours = 0, cold = 0, raw_total = 0, docker = 0;
      auto count = std::max(40, 4 * at_once); // more than wait already: what can be kept up
      auto turns = std::max(3, rounds / 10);
      const std::vector<std::function<void()>> kinds{
        [&] {
          auto cpu = cpu_of(std::getenv("AGENT_PID"));
          ours += run.by_davit(count, at_once, {});
          agent_cpu += cpu_of(std::getenv("AGENT_PID")) - cpu;
          agent_tasks += count;
        },
        [&] { cold += run.by_davit(count, at_once, {start_mode::cold}); },
        [&] { raw_total += run.by_raw(count, at_once); },
        [&] { docker += run.by_docker_runs(count, at_once); },
      };
      for (int i = 0; i < turns; ++i) // interleaved, in the other direction each time
        for (std::size_t turn = 0; turn < kinds.size(); ++turn)
          kinds[i % 2 == 0 ? turn : kinds.size() - 1 - turn]();
      auto total = turns * static_cast<double>(count);
      auto at = std::to_string(at_once) + " at once";
      say("throughput, " + at, "tasks/s", total / ours, "docker run, xargs -P", total / docker);
      say("throughput cold, " + at, "tasks/s", total / cold, "raw API", total / raw_total);
      best = std::max(best, total / ours);
      best_docker = std::max(best_docker, total / docker);
    }
    say("throughput, best", "tasks/s", best, "docker run, xargs -P, best", best_docker, "at least 2");
    if (std::getenv("AGENT_PID"))
      std::printf(R"({"what":"agent's processor time per 1000 tasks","unit":"s","value":%.3g})"
                  "\n",
                  agent_cpu * 1000 / agent_tasks);
  } catch (const command_failure& e) {
    fail(e.message);
  }
}
