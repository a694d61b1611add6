// A cancel's limit is kept with the task, for whichever agent has it, and whenever it looks.
#include "store/store_fixture.hpp"

#include <algorithm>
#include <random>

using namespace davit;
using namespace davit::test;

namespace {

/// What is left of `limit`, if some of it has passed since.
bool is_rest_of(duration left, duration limit) {
  return left <= limit && left > limit - 50s;
}

} // namespace

TEST_CASE_METHOD(store_fixture, "how long a cancelled task's end may take is kept, and only shortened") {
  auto id = accept();
  auto work = claim(one_engine).front();
  CHECK(*store->time_to_kill(id) == duration::max());
  REQUIRE(store->cancel(id)->cancel_requested);
  CHECK(*store->time_to_kill(id) == duration::max());
  REQUIRE(store->cancel(id, 10min)->cancel_requested);
  CHECK(is_rest_of(*store->time_to_kill(id), 10min));
  REQUIRE(store->cancel(id, 1h).has_value());
  CHECK(is_rest_of(*store->time_to_kill(id), 10min));
  REQUIRE(store->cancel(id).has_value());
  CHECK(is_rest_of(*store->time_to_kill(id), 10min));
  REQUIRE(store->cancel(id, 5min).has_value());
  open();
  CHECK(is_rest_of(*store->time_to_kill(id), 5min));
  CHECK(is_rest_of(*another()->time_to_kill(id), 5min));
  REQUIRE(store->cancel(id, 0s).has_value());
  CHECK(*store->time_to_kill(id) == 0s);
  CHECK(store->get(id)->cancel_requested);

  std::vector<std::string> told;
  for (const auto& one : *store->events(0, id, 100))
    if (one.kind == "cancel_requested")
      told.push_back(one.message);
  CHECK(told
        == std::vector<std::string>{"", "its container is killed within 10m", "its container is killed within 5m",
                                    "its container is killed within 0s"});
  auto result = result_of(work, outcome::engine_lost);
  result.retry_at = std::chrono::system_clock::now();
  CHECK(*store->finish(result) == task_state::finished); // not tried again
}

TEST_CASE_METHOD(store_fixture, "a limit changes nothing of a task that is queued or has finished") {
  auto waits = accept();
  CHECK(store->cancel(waits, 1h)->outcome == outcome::cancelled);
  auto id = accept();
  auto work = claim(one_engine).front();
  REQUIRE(store->finish(result_of(work, outcome::succeeded)).has_value());
  CHECK(store->cancel(id, 1s)->outcome == outcome::succeeded);
  CHECK(*store->time_to_kill(id) == duration::max());
  CHECK(store->time_to_kill(uuid::make_v7()).error().code == store::errc::not_found);
}

TEST_CASE_METHOD(store_fixture, "of many cancels the shortest counts") {
  std::minstd_rand random{17};
  for (int round = 0; round < 10; ++round) {
    auto id = accept();
    (void)claim(one_engine);
    auto shortest = duration::max();
    for (int i = 0; i < 8; ++i) {
      auto within = duration{std::chrono::minutes{1 + random() % 600}};
      auto limited = random() % 4 != 0;
      REQUIRE(store->cancel(id, limited ? std::optional{within} : std::nullopt).has_value());
      if (limited)
        shortest = std::min(shortest, within);
      auto left = *store->time_to_kill(id);
      CHECK((shortest == duration::max() ? left == shortest : is_rest_of(left, shortest)));
    }
  }
}

TEST_CASE_METHOD(store_fixture, "what is recorded of an attempt that has not ended is there for whoever takes it up") {
  auto id = accept();
  auto work = claim(one_engine).front();
  REQUIRE(store->record({work.token, task_state::running, "c1", "i", std::chrono::system_clock::now()}).has_value());
  auto row = result_of(work, outcome::failed);
  row.finished_at = {};
  row.message = "stopping (drained)";
  row.evidence.kills = {"now stop (drained)"};
  REQUIRE(store->finish(row).has_value());
  CHECK(store->get(id)->state == task_state::running);
  CHECK_FALSE(store->get(id)->attempts.back().outcome);
  open();
  auto next = uuid::make_v4();
  auto taken = take_over("a", next);
  REQUIRE(taken.size() == 1);
  CHECK(taken.front().task.attempts.back().message == row.message);
  CHECK(taken.front().task.attempts.back().evidence.kills == row.evidence.kills);
  CHECK(store->finish(row).error().code == store::errc::fenced); // of the one before

  SECTION("and goes with the container that it was about") {
    REQUIRE(store->record({taken.front().token, task_state::starting, {}, {}, {}}).has_value());
    CHECK(store->get(id)->attempts.back().message.empty());
    CHECK(store->get(id)->attempts.back().evidence.kills.empty());
  }
  SECTION("and with its end") {
    REQUIRE(store->finish(result_of(taken.front(), outcome::agent_lost)).has_value());
    CHECK(store->get(id)->attempts.back().message.empty());
    row.token = taken.front().token;
    CHECK(store->finish(row).error().code == store::errc::fenced);
    CHECK(store->get(id)->attempts.back().outcome == outcome::agent_lost);
  }
}
