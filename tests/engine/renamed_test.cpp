// An engine is its id: what runs on it goes on, whatever the configuration calls it.
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

#include <utility>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

TEST_CASE("an engine has another name in the next configuration: what runs there goes on, and runs once",
          "[isolation][restart]") {
  test_engine first{"first"}, second{"second"};
  std::vector<engine_settings> configured{first.settings(4)};
  test_agent agent{{}, [&](agent_settings& settings) { settings.engines = configured; }};
  auto id = agent.submit(busybox("for i in $(seq 40); do echo line $i $DAVIT_ATTEMPT; sleep 0.1; done; exit 5"));
  agent.await_state(id, task_state::running);
  std::string expected;
  for (int i = 1; i <= 40; ++i)
    expected += "line " + std::to_string(i) + " 1\n";

  SECTION("a new one") {
    configured = {first.settings(4)};
    configured.front().name = "renamed";
  }
  SECTION("and its own is another engine's") {
    configured = {first.settings(4), second.settings(4)};
    std::swap(configured[0].name, configured[1].name);
  }
  agent.restart();
  auto ended = agent.wait(id);
  INFO(ended.message);
  CHECK(ended.exit_code == 5);
  CHECK(ended.attempts.size() == 1);
  CHECK(agent.logs(id).out == expected);
}

TEST_CASE("an engine is not in the next configuration: what ran there is lost when all others have answered",
          "[isolation][restart]") {
  test_engine first{"first"}, second{"second"};
  std::vector<engine_settings> configured{first.settings(4)};
  test_agent agent{{}, [&](agent_settings& settings) { settings.engines = configured; }};
  auto spec = busybox("test $DAVIT_ATTEMPT = 1 && sleep 600; echo second");
  spec.retry.backoff = {10ms, 10ms};
  auto id = agent.submit(spec);
  agent.await_state(id, task_state::running);
  configured = {second.settings(4)};
  agent.restart();
  auto ended = agent.wait(id);
  CHECK(ended.outcome == outcome::succeeded);
  REQUIRE(ended.attempts.size() == 2);
  const auto& lost = ended.attempts[0];
  CHECK(lost.outcome == outcome::engine_lost);
  CHECK(lost.message
        == "no engine with the id " + lost.engine_id
             + " is configured; the attempt was made on it when it was called first");
  CHECK(ended.attempts[1].engine == "second");
}
