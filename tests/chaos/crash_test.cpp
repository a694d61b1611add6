// Promises 1, 2, 3, 4, 5 and 7 at every point where an agent can die: kill -9 there, start again, look at everything.
#include "actors/crash_point.hpp"
#include "fixture/test_daemon.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <csignal>
#include <map>
#include <sstream>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// How often each container was created and started, from the engine's own account.
struct engine_account {
  std::map<std::string, int> created, started;

  explicit engine_account(const test_engine& engine, const std::string& since) {
    std::istringstream lines{engine.docker(
      "events --since " + since
      + " --until \"$(date +%s.%N)\" --filter type=container --format '{{.Action}} {{.Actor.Attributes.name}}'")};
    std::string action, name;
    while (lines >> action >> name) {
      if (action == "create")
        ++created[name];
      else if (action == "start")
        ++started[name];
    }
  }
};

std::string engine_seconds() {
  return shell("date +%s.%N | tr -d '\\n'");
}

void check_crash_at(const test_engine& engine, std::string_view point, bool at_most_once) {
  INFO("kill -9 at: " << point << (at_most_once ? ", at_most_once" : ""));
  test_daemon agent{{engine.settings(4)}, {}, DAVIT_CRASHING};
  auto since = engine_seconds();
  agent.start({"DAVIT_CRASH_AT=" + std::string{point}});
  agent.await_engine("a", engine_state::ready);
  auto spec = busybox("for i in $(seq 8); do echo line $i; sleep 0.1; done; exit 7");
  spec.at_most_once = at_most_once;
  spec.dedupe_key = "the one"; // a client that got no answer asks again
  spec.retry.backoff = {10ms, 10ms};
  task_id id;
  try {
    id = agent.submit(spec);
  } catch (const std::exception&) {
    // The answer and the attempt's first steps follow from the same commit, side by side.
    CHECK((point == "task accepted" || point == "attempt claimed" || point == "attempt judged"));
  }
  auto end = agent.wait_end();
  REQUIRE(end.exit_code == 128 + 9); // it died where it was told to
  agent.start();
  if (id.nil()) {
    auto answer = agent.http("GET", "/v1/tasks");
    CHECK(answer.body.find("\"name\"") != std::string::npos); // accepted is accepted, answered or not
    id = agent.submit(spec);
    std::size_t tasks = 0;
    auto all = agent.http("GET", "/v1/tasks").body;
    for (std::size_t at = 0; (at = all.find("\"cancel_requested\"", at)) != std::string::npos; ++at)
      ++tasks;
    CHECK(tasks == 1);
  }
  auto ended = agent.wait(id);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.exit_code == 7);
  CHECK(ended.attempts.size() == 1); // an agent's death is not the task's
  auto output = agent.logs(id);
  CHECK(output.out == "line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7\nline 8\n");
  CHECK(output.notes == "");
  // The reaper takes what the crash left, if the executor had no chance to.
  CHECK(eventually([&] { return engine.docker("ps -aq").empty(); }));
  engine_account account{engine, since};
  auto name = "davit-" + to_string(id) + "-1";
  // One that a start may still reach is not started again, but made again.
  auto unsure = point.starts_with("container asked") || point == "container created" || point.starts_with("start a");
  CHECK(account.created[name] >= 1);
  CHECK(account.created[name] <= (unsure ? 2 : 1));
  CHECK(account.started[name] == 1);
  CHECK(account.started.size() == 1);
  auto events = agent.http("GET", "/v1/tasks/" + to_string(id) + "/events").body;
  std::size_t finished = 0;
  for (std::size_t at = 0; (at = events.find("\"kind\":\"finished\"", at)) != std::string::npos; ++at)
    ++finished;
  CHECK(finished == 1); // reported exactly once
}

bool of_networks(std::string_view point) {
  return point.starts_with("network");
}

bool of_sandboxes(std::string_view point) {
  return of_networks(point) || point.starts_with("sandbox") || point == "hand-over asked"
      || point == "task handed over";
}

/// Points that a task in a sandbox does not come by, unless an agent has died before.
bool of_cold_starts(std::string_view point) {
  return of_networks(point) || point == "sandbox given up" || point.starts_with("start a")
      || point.starts_with("container asked") || point == "container created" || point == "container started";
}

/// The agent dies on the way of this task, and starts again; a client that got no answer asks again.
task_id submit_and_crash(test_daemon& agent, const task_spec& spec, std::string_view point) {
  task_id id;
  try {
    id = agent.submit(spec);
  } catch (const std::exception&) {
    CHECK((point == "task accepted" || point.starts_with("attempt "))); // later than that the answer is out
  }
  REQUIRE(agent.wait_end().exit_code == 128 + 9);
  agent.start();
  if (!id.nil())
    return id;
  CHECK(agent.http("GET", "/v1/tasks").body.find("\"name\"")
        != std::string::npos); // accepted is accepted, answered or not
  return agent.submit(spec);
}

void check_crash_in_sandbox(const test_engine& engine, std::string_view point) {
  INFO("kill -9 at: " << point << ", in a sandbox");
  auto settings = engine.settings(4);
  settings.sandboxes = 1;
  test_daemon agent{{settings}, {}, DAVIT_CRASHING};
  auto since = engine_seconds();
  agent.start({"DAVIT_CRASH_AT=" + std::string{point}});
  agent.await_engine("a", engine_state::ready);
  auto spec = busybox("for i in $(seq 8); do echo line $i; sleep 0.1; done; exit 7");
  spec.start = start_mode::warm;
  spec.dedupe_key = "the one";
  auto id = submit_and_crash(agent, spec, point);
  auto ended = agent.wait(id);
  INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
  CHECK(ended.exit_code == 7);
  CHECK(ended.attempts.size() == 1);
  auto output = agent.logs(id);
  CHECK(output.out == "line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7\nline 8\n");
  CHECK(output.err == "");
  CHECK(output.notes == "");
  CHECK(eventually([&] { return engine.leftovers().empty(); }));
  engine_account account{engine, since};
  for (const auto& [name, times] : account.started)
    CHECK(times == 1);
  agent.signal(SIGTERM); // draining, it gives its sandboxes up
  CHECK(agent.wait_end().exit_code == 0);
  CHECK(engine.docker("ps -aq") == "");
}

void check_crash_in_network(const engine_with_network& on, std::string_view point) {
  INFO("kill -9 at: " << point << ", in a network that was made ahead");
  scratch_folder folder;
  test_daemon agent{{on.settings()}, {"--davit.policy.networks.allow=[\"none\",\"n1\"]"}, DAVIT_CRASHING};
  agent.start({"DAVIT_CRASH_AT=" + std::string{point}, "DAVIT_CRASH_IF=" + (folder / "now")});
  agent.await_engine("a", engine_state::ready);
  auto spec = busybox("for i in $(seq 8); do echo line $i; sleep 0.1; done; nc -w5 10.213.77.1 1 2>&1 | grep -q "
                      "refused && echo reached; exit 7");
  spec.network = "n1";
  spec.at_most_once = true;
  agent.wait(agent.submit(spec)); // for the next ones a network is made
  REQUIRE(eventually([&] { return !on.networks_that_wait().empty(); }));
  auto since = engine_seconds();
  shell("touch " + (folder / "now"));
  spec.dedupe_key = "the one";
  auto id = submit_and_crash(agent, spec, point);
  auto ended = agent.wait(id);
  INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
  CHECK(ended.exit_code == 7);
  CHECK(ended.attempts.size() == 1);
  CHECK(agent.logs(id).out == "line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7\nline 8\nreached\n");
  CHECK(eventually([&] { return on.engine.leftovers().empty(); }));
  engine_account account{on.engine, since};
  CHECK(account.started["davit-" + to_string(id) + "-1"] == 1);
  agent.signal(SIGTERM);
  CHECK(agent.wait_end().exit_code == 0);
  CHECK(on.engine.docker("ps -aq") == "");
}

} // namespace

TEST_CASE("kill -9 of the agent at every point, with the task's container in a network that was made ahead: the same",
          "[crash][ahead]") {
  engine_with_network on;
  for (auto point : crash_points)
    if (of_networks(point) || !of_sandboxes(point))
      check_crash_in_network(on, point);
}

TEST_CASE(
  "kill -9 of the agent at every point: the task ends once, with its own code and its whole log, and nothing is left",
  "[crash]") {
  test_engine engine{"a"};
  for (auto point : crash_points)
    if (point != "start announced" && !of_sandboxes(point)) // only written for tasks that run at most once
      check_crash_at(engine, point, false);
}

TEST_CASE("kill -9 of the agent at every point, with the task in a sandbox: the same, and no sandbox is left",
          "[crash][warm]") {
  test_engine engine{"a"};
  for (auto point : crash_points)
    if (!of_cold_starts(point))
      check_crash_in_sandbox(engine, point);
}

TEST_CASE("kill -9 of the agent at every point: a task that runs at most once is started once", "[crash]") {
  test_engine engine{"a"};
  for (auto point : crash_points)
    if (!of_sandboxes(point))
      check_crash_at(engine, point, true);
}

TEST_CASE("kill -9 on the way of a command that can't be executed: the next agent says why it could not",
          "[crash][warm]") {
  test_engine engine{"a"};
  auto settings = engine.settings(4);
  settings.sandboxes = 1;
  for (auto start : {start_mode::warm, start_mode::cold})
    for (auto point : crash_points) {
      // It prints nothing, and its end is told by its log or by the engine, whichever comes first.
      if (of_networks(point) || point.starts_with("log ") || point == "container ended" || point == "start announced"
          || (start == start_mode::warm ? of_cold_starts(point) : of_sandboxes(point)))
        continue;
      INFO("kill -9 at: " << point << ", " << to_string(start));
      test_daemon agent{{settings}, {}, DAVIT_CRASHING};
      agent.start({"DAVIT_CRASH_AT=" + std::string{point}});
      agent.await_engine("a", engine_state::ready);
      auto spec = busybox(std::vector<std::string>{"no-such-program"});
      spec.start = start;
      spec.dedupe_key = "the one";
      auto ended = agent.wait(submit_and_crash(agent, spec, point));
      INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
      CHECK(ended.outcome == outcome::failed);
      CHECK(ended.exit_code == 127);
      CHECK(ended.message.starts_with("the command could not be executed"));
      CHECK(ended.attempts.size() == 1);
      auto output = agent.logs(ended.id);
      CHECK(output.out + output.err + output.notes == "");
      CHECK(eventually([&] { return engine.leftovers().empty(); })); // the reaper takes what the crash left
      agent.signal(SIGTERM);
      CHECK(agent.wait_end().exit_code == 0);
      CHECK(engine.docker("ps -aq") == "");
    }
}

TEST_CASE(
  "kill -9 twice, once before a sandbox has its task and once when it was given up: the task runs in the same attempt",
  "[crash][warm]") {
  test_engine engine{"a"};
  auto settings = engine.settings(4);
  settings.sandboxes = 1;
  test_daemon agent{{settings}, {}, DAVIT_CRASHING};
  agent.start({"DAVIT_CRASH_AT=sandbox taken"});
  agent.await_engine("a", engine_state::ready);
  auto spec = busybox("echo once; exit 7");
  spec.start = start_mode::warm;
  spec.retry.attempts = 1;
  auto id = agent.submit(spec);
  REQUIRE(agent.wait_end().exit_code == 128 + 9);
  agent.start({"DAVIT_CRASH_AT=sandbox given up"});
  REQUIRE(agent.wait_end().exit_code == 128 + 9);
  agent.start();
  auto ended = agent.wait(id);
  INFO(ended.message);
  CHECK(ended.exit_code == 7);
  CHECK(ended.attempts.size() == 1);
  CHECK(agent.logs(id).out == "once\n");
}

TEST_CASE("what a crash has left is gone when the next agent has drained, however soon that is", "[crash]") {
  test_engine engine{"a"};
  auto settings = engine.settings(4);
  settings.sandboxes = GENERATE(0, 1);
  test_daemon agent{{settings}, {}, DAVIT_CRASHING};
  agent.start({"DAVIT_CRASH_AT=outcome stored"});
  agent.await_engine("a", engine_state::ready);
  auto id = agent.submit(busybox("exit 7"));
  REQUIRE(agent.wait_end().exit_code == 128 + 9);
  agent.start();
  agent.await_engine("a", engine_state::ready);
  CHECK(agent.wait(id).exit_code == 7);
  agent.signal(SIGTERM);
  CHECK(agent.wait_end().exit_code == 0);
  CHECK(engine.docker("ps -aq") == "");
}

TEST_CASE("a task that ended in time while no agent was there is not timed out by the age of its sandbox",
          "[crash][warm]") {
  test_engine engine{"a"};
  auto settings = engine.settings(4);
  settings.sandboxes = 1;
  test_daemon agent{{settings}};
  agent.start();
  agent.await_engine("a", engine_state::ready);
  agent.wait(agent.submit(busybox("true")));
  REQUIRE(eventually([&] { return agent.metric("davit_sandboxes{engine=\"a\"}") == 1; }));
  auto since = std::chrono::steady_clock::now();
  eventually(
    [&] { return std::chrono::steady_clock::now() - since > 2500ms; }); // the sandbox is older than the timeout
  auto spec = busybox("sleep 0.5; echo done; exit 7");
  spec.timeout = 2s;
  auto id = agent.submit(spec);
  agent.await_state(id, task_state::running);
  agent.kill();
  REQUIRE(eventually([&] { return engine.docker("ps -q --filter name=davit-" + to_string(id)).empty(); }));
  agent.start();
  auto ended = agent.wait(id);
  CHECK(ended.attempts.back().evidence.start == "warm");
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.exit_code == 7);
  CHECK(agent.logs(id).out == "done\n");
}

TEST_CASE("an agent that dies as it gives an engine up goes on with the task when both are back") {
  test_engine engine{"a"};
  auto settings = engine.settings(2);
  settings.grace = 1s;
  test_daemon agent{{settings}, {}, DAVIT_CRASHING};
  agent.start({"DAVIT_CRASH_AT=log closed"});
  agent.await_engine("a", engine_state::ready);
  auto spec = busybox("for i in $(seq 60); do echo line $i; sleep 0.5; done; exit 7");
  spec.start = GENERATE(start_mode::cold, start_mode::warm);
  auto id = agent.submit(spec);
  agent.await_state(id, task_state::running);
  REQUIRE(eventually([&] { return agent.logs(id).out.find("line 3\n") != std::string::npos; }));
  engine.freeze();
  auto end = agent.wait_end();
  REQUIRE(end.exit_code == 128 + 9);
  engine.thaw();
  agent.start();
  auto ended = agent.wait(id);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.exit_code == 7);
  CHECK(ended.attempts.size() == 1);
  std::string all;
  for (int i = 1; i <= 60; ++i)
    all += "line " + std::to_string(i) + '\n';
  CHECK(agent.logs(id).out == all);
}

TEST_CASE("an agent that dies over the outputs of a container whose engine was restarted ends the task", "[crash]") {
  test_engine engine{"a"};
  auto settings = engine.settings(2);
  settings.sandboxes = 1;
  test_daemon agent{{settings}, {}, DAVIT_CRASHING};
  agent.start({"DAVIT_CRASH_AT=output asked"});
  agent.await_engine("a", engine_state::ready);
  auto spec = busybox("mkdir /out; seq 100000 >/out/all; echo made; sleep 2; exit 3");
  spec.start = GENERATE(start_mode::cold, start_mode::warm);
  spec.outputs["out"].path = "/out";
  auto id = agent.submit(spec);
  agent.await_state(id, task_state::running);
  REQUIRE(eventually([&] { return agent.logs(id).out == "made\n"; }));
  agent.signal(SIGSTOP); // it ends while nobody looks
  REQUIRE(eventually([&] { return engine.docker("ps -q --filter name=davit-" + to_string(id)).empty(); }));
  engine.kill();
  engine.start();
  agent.signal(SIGCONT);
  CHECK(agent.wait_end().exit_code == 128 + 9);
  agent.start();
  auto ended = agent.wait(id);
  INFO(to_string(spec.start) << ": " << ended.attempts.front().message << "; " << ended.attempts.front().evidence.note);
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.exit_code == 3);
  CHECK(ended.attempts.size() == 1);
}
