// Agents, their leases, and what passes from one to another.
#include "store_fixture.hpp"

using namespace davit;
using namespace davit::store;
using namespace davit::test;

TEST_CASE_METHOD(store_fixture, "what an agent left is taken over under a new incarnation") {
  accept();
  auto work = claim(one_engine).front();
  auto next = uuid::make_v4();
  auto taken = take_over("a", next);
  REQUIRE(taken.size() == 1);
  CHECK(taken.front().resumed);
  CHECK(taken.front().adopted == store->shared()); // there, it may have been given up before
  CHECK(take_over("a", next).size() == 1);         // the answer may have been lost
  CHECK(store->finish(result_of(work, outcome::succeeded)).error().code == errc::fenced);
  CHECK(store->finish(result_of(taken.front(), outcome::succeeded)).has_value());
  CHECK(take_over("a", next).empty());
}

TEST_CASE_METHOD(
  store_fixture,
  "what a dead agent has left goes to the agent that dead_agents it; what is pinned to it is cancelled") {
  auto running = accept(0, {}, "dead"), queued = accept(0, {}, "dead");
  auto free = accept();
  REQUIRE(claim({{"e", "id", {}, 1, 1}}, true, "dead").front().token.key.task == running);
  REQUIRE(claim({{"e", "id", {}, 1, 1}}, false, "dead").front().token.key.task == queued);
  auto result = result_of(claim({{"e", "id", {}, 1, 1}}, false, "dead").front(), outcome::engine_lost);
  result.retry_at = std::chrono::system_clock::now() + 1h;
  REQUIRE(result.token.key.task == free);
  auto waits = accept(0, {}, "dead");
  auto next = uuid::make_v4();
  for (int time = 0; time < 2; ++time) { // as if the first answer were lost
    auto taken = take_over("b", next, {"dead"});
    REQUIRE(taken.size() == 3);
    for (const auto& one : taken) {
      CHECK(one.task.attempts.back().agent == "b");
      CHECK(one.task.cancel_requested == (one.token.key.task != free));
    }
    CHECK(store->get(waits)->outcome == outcome::cancelled);
  }
  CHECK(store->finish(result).error().code == errc::fenced);
}

TEST_CASE_METHOD(store_fixture,
                 "a lease is kept by heartbeats; one name is one agent, and comes back from its own place alone") {
  agent_status me;
  me.name = "a";
  me.home = uuid::make_v4();
  me.incarnation = uuid::make_v4();
  me.engines = {{"e", "id", engine_state::ready, 4, 1}};
  CHECK(beats(me) == true);
  auto listed = store->agents();
  REQUIRE(listed.has_value());
  REQUIRE(listed->size() == 1);
  CHECK(listed->front().state == agent_state::ready);
  CHECK(listed->front().engines.front().id == "id");
  auto restarted = me;
  restarted.incarnation = uuid::make_v4();
  CHECK(beats(restarted) == true);
  auto stranger = me;
  stranger.home = uuid::make_v4();
  CHECK(beats(stranger) == false);
  REQUIRE(store->retire("a", restarted.incarnation).has_value());
  CHECK(store->agents()->front().state == agent_state::gone);
  CHECK(beats(stranger) == true);
}

TEST_CASE_METHOD(store_fixture, "what a dead agent has left goes to one who reaches its engine; what nobody reaches is "
                                "given up; a living one's is left alone") {
  agent_status dead, heir, other;
  dead.name = "dead";
  heir.name = "heir";
  other.name = "other";
  for (auto* one : {&dead, &heir, &other}) {
    one->home = uuid::make_v4();
    one->incarnation = uuid::make_v4();
  }
  heir.engines = {{"mine", "shared-id", engine_state::ready, 4, 0}};
  other.engines = {{"theirs", "other-id", engine_state::ready, 4, 0}};
  for (const auto* one : {&dead, &heir, &other})
    REQUIRE(beats(*one) == true);
  for (int i = 0; i < 3; ++i)
    accept();
  incarnation = dead.incarnation;
  auto shared = claim({{"e1", "shared-id", {}, 1, 1}}, false, "dead").front(),
       others = claim({{"e2", "other-id", {}, 1, 1}}, false, "dead").front(),
       lost = claim({{"e3", "lost-id", {}, 1, 1}}, false, "dead").front();
  adopt_request request{"heir", heir.incarnation, heir.engines, 0ms};
  auto nothing = store->adopt(request);
  REQUIRE(nothing.has_value());
  CHECK(nothing->adopted.empty());
  CHECK(nothing->orphans.empty());
  REQUIRE(store->retire("dead", dead.incarnation).has_value());
  auto got = store->adopt(request);
  REQUIRE(got.has_value());
  REQUIRE(got->adopted.size() == 1);
  CHECK(got->adopted[0].token.key == shared.token.key);
  CHECK(got->adopted[0].resumed);
  CHECK(got->adopted[0].task.attempts.back().engine == "mine"); // the same engine, by the heir's name for it
  REQUIRE(got->orphans.size() == 1);
  CHECK(got->orphans[0].token.key == lost.token.key);
  CHECK(store->adopt(request)->orphans.empty());
  // The dead one's writes are fenced, the heir's are taken.
  CHECK(store->finish(result_of(shared, outcome::succeeded)).error().code == errc::fenced);
  CHECK(store->finish(result_of(got->adopted[0], outcome::succeeded)).has_value());
  CHECK(store->finish(result_of(others, outcome::succeeded)).has_value()); // nobody has taken it yet
}
