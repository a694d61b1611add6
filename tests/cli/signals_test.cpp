// Commands that wait: what a signal does to them, and what they say of an engine that never answers.
#include "fixture/process.hpp"
#include "fixture/scripted_engine.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/test_daemon.hpp"

#include <catch2/catch_test_macros.hpp>

#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <mutex>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// An engine whose containers print a line, and run until they are let go.
struct engine_that_waits {
  std::string waits_at; ///< In requests; empty: everything waits.
  std::mutex mutex;
  std::condition_variable changed;
  bool over = false;
  scripted_engine engine{"waiting", [this](const std::string& request, scripted_connection&) {
                           if (request.find(waits_at) != std::string::npos) {
                             std::unique_lock lock{mutex};
                             changed.wait(lock, [this] { return over; });
                           }
                           return false;
                         }};

  explicit engine_that_waits(std::string where = "/wait") : waits_at(std::move(where)) {}
  ~engine_that_waits() { let_go(); }
  void let_go() {
    std::lock_guard guard{mutex};
    over = true;
    changed.notify_all();
  }
};

/// Whether the process has become davit: before that, signals meet the test's own handlers.
bool is_davit(const process& one) {
  std::error_code ec;
  return std::filesystem::equivalent("/proc/" + std::to_string(one.pid()) + "/exe", DAVIT_BINARY, ec);
}

} // namespace

TEST_CASE("a command that only reads or waits is ended by a signal, at once", "[signals]") {
  engine_that_waits waiting;
  test_agent agent{{waiting.engine.settings()}};
  auto id = to_string(agent.submit(busybox("true")));
  auto start = [&](std::vector<std::string> words) {
    words.insert(words.begin(), DAVIT_BINARY);
    auto one = std::make_unique<process>(words, "", std::vector<std::string>{"DAVIT_HOST=unix://" + agent.socket()});
    REQUIRE(eventually([&] { return is_davit(*one); }));
    return one;
  };
  for (auto signal : {SIGINT, SIGTERM, SIGHUP}) {
    CAPTURE(signal);
    auto logs = start({"logs", "-f", id}), wait = start({"wait", id});
    REQUIRE(logs->await_out("a line"));
    for (const auto& one : {logs.get(), wait.get()}) {
      one->signal(signal);
      CHECK(one->wait(60s).exit_code == 128 + signal);
    }
  }
  CHECK(agent.http("GET", "/v1/tasks/" + id).body.find("\"cancel_requested\":false") != std::string::npos);
  waiting.let_go();
}

TEST_CASE("SIGHUP changes nothing, while the agent works and while it drains", "[signals]") {
  engine_that_waits waiting;
  test_daemon daemon{{waiting.engine.settings()}};
  daemon.start();
  daemon.signal(SIGHUP);
  CHECK(eventually([&] { return daemon.said().find("SIGHUP changes nothing") != std::string::npos; }));
  CHECK(daemon.http("GET", "/healthz").status == 200);
  auto id = daemon.submit(busybox("true"));
  daemon.await_state(id, task_state::running);
  daemon.signal(SIGTERM);
  CHECK(eventually([&] { return daemon.http("GET", "/readyz").status == 503; }));
  daemon.signal(SIGHUP);
  CHECK(daemon.http("GET", "/healthz").status == 200);
  daemon.signal(SIGTERM);
  CHECK(daemon.wait_end().exit_code == 0);
  waiting.let_go();
}

TEST_CASE("davit run says that an engine which takes connections does not answer", "[silent]") {
  engine_that_waits silent{""};
  scratch_folder home;
  auto where = silent.engine.settings().endpoint;
  auto result = run_process({DAVIT_BINARY, "run", "busybox", "--", "true"}, "",
                            {"DOCKER_HOST=" + where, "XDG_STATE_HOME=" + home.path().string()});
  silent.let_go();
  CHECK(result.exit_code == 125);
  CHECK(result.err
        == "davit: no engine is ready: " + where + " has not answered within 5s (DOCKER_HOST names another)\n");
}
