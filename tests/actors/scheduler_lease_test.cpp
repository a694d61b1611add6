// The scheduler with other agents at its store: the lease, the fence, and what is adopted.
#include "scheduler_fixture.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;

TEST_CASE_METHOD(scheduler_fixture, "without a lease nothing is claimed; when it runs out, what runs is fenced, and "
                                    "taken over again once that has ended") {
  spawn(true);
  store.fail_beats = true;
  wire();
  engine_is(engine_state::ready);
  pass(5s);
  CHECK(store.claims.empty());
  store.fail_beats = false;
  pass(3s);
  REQUIRE_FALSE(store.claims.empty());
  CHECK(store.claims[0].first);
  store.queue = {attempt_of()};
  wake();
  REQUIRE(executors.size() == 1);
  auto old = store.claims.back().incarnation;
  store.fail_beats = true;
  pass(9s); // two thirds of the lease are eight
  CHECK(executors[0]->told == std::vector<std::string>{"fence and clear"});
  store.fail_beats = false;
  auto asked = store.claims.size();
  pass(5s);
  CHECK(store.claims.size() == asked); // until it has ended
  auto left = executors[0]->work;
  left.resumed = true;
  store.left = {left};
  ends(executors[0]);
  REQUIRE(store.claims.size() > asked);
  CHECK(store.claims[asked].first);
  CHECK_FALSE(store.claims[asked].incarnation == old);
  CHECK(store.claims[asked].at_work.empty());
  REQUIRE(executors.size() == 2);
  CHECK(executors[1]->work.adopted); // its container may be gone, and no engine has lost it
}

TEST_CASE_METHOD(
  scheduler_fixture,
  "an executor that was about to be started again when its attempt was fenced is not, and its container goes") {
  started(true);
  store.queue = {attempt_of()};
  wake();
  REQUIRE(executors.size() == 1);
  auto key = executors[0]->work.token.key;
  auto asks_the_store = false;
  SECTION("its wait was not over") {
    store.fail_beats = true;
    pass(7s);
    for (auto wait : {20ms, 60ms, 200ms, 700ms}) { // each is longer than the one before
      ends(executors.back(), caf::exit_reason::out_of_workers);
      pass(wait);
    }
    ends(executors.back(), caf::exit_reason::out_of_workers);
  }
  SECTION("the store was being asked about it") {
    asks_the_store = true;
    store.hold_finds = true;
    store.fail_beats = true;
    ends(executors[0], caf::exit_reason::out_of_workers);
    pass(100ms);
    REQUIRE(store.held_finds.size() == 1);
  }
  auto had = executors.size();
  pass(9s);
  CHECK(removed == std::vector<std::string>{"davit-" + to_string(key.task) + "-1"});
  if (asks_the_store) {
    answer_late(store.held_finds[0], store.tasks[key.task]);
  }
  pass(60s);
  CHECK(executors.size() == had);
}

TEST_CASE_METHOD(scheduler_fixture, "a store that is back just before the lease's two thirds saves what runs") {
  started(true);
  store.queue = {attempt_of()};
  wake();
  REQUIRE(executors.size() == 1);
  store.fail_beats = true;
  for (auto sent = store.beats.size(); store.beats.size() == sent;)
    pass(100ms);
  store.fail_beats = false;
  pass(450ms);
  wire(); // so that a heartbeat that counts is sent between two ticks
  SECTION("it had refused the heartbeats") {
    store.fail_beats = true;
    pass(7650ms); // and a tick has just found the store away
    store.fail_beats = false;
  }
  SECTION("it had not answered") {
    store.hold_beats = true;
    pass(7650ms);
    REQUIRE(store.held_beats.size() == 1);
    store.hold_beats = false;
    answer_late(store.held_beats[0], true);
  }
  pass(7s);
  CHECK(executors[0]->told.empty());
}

TEST_CASE_METHOD(scheduler_fixture, "an answer to a claim that comes after the fence starts nothing") {
  started(true);
  store.hold_claims = true;
  store.queue = {attempt_of()};
  wake();
  REQUIRE(store.held.size() == 1);
  auto request = store.claims.back();
  store.fail_beats = true;
  pass(9s);
  answer_late(store.held[0], store.answer(request));
  CHECK(executors.empty());
  store.hold_claims = store.fail_beats = false;
  pass(3s);
  CHECK(store.claims.back().incarnation != request.incarnation);
}
