// What is written down of an attempt while it runs, and what the next executor makes of it.
#include "actors/attempt_terms.hpp"

#include "actors/attempt_story.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <random>

using namespace davit;
using namespace davit::test;

namespace {

constexpr std::chrono::seconds second{1};

/// In a container of its own without an init, with this timeout of the policy's.
story that_runs(std::optional<duration> policys = {}) {
  story it{fresh_attempt(), {}};
  it.run.work.task.spec.start = start_mode::cold;
  it.run.work.task.spec.init = false;
  auto answer = judged(it.run);
  answer.value.effective.timeout = policys;
  it.hears(begun{}).hears(answer).hears(reply<ask::create>{container_id});
  it.hears(reply<ask::inspect>{container_of(it.run, "created")}).hears(reply<ask::start>{true});
  return it;
}

/// Taken up by the next agent, whose policy gives this timeout.
story taken_up(const attempt_result* row, std::optional<duration> policys = {}) {
  story it{resumed(), {}};
  if (row) {
    it.run.work.task.attempts.back().message = row->message;
    it.run.work.task.attempts.back().evidence = row->evidence;
  }
  auto answer = judged(it.run);
  answer.value.effective.timeout = policys;
  it.hears(begun{}).hears(answer);
  return it;
}

const act::wake* timeout_of(const story& it) {
  for (const auto& one : it.last)
    if (auto* wake = std::get_if<act::wake>(&one); wake && wake->which == timer::timeout)
      return wake;
  return nullptr;
}

container_status ended_with(const story& it, std::int64_t code) {
  auto found = container_of(it.run, "exited", code);
  found.labels.erase("davit.init");
  return found;
}

} // namespace

TEST_CASE("what an attempt's row says while it runs is read as it was written", "[attempt][terms]") {
  std::mt19937_64 random{7};
  for (int i = 0; i < 2000; ++i) {
    attempt_terms terms;
    if (random() % 3 != 0)
      terms.timeout = duration{random() % (random() % 2 == 0 ? 100'000 : 10'000'000'000)};
    terms.input = random() % 2 == 0;
    terms.stop = static_cast<ending>(random() % 4);
    INFO(text_of(terms));
    CHECK(terms_of(text_of(terms)) == terms);
  }
  CHECK(text_of({std::chrono::hours{1}, true, ending::drained})
        == "timeout 1h (policy); standard input under way; stopping (drained)");
  for (const auto* other : {"", "exit code 1", "timeout", "timeout x (policy)", "stopping (", "stopping (gone)"})
    CHECK(terms_of(other) == attempt_terms{});
}

TEST_CASE("a stop is on record before the engine is asked for it, and is the next agent's too", "[attempt][terms]") {
  auto why = GENERATE(ending::drained, ending::timed_out);
  auto it = that_runs(second);
  it.hears(why == ending::drained ? event{drain_asked{}} : event{timer_fired{timer::timeout}}, second);
  REQUIRE(it.asks<ask::record_stop>());
  auto row = it.asks<ask::record_stop>()->what;
  CHECK_FALSE(it.asks<ask::stop>());
  CHECK(row.finished_at == timestamp{});
  CHECK(row.evidence.kills.size() == 1);
  it.hears(reply<ask::record_stop>{}, second);
  CHECK(it.asks<ask::stop>());

  SECTION("whose container has ended, as of a signal or otherwise") {
    for (auto code : {143, 137, 0, 3}) {
      auto next = taken_up(&row);
      next.hears(reply<ask::inspect>{ended_with(next, code)}).hears(reply<ask::wait>{code});
      next.hears(reply<ask::inspect>{ended_with(next, code)}).hears(reply<ask::open_log>{});
      next.hears(reply<ask::read_log>{}).hears(reply<ask::close_log>{});
      CHECK(next.result().outcome == (why == ending::drained ? outcome::agent_lost : outcome::timed_out));
      CHECK(next.result().exit_code == code);
      CHECK(next.result().evidence.kills == row.evidence.kills);
    }
  }
  SECTION("or runs still: it is stopped") {
    auto next = taken_up(&row);
    auto found = container_of(next.run, "running");
    found.labels.erase("davit.init");
    next.hears(reply<ask::inspect>{found});
    CHECK(next.asks<ask::stop>());
    CHECK_FALSE(next.asks<ask::record_stop>());
  }
}

TEST_CASE("a cancel is on record with its task: it stops the container at once", "[attempt][terms]") {
  auto it = that_runs();
  it.hears(cancel_asked{});
  CHECK(it.asks<ask::stop>());
}

TEST_CASE("a store that is away does not keep a container running", "[attempt][terms]") {
  auto it = that_runs();
  it.hears(drain_asked{});
  REQUIRE_FALSE(it.asks<ask::stop>());
  SECTION("it says so") {
    it.hears(refusal{asked::record_stop, {{}, store_errc::unavailable, {}, "locked"}});
    CHECK(it.asks<ask::stop>());
  }
  SECTION("it says nothing") {
    it.hears(timer_fired{timer::again}, second * 2);
    CHECK(it.asks<ask::stop>());
    it.hears(reply<ask::record_stop>{}, second * 3);
    CHECK_FALSE(it.asks<ask::stop>());
  }
  SECTION("and a cancel has no time for it") {
    it.hears(cancel_asked{duration{100}});
    CHECK(it.asks<ask::stop>());
  }
  SECTION("but what is another agent's is left to it") {
    it.hears(refusal{asked::record_stop, {{}, store_errc::fenced, {}, "fenced"}});
    CHECK_FALSE(it.asks<ask::stop>());
    CHECK(it.asks<act::leave>());
  }
}

TEST_CASE("the timeout that a task was started with holds for its container, whatever the next policy says",
          "[attempt][terms]") {
  auto before = GENERATE(std::optional<duration>{}, std::optional<duration>{second * 60});
  auto after = GENERATE(std::optional<duration>{}, std::optional<duration>{second * 90});
  auto it = that_runs(before);
  auto* recorded = it.asks<ask::record_terms>();
  CHECK((recorded != nullptr) == before.has_value()); // nothing more is written of a task that it is not needed for
  auto next = taken_up(recorded ? &recorded->what : nullptr, after);
  next.hears(reply<ask::inspect>{container_of(next.run, "running")});
  CHECK(next.run.timeout == before);
  CHECK((timeout_of(next) != nullptr) == before.has_value());

  SECTION("but what was not on record as running is the next policy's") {
    story unknown{resumed(task_state::starting), {}};
    auto answer = judged(unknown.run);
    answer.value.effective.timeout = after;
    unknown.hears(begun{}).hears(answer).hears(reply<ask::inspect>{container_of(unknown.run, "running")});
    CHECK(unknown.run.timeout == after);
  }
}

TEST_CASE("a task's own timeout is not written down again", "[attempt][terms]") {
  story it{fresh_attempt(), {}};
  it.run.work.task.spec.start = start_mode::cold;
  it.run.work.task.spec.init = false;
  it.run.work.task.spec.timeout = second;
  it.hears(begun{}).hears(judged(it.run)).hears(reply<ask::create>{container_id});
  it.hears(reply<ask::inspect>{container_of(it.run, "created")}).hears(reply<ask::start>{true});
  CHECK(it.asks<ask::record_start>());
  CHECK_FALSE(it.asks<ask::record_terms>());
  CHECK(timeout_of(it));
}
