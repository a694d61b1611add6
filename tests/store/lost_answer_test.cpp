// What was done is recognised when it is done again, because nobody heard the answer.
#include "store_fixture.hpp"

#include "fixture/commit_thief.hpp"

#include <algorithm>

using namespace davit;
using namespace davit::store;
using namespace davit::test;

namespace {

new_task plain_task(const std::string& key = "") {
  new_task made{uuid::make_v7(), {}, "", std::chrono::system_clock::now(), {}, "alice"};
  made.spec.image = "alpine";
  made.spec.labels["team"] = "red";
  made.spec.dedupe_key = key;
  return made;
}

/// A store behind a thief.
struct robbed_store {
  test_database& server = test_database::common();
  std::string name = server.create();
  commit_thief thief{server.port()};
  std::unique_ptr<task_store> store = *task_store::open(server.url(name, thief.port()));

  std::string sql(const std::string& statement) { return server.sql(name, statement); }
};

} // namespace

TEST_CASE_METHOD(store_fixture,
                 "a task that is accepted twice under one id is one task, whatever has become of it meanwhile") {
  auto key = GENERATE(as<std::string>{}, "", "key");
  auto made = plain_task(key);
  auto again = [&] {
    auto receipt = store->accept(made);
    REQUIRE(receipt.has_value());
    CHECK(receipt->id == made.id);
    CHECK(receipt->created); // as the answer that was lost has said
    CHECK(store->list({})->tasks.size() == 1);
    auto events = store->events(0, made.id, 100);
    CHECK(std::count_if(events->begin(), events->end(), [](const auto& one) { return one.kind == "accepted"; }) == 1);
  };
  again();
  again();
  auto work = claim(one_engine);
  REQUIRE(work.size() == 1);
  again();
  CHECK(store->get(made.id)->state == task_state::starting);
  REQUIRE(store->finish(result_of(work.front(), outcome::succeeded)).has_value());
  again();
  CHECK(store->get(made.id)->state == task_state::finished);
  // And costs its owner no turn.
  auto next = accept(0, {}, "", "", "alice"), other = accept(0, {}, "", "", "bob");
  auto order = claim(one_engine);
  REQUIRE(order.size() == 2);
  CHECK(order[0].token.key.task == next);
  CHECK(order[1].token.key.task == other);
}

TEST_CASE_METHOD(
  store_fixture,
  "a claim gives what an earlier answer held that was lost, before anything new, and nothing that is at work") {
  for (int i = 0; i < 4; ++i)
    accept();
  claim_request request{"a", incarnation, {{"e", "id", {}, 2, 2}}};
  auto lost = store->claim(request, false);
  REQUIRE(lost->attempts.size() == 2);
  for (const auto& one : lost->attempts)
    CHECK_FALSE(one.resumed);
  request.offers = {};
  auto again = store->claim(request, false);
  REQUIRE(again.has_value());
  REQUIRE(again->attempts.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(again->attempts[i].token == lost->attempts[i].token);
    CHECK(again->attempts[i].resumed);
    CHECK_FALSE(again->attempts[i].adopted); // nobody can have begun it
    CHECK(again->attempts[i].task.attempts.size() == 1);
  }
  request.at_work = {lost->attempts[1].token.key};
  CHECK(store->claim(request, false)->attempts.size() == 1);
  request.at_work.push_back(lost->attempts[0].token.key);
  CHECK(store->claim(request, false)->attempts.empty());
  // With room, the rest comes too.
  request.at_work.pop_back();
  request.offers = {{"e", "id", {}, 4, 2}};
  auto both = store->claim(request, false);
  REQUIRE(both->attempts.size() == 3);
  CHECK(both->attempts[0].token == lost->attempts[0].token);
  CHECK_FALSE(both->attempts[1].resumed);
  // It is not for an incarnation that did not ask.
  claim_request other{"a", uuid::make_v4(), {}};
  CHECK(store->claim(other, false)->attempts.empty());
}

TEST_CASE_METHOD(store_fixture, "an adoption whose answer was lost is in the next claim, as an adoption") {
  for (auto name : {"dead", "heir"}) {
    agent_status agent;
    agent.name = name;
    agent.home = agent.incarnation = uuid::make_v4();
    REQUIRE(beats(agent));
    if (agent.name == "dead")
      incarnation = agent.incarnation;
  }
  accept();
  auto left = claim({{"e", "shared-id", {}, 1, 1}}, false, "dead").front();
  REQUIRE(store->retire("dead", incarnation).has_value());
  auto next = uuid::make_v4();
  REQUIRE(store->adopt({"heir", next, {{"mine", "shared-id", engine_state::ready, 4, 0}}, 0ms})->adopted.size() == 1);
  auto found = store->claim({"heir", next, {}}, false);
  REQUIRE(found.has_value());
  REQUIRE(found->attempts.size() == 1);
  CHECK(found->attempts[0].token.key == left.token.key);
  CHECK(found->attempts[0].resumed);
  CHECK(found->attempts[0].adopted == store->shared());
}

TEST_CASE_METHOD(store_fixture, "an outcome that is stored twice is stored once; another one is refused") {
  auto id = accept();
  auto result = result_of(claim(one_engine).front(), outcome::engine_lost);
  result.retry_at = std::chrono::system_clock::now() - 1s;
  CHECK(*store->finish(result) == task_state::queued);
  CHECK(*store->finish(result) == task_state::queued);
  auto second = claim(one_engine);
  REQUIRE(second.size() == 1);
  CHECK(*store->finish(result) == task_state::starting); // the task has gone on since
  auto other = result;
  other.outcome = outcome::succeeded;
  CHECK(store->finish(other).error().code == errc::fenced);
  auto end = result_of(second.front(), outcome::failed);
  CHECK(*store->finish(end) == task_state::finished);
  CHECK(*store->finish(end) == task_state::finished);
  end.finished_at += 1s;
  CHECK(store->finish(end).error().code == errc::fenced);
  CHECK(store->get(id)->attempts.size() == 2);
  CHECK(store->events(0, id, 100)->size() == 5); // accepted, claimed, retrying, claimed, finished
}

TEST_CASE("the database does what it was asked, and its answer is lost on the way: asked again, it is done once",
          "[postgresql]") {
  robbed_store robbed;
  auto& store = *robbed.store;
  auto made = plain_task();
  robbed.thief.steal(1);
  auto lost = store.accept(made);
  REQUIRE(lost.has_error());
  CHECK(lost.error().code == errc::unavailable);
  CHECK_FALSE(lost.error().away);
  REQUIRE(robbed.thief.stolen() == 1);
  CHECK(robbed.sql("SELECT COUNT(*) FROM task") == "1\n");
  REQUIRE(store.accept(made).has_value());
  CHECK(robbed.sql("SELECT COUNT(*) FROM task") == "1\n");

  claim_request request{"a", uuid::make_v4(), one_engine};
  robbed.thief.steal(1);
  CHECK(store.claim(request, false).has_error());
  CHECK(robbed.sql("SELECT COUNT(*) FROM attempt") == "1\n");
  auto found = store.claim(request, false);
  REQUIRE(found.has_value());
  REQUIRE(found->attempts.size() == 1);
  CHECK(found->attempts[0].resumed);
  CHECK_FALSE(found->attempts[0].adopted);
  CHECK(robbed.sql("SELECT COUNT(*) FROM attempt") == "1\n");

  attempt_result result;
  result.token = found->attempts[0].token;
  result.finished_at = std::chrono::system_clock::now();
  robbed.thief.steal(1);
  CHECK(store.finish(result).has_error());
  CHECK(robbed.sql("SELECT state FROM task") == "finished\n");
  CHECK(store.finish(result).has_value());
  CHECK(robbed.sql("SELECT COUNT(*) FROM event") == "3\n");
}

TEST_CASE("a page of tasks costs a few statements for each hundred tasks", "[postgresql]") {
  robbed_store robbed;
  auto& store = *robbed.store;
  std::vector<task_id> ids;
  REQUIRE(store
            .batch([&] {
              for (int i = 0; i < 1000; ++i) {
                auto made = plain_task();
                REQUIRE(store.accept(made).has_value());
                ids.push_back(made.id);
              }
            })
            .has_value());
  auto claimed = store.claim({"a", uuid::make_v4(), {{"e", "id", {}, 300, 300}}}, false);
  REQUIRE(claimed->attempts.size() == 300);
  std::reverse(ids.begin(), ids.end()); // newest first
  auto statements_of = [&](std::uint32_t limit) {
    task_query query;
    query.labels = {{"team", "red"}};
    query.limit = limit;
    auto before = robbed.thief.statements();
    auto page = store.list(query);
    REQUIRE(page.has_value());
    REQUIRE(page->tasks.size() == limit);
    for (std::size_t i = 0; i < limit; ++i) {
      CHECK(page->tasks[i].id == ids[i]);
      CHECK(page->tasks[i].attempts.size() == (page->tasks[i].state == task_state::starting ? 1 : 0));
    }
    return robbed.thief.statements() - before;
  };
  auto few = statements_of(10);
  CHECK(few <= 6);                           // with the three that forget what was prepared
  CHECK(statements_of(1000) <= few + 9 * 4); // for each hundred more: tasks and attempts
}
