// A cancel that says how long a task's end may take, on real engines: by an admin it is said always.
#include "fixture/test_agent.hpp"
#include "fixture/test_daemon.hpp"
#include "fixture/token_file.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// What no SIGTERM ends, for an hour after it.
task_spec stubborn(start_mode start = start_mode::automatic) {
  auto spec = busybox("trap 'echo no' TERM; echo up; while true; do sleep 0.1; done");
  spec.stop_timeout = 1h;
  spec.start = start;
  return spec;
}

/// Of an hour.
constexpr duration far_less = 50s;

struct two_owners {
  test_engine engine{"a"};
  token_file tokens;
  std::string listen = listen_address(), ci = tokens.make("ci", "submit,read,cancel"),
              root = tokens.make("root", "admin"), stopper = tokens.make("stopper", "cancel:all,read:all");
  test_agent agent{{engine.settings(2)}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                     settings.policy.quantities.stop_timeout = 1h;
                   }};

  task_id submit_and_await(const task_spec& spec) {
    agent.use_token(ci);
    auto id = agent.submit(spec);
    REQUIRE(eventually([&] { return agent.logs(id).out.starts_with("up\n"); }));
    return id;
  }
  int cancel(const std::string& token, task_id id, const std::string& query = {}) {
    agent.use_token(token);
    return agent.http("POST", "/v1/tasks/" + to_string(id) + "/cancel" + query).status;
  }
  std::string container_of(task_id id) { return agent.find(id).attempts.back().container; }
};

std::string kills(const task& ended) {
  std::string all;
  for (const auto& one : ended.attempts.back().evidence.kills)
    all += one + "\n";
  return all;
}

} // namespace

TEST_CASE_METHOD(two_owners, "an admin's cancel ends what ignores it, whatever stop_timeout it has", "[cancel]") {
  auto start = GENERATE(start_mode::cold, start_mode::warm);
  CAPTURE(to_string(start));
  auto id = submit_and_await(stubborn(start));
  auto is_admin = GENERATE(true, false);
  CAPTURE(is_admin);
  CHECK(cancel(is_admin ? root : stopper, id, is_admin ? "" : "?within=20m") == 202);
  agent.use_token(root);
  auto ended = agent.wait(id, far_less);
  CHECK(ended.outcome == outcome::cancelled);
  CHECK(ended.exit_code == 137);
  CHECK(agent.logs(id).out.find("no\n") != std::string::npos); // it was asked kindly first
  INFO(kills(ended));
  CHECK(kills(ended).find("SIGKILL: the cancel allowed no more time") != std::string::npos);
  CHECK(*ended.finished_at - *ended.attempts.back().started_at < far_less);
}

TEST_CASE_METHOD(two_owners, "a second cancel shortens a stop that runs", "[cancel]") {
  auto id = submit_and_await(stubborn());
  auto paused = GENERATE(false, true);
  CAPTURE(paused);
  CHECK(cancel(ci, id) == 202);
  REQUIRE(eventually([&] { return agent.logs(id).out.find("no\n") != std::string::npos; }));
  if (paused)
    engine.docker("pause " + container_of(id));
  CHECK(cancel(ci, id, "?within=30m") == 202);
  CHECK(agent.find(id).state == task_state::running);
  CHECK(cancel(ci, id, "?within=500ms") == 202);
  auto ended = agent.wait(id, far_less);
  CHECK(ended.outcome == outcome::cancelled);
  CHECK(kills(ended).find("SIGKILL after 1h") != std::string::npos);
  CHECK(kills(ended).find("SIGKILL: the cancel allowed no more time") != std::string::npos);
}

TEST_CASE_METHOD(two_owners, "a cancel reaches a container that somebody has paused", "[cancel]") {
  auto id = submit_and_await(stubborn(GENERATE(start_mode::cold, start_mode::warm)));
  auto container = container_of(id);
  engine.docker("pause " + container);
  CHECK(cancel(root, id) == 202);
  auto ended = agent.wait(id, far_less);
  CHECK(ended.outcome == outcome::cancelled);
  CHECK(eventually([&] { return engine.docker("ps -q --no-trunc").find(container) == std::string::npos; }));
}

TEST_CASE_METHOD(two_owners, "a timeout's stop is shortened too, and stays a timeout", "[cancel]") {
  auto spec = stubborn();
  spec.timeout = 1s;
  auto id = submit_and_await(spec);
  REQUIRE(eventually([&] { return agent.logs(id).out.find("no\n") != std::string::npos; }));
  CHECK(cancel(root, id) == 202);
  auto ended = agent.wait(id, far_less);
  CHECK(ended.outcome == outcome::timed_out);
}

TEST_CASE("an agent that starts again in the middle of a stop keeps to its limit", "[cancel]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(2)}, {"--davit.policy.ceilings.stop-timeout=1h"}};
  agent.start();
  auto id = agent.submit(stubborn());
  REQUIRE(eventually([&] { return agent.logs(id).out == "up\n"; }));
  agent.http("POST", "/v1/tasks/" + to_string(id) + "/cancel?within=5s");
  REQUIRE(eventually([&] { return agent.logs(id).out.find("no\n") != std::string::npos; }));
  agent.kill();
  agent.start();
  auto ended = agent.wait(id, far_less);
  CHECK(ended.outcome == outcome::cancelled);
  CHECK(ended.attempts.size() == 1);
}
