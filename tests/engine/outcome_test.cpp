// Promise 3: the exit code is the container's own; each way to end is told apart.
#include "cli/run.hpp"
#include "engine/suites.hpp"
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace davit::test {

void check_outcomes(const any_engine& engine) {
  test_agent agent{{engine.settings(4)}};
  agent.default_start = engine.how_to_start();

  SECTION("exit codes are the container's own") {
    for (int code : {0, 1, 42, 126, 127, 255}) {
      auto ended = agent.run(busybox("exit " + std::to_string(code)));
      CHECK(ended.outcome == (code == 0 ? outcome::succeeded : outcome::failed));
      CHECK(ended.exit_code == code);
      CHECK(exit_code_of(ended) == code);
      CHECK(ended.attempts.size() == 1);
    }
  }
  SECTION("a kill -9 and a SIGTERM inside are the task's own, no OOM and no timeout") {
    auto killed = agent.run(busybox("sh -c 'kill -9 $$'; exit $?"));
    CHECK(killed.outcome == outcome::failed);
    CHECK(killed.exit_code == 137);
    auto terminated = agent.run(busybox("sh -c 'kill -TERM $$'; exit $?"));
    CHECK(terminated.outcome == outcome::failed);
    CHECK(terminated.exit_code == 143);
    CHECK(terminated.message.find("SIGTERM") != std::string::npos);
  }
  SECTION("the kernel's OOM kill") {
    auto spec = busybox("head -c 200000000 /dev/zero | tail -c 190000000 >/dev/null; exit 9");
    spec.resources.memory = byte_size{16 << 20};
    spec.command = {"tail", "/dev/zero"};
    auto ended = agent.run(spec);
    CHECK(ended.outcome == outcome::oom_killed);
    CHECK(ended.exit_code == 137);
    CHECK(exit_code_of(ended) == 137);
    // On a busy machine the engine hears late of it, or never; the evidence says whose word it is.
    auto& evidence = ended.attempts.back().evidence;
    auto by_engine = evidence.inspect.find("\"OOMKilled\":true") != std::string::npos;
    auto by_init = evidence.note.find("davit's init counted") != std::string::npos;
    CHECK(by_engine != by_init);
    CHECK(evidence.note.find("memory limit") != std::string::npos);
  }
  SECTION("a timeout stops the container, kindly first") {
    auto spec = busybox("trap 'echo terminated; exit 7' TERM; while true; do sleep 0.1; done");
    spec.timeout = 500ms;
    spec.stop_timeout = 20s;
    auto ended = agent.run(spec);
    CHECK(ended.outcome == outcome::timed_out);
    CHECK(ended.exit_code == 7);
    CHECK(exit_code_of(ended) == 124);
    CHECK(agent.logs(ended.id).out == "terminated\n");
    CHECK_FALSE(ended.attempts.back().evidence.kills.empty());
  }
  SECTION("a timeout kills what does not listen") {
    auto spec = busybox("trap '' TERM; sleep 600");
    spec.timeout = 200ms;
    auto ended = agent.run(spec);
    CHECK(ended.outcome == outcome::timed_out);
    CHECK(ended.exit_code == 137);
  }
  SECTION("cancelled while it runs") {
    auto id = agent.submit(busybox("echo up; sleep 600"));
    agent.await_state(id, task_state::running);
    agent.cancel(id);
    auto ended = agent.wait(id);
    CHECK(ended.outcome == outcome::cancelled);
    CHECK(exit_code_of(ended) == 130);
  }
  SECTION("cancelled while it is queued") {
    std::vector<task_id> busy;
    for (int i = 0; i < 4; ++i)
      busy.push_back(agent.submit(busybox("sleep 600")));
    for (auto id : busy)
      agent.await_state(id, task_state::running);
    auto id = agent.submit(busybox("true"));
    CHECK(agent.find(id).state == task_state::queued);
    agent.cancel(id);
    auto ended = agent.wait(id);
    CHECK(ended.outcome == outcome::cancelled);
    CHECK(ended.attempts.empty());
    for (auto one : busy)
      agent.cancel(one);
    for (auto one : busy)
      CHECK(agent.wait(one).outcome == outcome::cancelled);
  }
  SECTION("cancelled while its image is pulled") {
    auto spec = busybox("true");
    silent_listener registry;
    spec.image = "localhost:" + std::to_string(registry.port()) + "/never:1";
    auto id = agent.submit(spec);
    agent.await_phase(id, "pull");
    agent.cancel(id);
    auto ended = agent.wait(id);
    CHECK(ended.outcome == outcome::cancelled);
    CHECK(ended.message == "cancelled while the image was pulled");
  }
  SECTION("a registry that hangs costs no more than the pull's own timeout") {
    silent_listener registry;
    auto spec = busybox("true");
    spec.image = "localhost:" + std::to_string(registry.port()) + "/never:1";
    spec.pull_timeout = 1s;
    auto ended = agent.run(spec);
    CHECK(ended.outcome == outcome::image_unavailable);
    CHECK(ended.message.find("the pull took longer than 1s") != std::string::npos);
  }
  SECTION("an image that is nowhere") {
    auto spec = busybox("true");
    spec.image = "localhost:1/no/such:image";
    auto ended = agent.run(spec);
    CHECK(ended.outcome == outcome::image_unavailable);
    CHECK(ended.message.find("localhost:1/no/such:image") != std::string::npos);
    CHECK(exit_code_of(ended) == 125);
    spec.pull = pull_policy::never;
    CHECK(agent.run(spec).outcome == outcome::image_unavailable);
  }
  SECTION("a command that is not there, and one that can't be executed") {
    auto missing = agent.run(busybox(std::vector<std::string>{"no-such-command"}));
    CHECK(missing.outcome == outcome::failed);
    CHECK(missing.exit_code == 127);
    CHECK(missing.message.find("no-such-command") != std::string::npos);
    auto folder = agent.run(busybox(std::vector<std::string>{"/bin"}));
    CHECK(folder.outcome == outcome::failed);
    CHECK(folder.exit_code == 126);
  }
  SECTION("what the policy does not allow is refused before anything starts") {
    auto spec = busybox("true");
    spec.mounts.push_back({mount_type::bind, "/var/run/docker.sock", "/var/run/docker.sock", false, {}});
    try {
      agent.submit(spec);
      FAIL("it was accepted");
    } catch (const std::runtime_error& e) {
      CHECK(std::string{e.what()}.find("mounts.engine-socket") != std::string::npos);
    }
  }
  SECTION("a validator judges what was printed") {
    auto spec = busybox("echo all is OK here");
    spec.validator = output_validator{validator_type::output_regex, "OK"};
    CHECK(agent.run(spec).outcome == outcome::succeeded);
    spec.validator->regex = "^OK";
    auto ended = agent.run(spec);
    CHECK(ended.outcome == outcome::failed);
    CHECK(exit_code_of(ended) == 1);
  }
  SECTION("limits, environment, user and working directory reach the container") {
    auto spec = busybox("echo $GREETING; pwd; id -u; cat /sys/fs/cgroup/memory/memory.limit_in_bytes "
                        "/sys/fs/cgroup/memory.max 2>/dev/null; cat");
    spec.env["GREETING"] = "hello = world";
    spec.workdir = "/tmp";
    spec.user = "1000";
    spec.resources.memory = byte_size{64 << 20};
    spec.stdin_text = "from stdin";
    auto ended = agent.run(spec);
    CHECK(agent.logs(ended.id).out == "hello = world\n/tmp\n1000\n67108864\nfrom stdin");
  }
  // Whatever the section did: nothing is left.
  for (int i = 0; i < 500 && !engine.leftovers().empty(); ++i)
    shell("sleep 0.02");
  CHECK(engine.leftovers() == "");
}

} // namespace davit::test

TEST_CASE("each way to end has its own outcome, message and exit code", "[outcomes]") {
  static const test_engine engine{"a"};
  check_outcomes(engine);
}

TEST_CASE("an engine that is not there: the task waits and says why, and can be cancelled", "[outcomes]") {
  engine_settings nowhere;
  nowhere.name = "nowhere";
  nowhere.endpoint = "unix:///tmp/davit-test-no-such.sock";
  test_agent agent{{nowhere}};
  agent.await_engine("nowhere", engine_state::down);
  auto id = agent.submit(busybox("true"));
  auto text = agent.call("GET", "/v1/tasks/" + to_string(id));
  CHECK(text.find("there is no socket at /tmp/davit-test-no-such.sock") != std::string::npos);
  CHECK_THROWS(agent.call("GET", "/readyz"));
  agent.cancel(id);
  CHECK(agent.wait(id).outcome == outcome::cancelled);
}
