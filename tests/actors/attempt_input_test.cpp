// What comes of an attempt whose standard input is not passed on to its end.
#include "actors/attempt_story.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;

namespace {

const std::string under_way = "standard input under way";

attempt_run with_input(attempt_run run) {
  auto& spec = run.work.task.spec;
  spec.stdin_text = "in";
  spec.start = start_mode::cold;
  spec.init = false;
  return run;
}

container_status found(const story& it, const std::string& state, std::int64_t code = 0) {
  auto status = container_of(it.run, state, code);
  status.labels.erase("davit.init");
  return status;
}

story that_is_fed() {
  story it{with_input(fresh_attempt()), {}};
  it.hears(begun{}).hears(judged(it.run)).hears(reply<ask::create>{container_id});
  it.hears(reply<ask::inspect>{found(it, "created")}).hears(reply<ask::start>{true});
  return it;
}

/// The container ends by itself.
story& ends(story& it, std::int64_t code = 0) {
  it.hears(reply<ask::wait>{0}).hears(reply<ask::inspect>{found(it, "exited", code)});
  return it.hears(reply<ask::open_log>{}).hears(reply<ask::read_log>{});
}

refusal lost_feed() {
  return {asked::feed, {engine_errc::lost, {}, {}, "reset"}};
}

} // namespace

TEST_CASE("that standard input is under way is on record until the engine has it", "[attempt][input]") {
  auto it = that_is_fed();
  REQUIRE(it.asks<ask::feed>());
  CHECK(it.asks<ask::feed>()->bytes == "in");
  REQUIRE(it.asks<ask::record_terms>());
  CHECK(it.asks<ask::record_terms>()->what.message == under_way);
  it.hears(reply<ask::feed>{});
  REQUIRE(it.asks<ask::record_terms>());
  CHECK(it.asks<ask::record_terms>()->what.message.empty());
  ends(it).hears(reply<ask::close_log>{});
  CHECK(it.result().outcome == outcome::succeeded);
}

TEST_CASE("a container that can't have all of its input is killed before anything is told of it", "[attempt][input]") {
  auto it = that_is_fed();
  it.hears(lost_feed());
  CHECK(it.asks<ask::kill_now>());
  CHECK_FALSE(it.asks<ask::close_log>());
  SECTION("as it is asked") {}
  SECTION("as it is asked again") {
    it.hears(refusal{asked::kill_now, {engine_errc::refused, {}, {}, "busy"}});
    CHECK_FALSE(it.asks<ask::kill_now>());
    it.hears(timer_fired{timer::kill});
    CHECK(it.asks<ask::kill_now>());
  }
  it.hears(reply<ask::kill_now>{});
  ends(it, 137).hears(reply<ask::close_log>{});
  CHECK(it.result().outcome == outcome::engine_lost);
  CHECK(it.result().message == "its standard input was not passed on to its end: reset");
  CHECK(it.result().evidence.kills.size() == 1);
  CHECK(it.result().retry_at);
}

TEST_CASE("a container that ends while its input is under way ends as it does, unless its input broke first",
          "[attempt][input]") {
  auto it = that_is_fed();
  it.hears(reply<ask::wait>{0}).hears(reply<ask::inspect>{found(it, "exited")});
  CHECK(it.asks<act::end_following>()); // and passes nothing more on
  it.hears(reply<ask::open_log>{}).hears(reply<ask::read_log>{});
  CHECK_FALSE(it.asks<ask::close_log>());
  SECTION("it did not want more") {
    it.hears(refusal{asked::feed, {engine_errc::cancelled, {}, {}, "withdrawn"}}).hears(reply<ask::close_log>{});
    CHECK(it.result().outcome == outcome::succeeded);
  }
  SECTION("it had ended before the connection did") {
    it.hears(reply<ask::feed>{}).hears(reply<ask::close_log>{});
    CHECK(it.result().outcome == outcome::succeeded);
  }
  SECTION("it had read an end that was none") {
    it.hears(lost_feed()).hears(reply<ask::close_log>{});
    CHECK(it.result().outcome == outcome::engine_lost);
    CHECK(it.result().exit_code == 0);
  }
}

TEST_CASE("whoever takes an attempt up does not know how much of its input was passed on", "[attempt][input]") {
  auto state = task_state::running;
  std::string row = under_way;
  bool known = false;
  SECTION("as the row says") {}
  SECTION("as the row does not say yet") {
    state = task_state::starting;
    row.clear();
  }
  SECTION("but it does once the engine has all") {
    row.clear();
    known = true;
  }
  story it{with_input(resumed(state)), {}};
  it.run.work.task.attempts.back().message = row;
  it.hears(begun{}).hears(judged(it.run));
  auto next = it;
  it.hears(reply<ask::inspect>{found(it, "running")});
  if (known) {
    CHECK(std::holds_alternative<running>(it.run.now));
    CHECK_FALSE(it.asks<ask::feed>());
    CHECK_FALSE(it.asks<ask::kill_now>());
  } else {
    CHECK(it.asks<ask::kill_now>());
    ends(it, 137).hears(reply<ask::close_log>{});
    CHECK(it.result().outcome == outcome::agent_lost);
  }
  next.hears(reply<ask::inspect>{found(next, "exited")});
  ends(next).hears(reply<ask::close_log>{});
  CHECK(next.result().outcome == (known ? outcome::succeeded : outcome::agent_lost));
}

TEST_CASE("a container whose start's answer was lost is given its input once", "[attempt][input]") {
  story it{with_input(fresh_attempt()), {}};
  it.hears(begun{}).hears(judged(it.run)).hears(reply<ask::create>{container_id});
  it.hears(reply<ask::inspect>{found(it, "created")});
  it.hears(refusal{asked::start, {engine_errc::lost, {}, {}, "reset"}}).hears(timer_fired{timer::engine_retry});
  it.hears(reply<ask::inspect>{found(it, "running")});
  CHECK(it.asks<ask::feed>());
}

TEST_CASE("a container that somebody else has made is not started if it is to have input: it may be closed",
          "[attempt][input]") {
  story it{with_input(resumed(task_state::starting)), {}};
  engine_event create;
  create.action = "create";
  it.hears(begun{}).hears(judged(it.run)).hears(reply<ask::inspect>{found(it, "created")});
  it.hears(reply<ask::remove>{}).hears(reply<ask::history>{{create}});
  CHECK_FALSE(it.asks<ask::start>());
  REQUIRE(it.asks<ask::remove>());
  it.hears(reply<ask::remove>{}).hears(reply<ask::create>{container_id});
  it.hears(reply<ask::inspect>{found(it, "created")});
  CHECK(it.asks<ask::start>());
}

TEST_CASE("what an attempt has asked for ends with it", "[attempt][input]") {
  auto it = that_is_fed();
  it.hears(fenced{});
  CHECK(it.asks<act::withdraw>());
  CHECK(it.asks<act::leave>());
}
