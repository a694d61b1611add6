// Standard input: a task has all of it or is not taken for a success, and what passes it on ends with the attempt.
#include "fixture/test_agent.hpp"
#include "fixture/test_daemon.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <csignal>
#include <filesystem>
#include <linux/sockios.h>
#include <sys/ioctl.h>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t much = 3'000'000; // more than the pipe and the sockets on its way take

task_spec with_input(std::string script, start_mode start, std::size_t size = much) {
  auto spec = busybox(std::move(script));
  spec.stdin_text = std::string(size, 'x');
  spec.start = start;
  spec.retry.backoff = {100ms, 100ms};
  return spec;
}

/// Of this process: sockets whose bytes the other side has not taken.
int unsent_sockets() {
  int count = 0;
  for (const auto& one : std::filesystem::directory_iterator{"/proc/self/fd"}) {
    int bytes = 0;
    if (::ioctl(std::atoi(one.path().filename().c_str()), SIOCOUTQ, &bytes) == 0 && bytes > 0)
      ++count;
  }
  return count;
}

engine_settings through(const cutting_proxy& proxy, const test_engine& engine) {
  auto settings = engine.settings(4);
  settings.endpoint = "unix://" + proxy.socket();
  settings.sandboxes = 2;
  return settings;
}

/// The attempt has begun, and its input can't have been passed on yet.
void await_feeding(agent_client& agent, task_id id) {
  agent.await_state(id, task_state::running);
  REQUIRE(eventually([&] { return agent.find(id).attempts.back().message == "standard input under way"; }));
  shell("sleep 0.5"); // for as much as is taken at once
}

const std::string whole = std::to_string(much) + "\n";

} // namespace

TEST_CASE("a task need not read its input, and nothing is left of it when the task has ended", "[input]") {
  static const test_engine engine{"a"};
  auto start = GENERATE(start_mode::cold, start_mode::warm);
  auto settings = engine.settings(4);
  settings.sandboxes = 2;
  test_agent agent{{settings}};
  for (auto script : {"true", "head -c 100000 > /dev/null", "exec <&-; sleep 1", "sleep 1", "exit 3"}) {
    auto ended = agent.run(with_input(script, start));
    INFO(script << ": " << ended.message);
    CHECK(ended.outcome == (std::string_view{script} == "exit 3" ? outcome::failed : outcome::succeeded));
    CHECK(ended.attempts.size() == 1);
    CHECK(eventually([] { return unsent_sockets() == 0; }, 5s));
  }
  auto cancelled = agent.submit(with_input("sleep 600", start));
  await_feeding(agent, cancelled);
  CHECK(unsent_sockets() == 1);
  agent.cancel(cancelled);
  CHECK(agent.wait(cancelled).outcome == outcome::cancelled);
  CHECK(eventually([] { return unsent_sockets() == 0; }, 5s));
}

TEST_CASE("a task whose input's connection is lost is run again, and is no success", "[input]") {
  static const test_engine engine{"a"};
  auto start = GENERATE(start_mode::cold, start_mode::warm);
  cutting_proxy proxy{engine.socket()};
  test_agent agent{{through(proxy, engine)}};
  auto id = agent.submit(with_input("sleep 2; wc -c", start));
  await_feeding(agent, id);
  proxy.cut();
  auto ended = agent.wait(id);
  CHECK(ended.outcome == outcome::succeeded);
  REQUIRE(ended.attempts.size() == 2);
  CHECK(ended.attempts.front().outcome == outcome::engine_lost);
  CHECK(ended.attempts.front().message.find("standard input") != std::string::npos);
  CHECK(agent.logs(id).out == whole);
  CHECK(ended.attempts.back().message.empty());
}

TEST_CASE("a container whose standard input can't be attached to is made again", "[input]") {
  static const test_engine engine{"a"};
  cutting_proxy proxy{engine.socket()};
  test_agent agent{{through(proxy, engine)}};
  auto size = GENERATE(std::size_t{0}, std::size_t{6}, much);
  proxy.lose_answer_to("/attach?");
  auto ended = agent.run(with_input("wc -c; exit 4", start_mode::cold, size));
  INFO(ended.message);
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.exit_code == 4);
  CHECK(ended.attempts.size() == 1);
  CHECK(agent.logs(ended.id).out == std::to_string(size) + "\n");
}

TEST_CASE("a task whose agent ends while it passes its input on is run again, unless it may run once at most",
          "[input]") {
  static const test_engine engine{"a"};
  auto start = GENERATE(start_mode::cold, start_mode::warm);
  auto killed = GENERATE(true, false);
  auto settings = engine.settings(4);
  settings.sandboxes = 2;
  test_daemon agent{{settings}, {"--davit.agent.drain-timeout=100ms", "--davit.agent.drain-action=leave"}};
  agent.start();
  auto spec = with_input("test $DAVIT_ATTEMPT != 1 || sleep 1000; wc -c", start); // the first time it reads nothing
  spec.at_most_once = start == start_mode::cold;
  auto id = agent.submit(spec);
  await_feeding(agent, id);
  // One that has had all does not lose it.
  auto other = agent.submit(with_input("wc -c; until test -e /tmp/go; do sleep 0.1; done", start, 10));
  agent.await_state(other, task_state::running);
  auto has_all
    = eventually([&] { return agent.logs(other).out == "10\n" && agent.find(other).attempts.back().message.empty(); });
  CAPTURE(agent.logs(other).out, agent.find(other).attempts.back().message);
  REQUIRE(has_all);
  if (killed) {
    agent.kill();
  } else {
    agent.signal(SIGTERM);
    agent.wait_end();
  }
  agent.start();
  auto ended = agent.wait(id);
  CHECK(ended.attempts.front().outcome == outcome::agent_lost);
  CHECK(ended.attempts.front().message.find("standard input") != std::string::npos);
  if (spec.at_most_once) {
    CHECK(ended.outcome == outcome::agent_lost);
    CHECK(ended.attempts.size() == 1);
  } else {
    CHECK(ended.outcome == outcome::succeeded);
    CHECK(agent.logs(id).out == whole);
  }
  engine.docker("exec davit-" + to_string(other) + "-1 touch /tmp/go");
  auto well = agent.wait(other);
  INFO(well.message);
  CHECK(well.outcome == outcome::succeeded);
  CHECK(well.attempts.size() == 1);
}
