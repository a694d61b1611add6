// The scheduler: claims with room, answers that are lost, executors that fail, and the drain.
#include "scheduler_fixture.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace davit;
using namespace davit::test;

TEST_CASE_METHOD(
  scheduler_fixture,
  "a scheduler asks first for what was left to it, with no offer, and then for what its engines have room for") {
  spawn();
  store.left = {attempt_of(true)};
  for (int i = 0; i < 4; ++i)
    store.queue.push_back(attempt_of());
  wire();
  REQUIRE_FALSE(store.claims.empty());
  CHECK(store.claims[0].first);
  CHECK(store.claims[0].offers.empty());
  REQUIRE(executors.size() == 1);
  CHECK(executors[0]->work.resumed);
  engine_is(engine_state::ready);
  REQUIRE(executors.size() == 2); // two slots, of which one is taken
  CHECK_FALSE(store.claims.back().first);
  REQUIRE(store.claims.back().offers.size() == 1);
  CHECK(store.claims.back().offers[0].free == 1);
  CHECK(store.claims.back().at_work == std::vector{executors[0]->work.token.key});
  auto asked = store.claims.size();
  wake();
  CHECK(store.claims.size() == asked); // there is no room
  caf::anon_send(scheduler, ended_atom_v, executors[0]->work.token.key);
  run_all();
  CHECK(executors.size() == 3); // its slot is free before it has tidied up, and it is still at work
  CHECK(store.claims.back().at_work.size() == 2);
  engine_is(engine_state::degraded);
  caf::anon_send(scheduler, ended_atom_v, executors[1]->work.token.key);
  run_all();
  CHECK(executors.size() == 3);
}

TEST_CASE_METHOD(scheduler_fixture, "a claim whose answer is lost is asked again, room or no room") {
  started();
  store.queue = {attempt_of(), attempt_of()};
  store.fail_claims = true; // done, and not heard of
  wake();
  CHECK(executors.empty());
  auto lost = std::exchange(store.queue, {});
  store.fail_claims = false;
  for (auto& one : lost)
    one.resumed = true;
  store.left = lost;
  engine_is(engine_state::down);
  pass(1s);
  CHECK(executors.size() == 2);
  CHECK(store.claims.back().offers.empty());
  auto asked = store.claims.size();
  pass(5s);
  CHECK(store.claims.size() == asked); // nothing is in doubt any more
}

TEST_CASE_METHOD(scheduler_fixture,
                 "a store keeper that dies with a claim is asked again as soon as another is there") {
  started();
  store.hold_claims = true;
  wake();
  REQUIRE(store.held.size() == 1);
  caf::anon_send_exit(store_actor_, caf::exit_reason::kill);
  store.held.clear();
  run_all();
  store.hold_claims = false;
  store.left = {attempt_of(true)};
  new_store();
  wire();
  CHECK(executors.size() == 1);
}

TEST_CASE_METHOD(scheduler_fixture,
                 "an attempt that two answers hold has one executor, and one that is being ended has none") {
  started(true);
  pass(30s); // the lease has been held for its own length
  REQUIRE_FALSE(store.adoptions.empty());
  auto adopted = attempt_of(true), orphan = attempt_of(true, "nobodys-engine");
  adopted.adopted = orphan.adopted = true;
  store.hold_claims = true;
  wake();
  REQUIRE(store.held.size() == 1);
  store.adopted = {{adopted}, {orphan}};
  pass(1s);
  REQUIRE(executors.size() == 1);
  REQUIRE(store.ends.size() == 1);
  CHECK(store.ends[0].token.key == orphan.token.key);
  CHECK(store.ends[0].outcome == outcome::agent_lost);
  store.left = {adopted};
  store.hold_claims = false;
  answer_late(store.held[0], store.answer(store.claims.back()));
  CHECK(executors.size() == 1);
  // An adoption whose answer was lost comes with a claim. What nobody reaches is ended then too.
  auto late = attempt_of(true, "nobodys-engine");
  late.adopted = true;
  store.left = {late};
  wake();
  CHECK(executors.size() == 1);
  REQUIRE(store.ends.size() == 2);
  CHECK(store.ends[1].token.key == late.token.key);
}

TEST_CASE_METHOD(scheduler_fixture, "a scheduler that is started again while its agent drains claims nothing, and is "
                                    "drained when what was left has ended") {
  started();
  store.queue = {attempt_of(), attempt_of(), attempt_of()};
  wake();
  REQUIRE(executors.size() == 2);
  auto before = drain();
  end_scheduler();
  CHECK_FALSE(*before);
  for (auto& one : executors)
    ends(one, caf::exit_reason::kill);
  auto left = executors.front()->work;
  left.resumed = true;
  executors.clear();
  auto asked = store.claims.size();
  spawn_again();
  store.left = {left};
  auto over = drain(); // the supervisor says so before anything else
  CHECK_FALSE(*over);
  wire();
  REQUIRE(executors.size() == 1);
  engine_is(engine_state::ready);
  wake();
  pass(2s);
  for (auto i = asked; i < store.claims.size(); ++i)
    CHECK(store.claims[i].offers.empty());
  CHECK(store.queue.size() == 1);
  CHECK_FALSE(*over);
  ends(executors[0]);
  CHECK(*over);
}

TEST_CASE_METHOD(scheduler_fixture, "a scheduler that begins in an agent that drains claims nothing, told or not") {
  addresses.stage = drain_stage::draining;
  spawn(); // and its supervisor has not spoken yet
  engine_is(engine_state::ready);
  store.queue = {attempt_of()};
  wake();
  pass(2s);
  CHECK(executors.empty());
  CHECK(store.queue.size() == 1);
}

TEST_CASE_METHOD(scheduler_fixture, "a stop reaches what runs, and what a scheduler takes up that is started again") {
  started();
  store.queue = {attempt_of()};
  wake();
  REQUIRE(executors.size() == 1);
  addresses.stage = drain_stage::draining;
  wire();
  CHECK(executors[0]->told.empty());
  addresses.stage = drain_stage::stopping;
  wire();
  wire();
  CHECK(executors[0]->told == std::vector<std::string>{"stop"});
  auto left = executors[0]->work;
  left.resumed = true;
  end_scheduler();
  ends(executors[0], caf::exit_reason::kill);
  executors.clear();
  store.left = {left};
  spawn_again();
  wire();
  REQUIRE(executors.size() == 1);
  CHECK(executors[0]->told == std::vector<std::string>{"stop"});
}

TEST_CASE_METHOD(scheduler_fixture,
                 "a drain waits for what the store says was left, and for a store that does not answer five seconds") {
  spawn();
  store.hold_claims = true;
  store.left = {attempt_of(true)};
  auto over = drain();
  wire();
  engine_is(engine_state::ready);
  CHECK_FALSE(*over);
  REQUIRE(store.held.size() == 1);
  SECTION("it answers") {
    answer_late(store.held[0], store.answer(store.claims[0]));
    REQUIRE(executors.size() == 1);
    pass(60s);
    CHECK_FALSE(*over);
    ends(executors[0]);
    CHECK(*over);
  }
  SECTION("it does not") {
    pass(4s);
    CHECK_FALSE(*over);
    pass(2s);
    CHECK(*over);
  }
}

TEST_CASE_METHOD(scheduler_fixture, "of all tasks that wait for their time there is one timer, for the first") {
  started();
  auto timers = [&] {
    std::size_t count = 0;
    for (const auto& [at, entry] : coordinator.clock().schedule)
      count += !entry.f.disposed();
    return count;
  };
  auto before = timers();
  auto start = std::chrono::system_clock::now();
  for (int i = 0; i < 50; ++i) {
    store.next_due = start + 3600s - i * 1s; // each is due earlier than the one before
    wake();
  }
  for (int i = 0; i < 50; ++i)
    wake();
  CHECK(timers() <= before + 1);
  store.next_due = std::chrono::system_clock::now() + 1500ms;
  wake();
  store.next_due.reset();
  caf::anon_send(scheduler, task_event{});
  run_all();
  CHECK(timers() <= before + 1);
  auto asked = store.claims.size();
  store.queue = {attempt_of()};
  pass(1600ms);
  CHECK(executors.size() == 1);
  CHECK(store.claims.size() > asked);
}

TEST_CASE_METHOD(scheduler_fixture, "an executor that fails is started again after a while, from what the store says; "
                                    "one that fails again and again is given up") {
  started();
  store.queue = {attempt_of()};
  wake();
  REQUIRE(executors.size() == 1);
  auto key = executors[0]->work.token.key;
  store.tasks[key.task].message = "as the store has it";
  ends(executors[0], caf::exit_reason::out_of_workers);
  CHECK(executors.size() == 1);
  pass(100ms);
  REQUIRE(executors.size() == 2);
  CHECK(executors[1]->work.resumed);
  CHECK(executors[1]->work.task.message == "as the store has it");
  for (int i = 0; i < 10 && store.ends.empty(); ++i) {
    ends(executors.back(), caf::exit_reason::out_of_workers);
    pass(6s);
  }
  REQUIRE(store.ends.size() == 1);
  CHECK(store.ends[0].outcome == outcome::agent_lost);
  CHECK(executors.size() == 6);
  // An outcome that was stored before the executor failed ends it.
  store.queue = {attempt_of()};
  wake();
  REQUIRE(executors.size() == 7);
  auto& task = store.tasks[executors[6]->work.token.key.task];
  task.attempts.back().outcome = outcome::succeeded;
  ends(executors[6], caf::exit_reason::out_of_workers);
  pass(6s);
  CHECK(executors.size() == 7);
  CHECK(*drain());
}

TEST_CASE_METHOD(scheduler_fixture,
                 "an end that was not stored leaves the attempt open: the next claim brings it again") {
  started();
  auto work = attempt_of();
  store.queue = {work};
  wake();
  store.fail_ends = true;
  for (int i = 0; i < 10 && store.ends.empty(); ++i) {
    ends(executors.back(), caf::exit_reason::out_of_workers);
    pass(6s);
  }
  REQUIRE(store.ends.size() == 1);
  auto had = executors.size();
  work.resumed = true;
  store.left = {work};
  pass(1s);
  CHECK(executors.size() == had + 1);
}

TEST_CASE_METHOD(scheduler_fixture, "a cancelled task's executor is told") {
  started();
  store.queue = {attempt_of(), attempt_of()};
  wake();
  task_event event;
  event.kind = "cancel_requested";
  event.task = executors[1]->work.token.key.task;
  caf::anon_send(scheduler, event);
  run_all();
  CHECK(executors[0]->told.empty());
  CHECK(executors[1]->told == std::vector<std::string>{"cancel"});
}

TEST_CASE_METHOD(scheduler_fixture,
                 "how long the end of a cancelled task may take, its executor hears from the store") {
  started();
  store.queue = {attempt_of(), attempt_of()};
  wake();
  task_event event;
  event.kind = "cancel_requested";
  event.task = executors[1]->work.token.key.task;
  event.message = "its container is killed within 5s";
  store.time_to_kill[event.task] = 4s;

  SECTION("at once") {
    caf::anon_send(scheduler, event);
    run_all();
    CHECK(executors[1]->told == std::vector<std::string>{"cancel", "cancel within 4s"});
  }
  SECTION("or when the store is well again") {
    store.fail_times = true;
    caf::anon_send(scheduler, event);
    run_all();
    CHECK(executors[1]->told == std::vector<std::string>{"cancel"});
    store.fail_times = false;
    pass(1s);
    CHECK(executors[1]->told == std::vector<std::string>{"cancel", "cancel within 4s"});
  }
  CHECK(executors[0]->told.empty());
}

TEST_CASE_METHOD(scheduler_fixture, "an attempt that is taken up again is held to the time that its cancel has left") {
  auto limited = attempt_of(true), free = attempt_of(true);
  limited.task.cancel_requested = free.task.cancel_requested = true;
  store.time_to_kill[limited.task.id] = 3s;
  store.left = {limited, free};
  started();
  REQUIRE(executors.size() == 2);
  CHECK(executors[0]->told == std::vector<std::string>{"cancel within 3s"});
  CHECK(executors[1]->told.empty());
}

namespace {

const engine_status& last_told(const std::shared_ptr<executor_script>& one) {
  return one->engines.back();
}

} // namespace

TEST_CASE_METHOD(scheduler_fixture,
                 "an attempt goes on on the engine that has its engine's id, whatever it is called") {
  names = {"other", "renamed"};
  store.left = {attempt_of(true)};
  spawn(false, 1);
  wire();
  REQUIRE(executors.size() == 1);
  CHECK(last_told(executors[0]).name == "e");
  CHECK(last_told(executors[0]).info.id.empty());
  engine_is(engine_state::ready, "other", "another-id");
  CHECK(last_told(executors[0]).name == "e");
  CHECK(last_told(executors[0]).grace > 0s);
  engine_is(engine_state::ready, "renamed");
  CHECK(last_told(executors[0]).name == "renamed");
  CHECK(last_told(executors[0]).info.id == "engine-id");
  for (const auto& one : store.claims)
    for (const auto& offer : one.offers)
      CHECK(offer.name == "other"); // the only slot of the engine is taken, under its new name
  engine_is(engine_state::down, "renamed");
  CHECK(last_told(executors[0]).state == engine_state::down);
  auto told = executors[0]->engines.size();
  engine_is(engine_state::down, "other", "another-id");
  CHECK(executors[0]->engines.size() == told); // is not its affair
  CHECK(executors.size() == 1);
  CHECK(executors[0]->told.empty());
}

TEST_CASE_METHOD(scheduler_fixture,
                 "of an engine that is not configured any more an attempt hears when all have told") {
  names = {"a", "b"};
  store.left = {attempt_of(true)};
  spawn();
  wire();
  REQUIRE(executors.size() == 1);
  engine_is(engine_state::ready, "a", "id-a");
  CHECK(last_told(executors[0]).grace > 0s);
  CHECK(last_told(executors[0]).message.find("not answered: b") != std::string::npos);
  engine_is(engine_state::ready, "b", "id-b");
  CHECK(last_told(executors[0]).grace == 0s);
  CHECK(last_told(executors[0]).message.find("no engine with the id engine-id is configured") != std::string::npos);
  CHECK(last_told(executors[0]).message.find("called e") != std::string::npos);
}

TEST_CASE_METHOD(scheduler_fixture,
                 "two engines change their addresses while an attempt runs: another executor goes on "
                 "where its engine is, and asks the other nothing more") {
  names = {"e", "f"};
  spawn(false, 1);
  wire();
  engine_is(engine_state::ready);
  store.queue = {attempt_of()};
  wake();
  REQUIRE(executors.size() == 1);
  engine_is(engine_state::ready, "f", "id-f");
  CHECK(executors[0]->engines.size() == 1);
  engine_is(engine_state::down);
  engine_is(engine_state::down, "f", "id-f");
  auto found_first = GENERATE(false, true);
  if (found_first) { // it is where it was as long as nothing else is known
    engine_is(engine_state::ready, "f");
    CHECK(executors.size() == 1);
    engine_is(engine_state::ready, "e", "id-f");
    pass(6s);
  } else {
    engine_is(engine_state::ready, "e", "id-f");
    pass(6s);
    REQUIRE(executors.size() == 2);
    CHECK(executors[1]->work.resumed);
    CHECK(last_told(executors[1]).name == "e");
    CHECK(last_told(executors[1]).info.id.empty());
    engine_is(engine_state::ready, "f");
  }
  REQUIRE(executors.size() == 2);
  CHECK(executors[1]->work.resumed);
  CHECK(last_told(executors[1]).name == "f");
  CHECK(last_told(executors[1]).info.id == "engine-id");
  for (const auto& one : executors[0]->engines)
    CHECK(one.info.id == "engine-id");
}

TEST_CASE_METHOD(scheduler_fixture,
                 "an engine is another one now, and no engine is what it was: the attempt is told so") {
  names = {"e", "f"};
  store.left = {attempt_of(true)};
  spawn();
  wire();
  engine_is(engine_state::ready, "e", "new-id");
  REQUIRE(executors.size() == 1);
  CHECK(last_told(executors[0]).info.id.empty()); // f may be it
  engine_is(engine_state::ready, "f", "id-f");
  CHECK(last_told(executors[0]).name == "e");
  CHECK(last_told(executors[0]).info.id == "new-id");
}
