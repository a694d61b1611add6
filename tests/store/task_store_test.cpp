#include "fixture/test_database.hpp"
#include "fixture/test_engine.hpp"
#include "policy/placement.hpp"
#include "store/task_store.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <thread>

using namespace davit;
using namespace davit::store;
using davit::test::scratch_folder;
using namespace std::chrono_literals;

namespace {

const engine_offer* choose(const std::vector<engine_offer>& offers, const std::vector<std::string>& wanted, const std::vector<std::string>& holders) {
  return choose_engine(offers, wanted, holders);
}

/// What is promised of a store is promised of each: every test runs on SQLite and on a real PostgreSQL.
struct fixture {
  scratch_folder folder;
  std::string url;
  std::unique_ptr<task_store> store;
  uuid incarnation = uuid::make_v4();

  fixture() {
    auto kind = GENERATE(as<std::string>{}, "sqlite", "postgresql");
    url = kind == "sqlite" ? "sqlite://" + (folder / "davit.db") : test::test_database::common().url(test::test_database::common().create());
    open();
  }
  std::unique_ptr<task_store> another() {
    auto opened = task_store::open(url);
    if (!opened)
      FAIL(opened.error().message);
    return std::move(*opened);
  }
  void open() {
    store.reset();
    store = another();
  }
  task_id accept(int priority = 0, std::vector<std::string> labels = {}, std::string pinned = "", std::string key = "", std::string owner = "") {
    new_task made{uuid::make_v7(), {}, std::move(pinned), std::chrono::system_clock::now(), {}, std::move(owner)};
    made.spec.image = "alpine";
    made.spec.priority = priority;
    made.spec.engine.labels = std::move(labels);
    made.spec.dedupe_key = std::move(key);
    auto receipt = store->accept(made);
    REQUIRE(receipt.has_value());
    return receipt->id;
  }
  bool beats(const agent_status& agent) {
    auto answer = store->heartbeat(agent, 60s);
    REQUIRE(answer.has_value());
    return *answer;
  }
  std::vector<claimed_attempt> claim(std::vector<engine_offer> offers, bool private_only = false, std::string agent = "a") {
    auto answer = store->claim({std::move(agent), incarnation, std::move(offers)}, private_only, choose);
    REQUIRE(answer.has_value());
    return answer->attempts;
  }
  attempt_result result_of(const claimed_attempt& work, outcome how) {
    attempt_result result;
    result.token = work.token;
    result.outcome = how;
    result.exit_code = 3;
    result.finished_at = std::chrono::system_clock::now();
    result.phases["run"] = 1.5;
    result.evidence.inspect = "{}";
    result.engine_id = work.task.attempts.back().engine_id;
    result.image = work.task.spec.image;
    return result;
  }
};

const std::vector<engine_offer> one_engine{{"e", "id", {"x"}, 10, 10}};

} // namespace

TEST_CASE_METHOD(fixture, "an accepted task is there after the store is opened anew") {
  auto id = accept();
  open();
  auto found = store->get(id);
  REQUIRE(found.has_value());
  CHECK(found->state == task_state::queued);
  CHECK(found->spec.image == "alpine");
  CHECK(store->get(uuid::make_v7()).error().code == errc::not_found);
}

TEST_CASE_METHOD(fixture, "tasks are claimed by priority, then by age, as far as the room goes") {
  auto low = accept(-1), first = accept(), second = accept(), high = accept(5);
  auto got = claim({{"e", "id", {}, 3, 3}});
  REQUIRE(got.size() == 3);
  CHECK(got[0].token.key.task == high);
  CHECK(got[1].token.key.task == first);
  CHECK(got[2].token.key.task == second);
  CHECK(got[0].task.attempts.back().engine == "e");
  CHECK(got[0].task.state == task_state::starting);
  CHECK(claim(one_engine).front().token.key.task == low);
  CHECK(claim(one_engine).empty());
}

TEST_CASE_METHOD(fixture, "a task that no engine can take does not hold up those behind it") {
  for (int i = 0; i < 5; ++i)
    accept(9, {"gpu"});
  auto plain = accept();
  auto got = claim(one_engine);
  REQUIRE(got.size() == 1);
  CHECK(got[0].token.key.task == plain);
  CHECK(claim({{"g", "id", {"gpu", "x"}, 10, 10}}).size() == 5);
}

TEST_CASE_METHOD(fixture, "a pinned task is for its agent alone") {
  accept(0, {}, "run-1");
  CHECK(claim(one_engine).empty());
  CHECK(claim(one_engine, true, "run-1").size() == 1);
  accept();
  CHECK(claim(one_engine, true, "run-1").empty());
}

TEST_CASE_METHOD(fixture, "writes of another incarnation, or after the end, are refused") {
  auto id = accept();
  auto work = claim(one_engine).front();
  auto stranger = work;
  stranger.token.incarnation = uuid::make_v4();
  CHECK(store->record({stranger.token, task_state::running, "c", "i", {}}).error().code == errc::fenced);
  CHECK(store->finish(result_of(stranger, outcome::succeeded)).error().code == errc::fenced);
  REQUIRE(store->record({work.token, task_state::running, "c", "i", std::chrono::system_clock::now()}).has_value());
  CHECK(store->get(id)->state == task_state::running);
  auto ended = store->finish(result_of(work, outcome::failed));
  REQUIRE(ended.has_value());
  CHECK(*ended == task_state::finished);
  auto now = store->get(id);
  CHECK(now->outcome == outcome::failed);
  CHECK(now->exit_code == 3);
  CHECK(now->attempts.back().container == "c");
  CHECK(now->attempts.back().phases.at("run") == 1.5);
  CHECK(store->finish(result_of(work, outcome::succeeded)).error().code == errc::fenced);
  CHECK(store->get(id)->outcome == outcome::failed);
}

TEST_CASE_METHOD(fixture, "a small log is stored with its attempt's outcome, or not at all") {
  accept();
  auto work = claim(one_engine).front();
  auto result = result_of(work, outcome::engine_lost);
  result.log = "Zmlyc3Q=";
  auto strange = result;
  strange.token.incarnation = uuid::make_v4();
  CHECK_FALSE(store->finish(strange).has_value());
  CHECK(store->get_log(work.token.key, 0)->count == 0);
  result.retry_at = std::chrono::system_clock::now();
  REQUIRE(store->finish(result).has_value());
  result = result_of(claim(one_engine).front(), outcome::succeeded);
  result.log = "c2Vjb25k";
  REQUIRE(store->finish(result).has_value());
  auto first = store->get_log(work.token.key, 0), second = store->get_log(result.token.key, 0);
  CHECK(first->count == 1);
  CHECK(first->bytes == "Zmlyc3Q=");
  CHECK(second->bytes == "c2Vjb25k");
  REQUIRE(store->forget({work.token.key.task}).has_value());
  CHECK(store->get_log(work.token.key, 0)->count == 0);
}

TEST_CASE_METHOD(fixture, "the attempts that an agent has ended since a time are named, each once, in order") {
  auto ended = [&](const std::string& agent, timestamp since) {
    std::vector<attempt_key> all;
    for (std::int64_t after = 0;;) {
      auto some = store->ended_since(agent, since, after);
      REQUIRE(some.has_value());
      all.insert(all.end(), some->keys.begin(), some->keys.end());
      if (some->next == 0)
        return all;
      after = some->next;
    }
  };
  auto finish = [&](const std::string& agent, bool retried = false) {
    auto result = result_of(claim(one_engine, false, agent).at(0), outcome::failed);
    if (retried)
      result.retry_at = std::chrono::system_clock::now();
    REQUIRE(store->finish(result).has_value());
    return result.token.key;
  };
  auto since_ever = timestamp{};
  CHECK(ended("a", since_ever).empty());
  std::vector<attempt_key> mine;
  for (int i = 0; i < 5; ++i) {
    accept();
    mine.push_back(finish("a"));
  }
  std::this_thread::sleep_for(2ms);
  auto middle = std::chrono::system_clock::now();
  accept();
  mine.push_back(finish("a", true));
  mine.push_back(finish("a")); // the second attempt of the same task
  accept();
  auto other = finish("b");
  accept(); // is not ended
  claim(one_engine);
  CHECK(ended("a", since_ever) == mine);
  CHECK(ended("a", middle) == std::vector<attempt_key>(mine.begin() + 5, mine.end()));
  CHECK(ended("b", middle) == std::vector<attempt_key>{other});
  CHECK(ended("a", std::chrono::system_clock::now() + 1h).empty());
}

TEST_CASE_METHOD(fixture, "a retry is queued until its time; a cancelled task is not tried again") {
  auto id = accept();
  auto result = result_of(claim(one_engine).front(), outcome::engine_lost);
  result.retry_at = std::chrono::system_clock::now() + 1h;
  CHECK(*store->finish(result) == task_state::queued);
  auto answer = store->claim({"a", incarnation, one_engine}, false, choose);
  CHECK(answer->attempts.empty());
  CHECK(answer->next_due);
  auto other = accept();
  auto work = claim(one_engine).front();
  REQUIRE(work.token.key.task == other);
  REQUIRE(store->cancel(other)->cancel_requested);
  result = result_of(work, outcome::engine_lost);
  result.retry_at = std::chrono::system_clock::now();
  CHECK(*store->finish(result) == task_state::finished);
  CHECK(store->cancel(id)->outcome == outcome::cancelled);
  CHECK(store->cancel(id)->outcome == outcome::cancelled);
}

TEST_CASE_METHOD(fixture, "tasks of several placements are claimed in one order, however many there are") {
  std::vector<std::tuple<int, int, task_id>> order; // priority, place within it, task
  const std::vector<std::vector<std::string>> labels{{}, {"gpu"}, {"arm"}, {"gpu", "fast"}};
  int place = 0;
  for (int i = 0; i < 240; ++i) {
    auto priority = (i * 7) % 3;
    auto wanted = labels[static_cast<std::size_t>((i * 5) % 4)];
    auto id = accept(priority, wanted, i % 11 == 0 ? "a" : "");
    if (wanted != std::vector<std::string>{"arm"})
      order.emplace_back(-priority, ++place, id);
  }
  std::sort(order.begin(), order.end());
  std::vector<engine_offer> offers{{"g", "id", {"gpu", "fast"}, 500, 17}};
  std::size_t taken = 0;
  for (std::vector<claimed_attempt> got; !(got = claim(offers)).empty();)
    for (const auto& one : got) {
      REQUIRE(taken < order.size());
      CHECK(one.token.key.task == std::get<2>(order[taken++]));
    }
  CHECK(taken == order.size());
  CHECK(claim({{"x", "id", {"arm"}, 500, 500}}).size() == 60);
}

TEST_CASE_METHOD(fixture, "what comes next on an engine can be asked for, and is taken by nobody for that") {
  auto retried = accept(9);
  auto result = result_of(claim(one_engine).front(), outcome::engine_lost);
  result.retry_at = std::chrono::system_clock::now() + 1h;
  REQUIRE(store->finish(result).has_value());
  auto low = accept(-1), plain = accept(), gpu = accept(5, {"gpu"});
  accept(7, {"arm"});
  accept(8, {}, "another");
  auto own = accept(1, {}, "a");
  auto next = [&](bool private_only, const std::vector<std::string>& labels, std::uint32_t limit) {
    std::vector<task_id> ids;
    auto page = store->next_tasks("a", private_only, labels, limit);
    REQUIRE(page.has_value());
    for (const auto& one : page->tasks) {
      CHECK(one.spec.image == "alpine");
      ids.push_back(one.id);
    }
    return ids;
  };
  CHECK(next(false, {"gpu", "x"}, 10) == std::vector{gpu, own, plain, low});
  CHECK(next(false, {"gpu"}, 2) == std::vector{gpu, own});
  CHECK(next(false, {}, 10) == std::vector{own, plain, low});
  CHECK(next(true, {"gpu"}, 10) == std::vector{own});
  CHECK(another()->claim({"a", incarnation, {{"g", "id", {"gpu"}, 10, 10}}}, false, choose)->attempts.size() == 4);
  CHECK(next(false, {"gpu"}, 10).empty());
  CHECK(store->get(retried)->state == task_state::queued);
}

TEST_CASE_METHOD(fixture, "a retry takes its place again when its time has come") {
  auto id = accept(5);
  auto result = result_of(claim(one_engine).front(), outcome::engine_lost);
  auto due = std::chrono::system_clock::now() + 150ms;
  result.retry_at = due;
  REQUIRE(store->finish(result).has_value());
  auto other = accept();
  auto answer = store->claim({"a", incarnation, one_engine}, false, choose);
  REQUIRE(answer->attempts.size() == 1);
  CHECK(answer->attempts[0].token.key.task == other);
  REQUIRE(answer->next_due);
  std::this_thread::sleep_until(std::chrono::system_clock::time_point{std::chrono::duration_cast<std::chrono::system_clock::duration>(answer->next_due->time_since_epoch())} + 2ms);
  accept();
  auto again = store->claim({"a", incarnation, one_engine}, false, choose);
  REQUIRE(again->attempts.size() == 2);
  CHECK(again->attempts[0].token.key.task == id);
  CHECK(again->attempts[0].token.key.number == 2);
  CHECK_FALSE(again->next_due);
}

TEST_CASE_METHOD(fixture, "a dedupe key names one task") {
  auto id = accept(0, {}, "", "key");
  CHECK(accept(0, {}, "", "key") == id);
  new_task other{uuid::make_v7(), {}, "", std::chrono::system_clock::now()};
  other.spec.image = "busybox";
  other.spec.dedupe_key = "key";
  CHECK(store->accept(other).error().code == errc::conflict);
}

TEST_CASE_METHOD(fixture, "what an agent left is taken over under a new incarnation") {
  accept();
  auto work = claim(one_engine).front();
  auto next = uuid::make_v4();
  auto taken = store->take_over("a", "b", next);
  REQUIRE(taken.has_value());
  REQUIRE(taken->size() == 1);
  CHECK(taken->front().resumed);
  CHECK(taken->front().task.attempts.back().agent == "b");
  CHECK(store->finish(result_of(work, outcome::succeeded)).error().code == errc::fenced);
  CHECK(store->finish(result_of(taken->front(), outcome::succeeded)).has_value());
}

TEST_CASE_METHOD(fixture, "pages and filters") {
  for (int i = 0; i < 5; ++i)
    accept();
  new_task labelled{uuid::make_v7(), {}, "", std::chrono::system_clock::now()};
  labelled.spec.image = "alpine";
  labelled.spec.labels = {{"team", "it's"}};
  REQUIRE(store->accept(labelled).has_value());
  task_query query;
  query.limit = 4;
  auto page = store->list(query);
  REQUIRE(page->next);
  CHECK(page->tasks.front().id == labelled.id);
  query.before = page->next;
  CHECK(store->list(query)->tasks.size() == 2);
  CHECK_FALSE(store->list(query)->next);
  CHECK(store->list({.state = {}, .labels = {{"team", "it's"}}, .name = "", .before = {}, .limit = 10})->tasks.size() == 1);
  CHECK(store->list({.state = {}, .labels = {{"team", ""}}, .name = "", .before = {}, .limit = 10})->tasks.size() == 1);
  CHECK(store->list({.state = task_state::running, .labels = {}, .name = "", .before = {}, .limit = 10})->tasks.empty());
  CHECK(store->counts()->queued == 6);
}

TEST_CASE_METHOD(fixture, "a batch happens as a whole or not at all") {
  task_id id;
  REQUIRE(store->batch([&] { id = accept(); }).has_value());
  CHECK(store->get(id).has_value());
  CHECK_FALSE(store->batch([&] {
                id = accept();
                throw std::runtime_error("the power is cut");
              }).has_value());
  CHECK_FALSE(store->get(id).has_value());
  CHECK(store->events(0, {}, 100)->size() == 1);
}

TEST_CASE_METHOD(fixture, "owners take turns, however many tasks one of them has, and whenever another comes") {
  std::vector<task_id> many, few;
  for (int i = 0; i < 6; ++i)
    many.push_back(accept(0, {}, "", "", "many"));
  few.push_back(accept(0, {}, "", "", "few"));
  few.push_back(accept(0, {}, "", "", "few"));
  auto next = [&] { return claim({{"e", "id", {}, 1, 1}}).front().token.key.task; };
  CHECK(next() == many[0]);
  CHECK(next() == few[0]); // not behind the other five
  CHECK(next() == many[1]);
  CHECK(next() == few[1]);
  CHECK(next() == many[2]);
  // A newcomer does not get what it did not use before, nor pays for having come late.
  auto late = accept(0, {}, "", "", "late");
  auto first = next(), second = next();
  CHECK((first == late || second == late));
  CHECK(store->get(late)->owner == "late");
}

TEST_CASE_METHOD(fixture, "what is no text of the database's is kept as one") {
  auto id = accept();
  auto work = claim(one_engine).front();
  auto result = result_of(work, outcome::failed);
  result.message = std::string{"a\0b \xff\xfe c'", 10};
  REQUIRE(store->finish(result).has_value());
  CHECK(store->get(id)->message.find("c'") != std::string::npos);
}

TEST_CASE_METHOD(fixture, "a lease is kept by heartbeats; one name is one agent, and comes back from its own place alone") {
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

TEST_CASE_METHOD(fixture, "what a dead agent has left goes to one who reaches its engine; what nobody reaches is given up; a living one's is left alone") {
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
  auto shared = claim({{"e1", "shared-id", {}, 1, 1}}, false, "dead").front(), others = claim({{"e2", "other-id", {}, 1, 1}}, false, "dead").front(), lost = claim({{"e3", "lost-id", {}, 1, 1}}, false, "dead").front();
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

TEST_CASE_METHOD(fixture, "what is new is told once, as the events have it; what was undone is not") {
  std::vector<task_event> told;
  auto ask = [&] {
    for (;;) {
      auto news = store->news();
      REQUIRE(news.has_value());
      if (news->empty())
        return;
      told.insert(told.end(), news->begin(), news->end());
    }
  };
  auto early = accept();
  open(); // what was there before is no news
  ask();
  CHECK(told.empty());
  auto first = accept();
  auto work = claim({{"e", "id", {}, 1, 1}}).front();
  ask();
  CHECK_FALSE(store->batch([&] {
    accept();
    throw std::runtime_error("no");
  }).has_value());
  auto second = accept();
  CHECK(store->batch([&] {
    CHECK(store->finish(result_of(work, outcome::failed)).has_value());
    CHECK_FALSE(store->finish(result_of(work, outcome::failed)).has_value()); // refused, and nothing of it is told
    accept();
  }).has_value());
  ask();
  accept(); // told by the store that reads it, whoever wrote it
  ask();
  auto events = store->events(0, {}, 100);
  REQUIRE(events.has_value());
  REQUIRE(told.size() == events->size() - 1);
  for (std::size_t i = 0; i < told.size(); ++i) {
    const auto& one = told[i];
    const auto& other = (*events)[i + 1];
    CAPTURE(i, one.kind);
    CHECK(one.sequence == other.sequence);
    CHECK(one.task == other.task);
    CHECK(one.attempt == other.attempt);
    CHECK(one.at == other.at);
    CHECK(one.kind == other.kind);
    CHECK(one.state == other.state);
    CHECK(one.outcome == other.outcome);
    CHECK(one.message == other.message);
  }
  CHECK(told.front().task == first);
  CHECK(told.at(1).task == early); // it was claimed
  CHECK(told.at(2).task == second);
}

TEST_CASE_METHOD(fixture, "events come in the order of their commits, and none comes late") {
  auto second = another();
  std::atomic<bool> over{false};
  std::thread writer{[&] {
    for (int i = 0; i < 100; ++i) {
      new_task made{uuid::make_v7(), {}, "", std::chrono::system_clock::now()};
      made.spec.image = "alpine";
      if (!second->accept(made))
        break;
    }
    over = true;
  }};
  std::int64_t last = 0;
  std::size_t seen = 0;
  auto read = [&] {
    auto events = store->events(last, {}, 1000);
    REQUIRE(events.has_value());
    for (const auto& one : *events) {
      CHECK(one.sequence > last);
      last = one.sequence;
      ++seen;
    }
  };
  for (int i = 0; i < 100; ++i) {
    accept();
    read();
  }
  writer.join();
  read();
  CHECK(seen == 200);
}

TEST_CASE("ten agents that start together on an empty database: it is set up once, and each task is claimed once", "[postgresql]") {
  auto& server = test::test_database::common();
  auto url = server.url(server.create());
  std::vector<std::thread> agents;
  std::mutex mutex;
  std::vector<std::string> failures;
  std::map<task_id, int> claimed;
  constexpr int tasks_each = 20;
  std::atomic<int> accepted{0};
  for (int i = 0; i < 10; ++i)
    agents.emplace_back([&, i] {
      auto opened = task_store::open(url);
      if (!opened) {
        std::lock_guard guard{mutex};
        failures.push_back(opened.error().message);
        return;
      }
      auto& store = **opened;
      for (int k = 0; k < tasks_each; ++k) {
        new_task made{uuid::make_v7(), {}, "", std::chrono::system_clock::now(), {}, "owner" + std::to_string(k % 3)};
        made.spec.image = "alpine";
        if (store.accept(made))
          ++accepted;
      }
      auto incarnation = uuid::make_v4();
      for (int idle = 0; idle < 20;) {
        auto answer = store.claim({"a" + std::to_string(i), incarnation, {{"e", "id" + std::to_string(i), {}, 3, 3}}}, false, choose);
        std::lock_guard guard{mutex};
        if (!answer) {
          failures.push_back(answer.error().message);
          return;
        }
        idle = answer->attempts.empty() ? idle + 1 : 0;
        for (const auto& one : answer->attempts) {
          ++claimed[one.token.key.task];
          attempt_result ended;
          ended.token = one.token;
          ended.outcome = outcome::succeeded;
          ended.finished_at = std::chrono::system_clock::now();
          if (auto done = store.finish(ended); !done)
            failures.push_back(done.error().message);
        }
      }
    });
  for (auto& one : agents)
    one.join();
  for (const auto& one : failures)
    FAIL_CHECK(one);
  CHECK(accepted == 10 * tasks_each);
  CHECK(claimed.size() == 10 * tasks_each);
  for (const auto& [id, times] : claimed)
    CHECK(times == 1);
  CHECK(server.sql(url.substr(url.rfind('/') + 1), "SELECT COUNT(*) FROM task_hot") == "0\n"); // what is finished has left the queue's table
}

TEST_CASE("a write that meets another session's on the same task is done again on what that one has left", "[postgresql]") {
  auto& server = test::test_database::common();
  auto name = server.create();
  auto store = std::move(*task_store::open(server.url(name)));
  auto accept = [&] {
    new_task made{uuid::make_v7(), {}, "", std::chrono::system_clock::now()};
    made.spec.image = "alpine";
    REQUIRE(store->accept(made).has_value());
    return made.id;
  };
  // Finishes the task, which moves its row to another partition, and takes its time to commit.
  auto meanwhile = [&](task_id id) {
    std::thread other{[&server, name, id] {
      server.sql(name, "BEGIN; UPDATE task SET state = 'finished', outcome = 'succeeded', finished_at = 1 WHERE id = '" + to_string(id) + "'; SELECT pg_sleep(1); COMMIT");
    }};
    while (server.sql(name, "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "0\n")
      std::this_thread::sleep_for(10ms);
    return other;
  };
  auto alone = accept();
  auto first = meanwhile(alone);
  auto cancelled = store->cancel(alone);
  first.join();
  REQUIRE(cancelled.has_value());
  CHECK(cancelled->outcome == outcome::succeeded);

  auto among = accept(), beside = accept();
  auto second = meanwhile(among);
  std::optional<outcome> seen;
  auto batch = store->batch([&] {
    if (auto now = store->cancel(among); now)
      seen = now->outcome;
    (void)store->cancel(beside);
  });
  second.join();
  REQUIRE(batch.has_value());
  CHECK(seen == outcome::succeeded);
  CHECK(store->get(beside)->outcome == outcome::cancelled);
  CHECK(store->events(0, beside, 10)->size() == 2); // what was undone has left no event
}

TEST_CASE("two agents that reach the same engine share its slots, whatever each calls it", "[postgresql]") {
  auto& server = test::test_database::common();
  auto url = server.url(server.create());
  auto first = task_store::open(url), second = task_store::open(url);
  REQUIRE((first.has_value() && second.has_value()));
  for (int i = 0; i < 10; ++i) {
    new_task made{uuid::make_v7(), {}, "", std::chrono::system_clock::now()};
    made.spec.image = "alpine";
    REQUIRE((*first)->accept(made).has_value());
  }
  auto take = [&](task_store& store, const std::string& agent, const std::string& name, std::uint32_t busy) {
    return store.claim({agent, uuid::make_v4(), {{name, "same-id", {}, 4, 4 - busy}}}, false, choose)->attempts.size();
  };
  CHECK((*first)->claim({"a", uuid::make_v4(), {{"x", "same-id", {}, 4, 1}}}, false, choose)->attempts.size() == 1);
  CHECK(take(**second, "b", "y", 0) == 3);
  CHECK(take(**second, "b", "y", 3) == 0);
  CHECK(take(**first, "a", "x", 1) == 0);
  CHECK((*first)->claim({"a", uuid::make_v4(), {{"x", "another-id", {}, 4, 4}}}, false, choose)->attempts.size() == 4);
}

TEST_CASE("a database that is killed is asked again when it is back: what was answered is there", "[postgresql]") {
  test::test_database server;
  auto name = server.create();
  auto opened = task_store::open(server.url(name));
  REQUIRE(opened.has_value());
  auto& store = **opened;
  auto accept = [&] {
    new_task made{uuid::make_v7(), {}, "", std::chrono::system_clock::now()};
    made.spec.image = "alpine";
    return store.accept(made);
  };
  auto first = accept();
  REQUIRE(first.has_value());
  server.kill();
  auto refused = accept();
  REQUIRE(refused.has_error());
  CHECK(refused.error().code == errc::unavailable);
  CHECK(refused.error().message.find("it is asked again") != std::string::npos);
  CHECK(accept().has_error());
  server.start();
  CHECK(store.get(first->id).has_value());
  CHECK(accept().has_value());
  CHECK(store.counts()->queued == 2);
  // A password is nobody's business.
  CHECK(task_store::open("postgresql://me:sesame@127.0.0.1:1/x").error().message.find("sesame") == std::string::npos);
}

TEST_CASE("a store that can't be used is refused with the reason, and left as it is") {
  scratch_folder folder;
  CHECK(task_store::open("mysql://x").error().message.find("sqlite:///") != std::string::npos);
  CHECK(task_store::open("sqlite://" + (folder / "no/such/folder.db")).error().message.find("is not there") != std::string::npos);
  auto path = folder / "garbage.db";
  std::ofstream{path} << std::string(10'000, 'x');
  auto e = task_store::open("sqlite://" + path).error();
  CHECK(e.code == errc::unavailable);
  CHECK(e.message.find("restore a backup") != std::string::npos);
  CHECK(std::filesystem::file_size(path) == 10'000);
}

TEST_CASE_METHOD(fixture, "a database of the schema before is brought up to date, and nothing of it is lost") {
  if (!url.starts_with("sqlite://"))
    return; // PostgreSQL's steps are tried with an older davit: tests/fleet
  auto pinned = accept(0, {}, "a"), free = accept();
  REQUIRE(claim({{"e", "id", {}, 1, 1}}).size() == 1);
  store.reset();
  auto sql = [&](const std::string& text) { return test::shell("sqlite3 " + (folder / "davit.db") + " \"" + text + "\""); };
  REQUIRE(sql("PRAGMA user_version") == "8\n");
  sql("DROP INDEX task_running; CREATE INDEX task_queue ON task (priority DESC, fair, id) WHERE state = 'queued';"
      " CREATE INDEX task_active ON task (state) WHERE state <> 'finished'; PRAGMA user_version = 7");
  open();
  CHECK(sql("PRAGMA user_version") == "8\n");
  CHECK(sql("SELECT COUNT(*) FROM sqlite_master WHERE name IN ('task_queue', 'task_active', 'task_running')") == "1\n");
  auto counts = store->counts();
  CHECK(counts->queued == 1);
  CHECK(counts->starting == 1);
  REQUIRE(store->take_over("a", "b", uuid::make_v4())->size() == 1); // with what is pinned, queued or running
  CHECK(claim({{"e", "id", {}, 8, 8}}, false, "b").size() == 1);
  CHECK(store->get(pinned).has_value());
  CHECK(store->get(free).has_value());
}

// -- placement over the whole fleet ------------------------------------------------------------------------------------

TEST_CASE_METHOD(fixture, "of a label's tasks no more run at once than the fleet's limit; the others go by, and it is told why one waits") {
  auto labelled = [&](const std::string& name, const std::string& value, const std::string& owner = "") {
    new_task made{uuid::make_v7(), {}, "", std::chrono::system_clock::now(), {}, owner};
    made.spec.image = "alpine";
    made.spec.labels[name] = value;
    return store->accept(made)->id;
  };
  placement_rules rules;
  rules.label_limits = {{"deploy", "", 1}, {"team", "red", 2}};
  auto claim = [&](std::uint32_t room) {
    auto answer = store->claim({"a", incarnation, {{"e", "id", {}, 100, room}}, {"id"}, rules}, false, choose);
    REQUIRE(answer.has_value());
    return answer->attempts;
  };
  for (int i = 0; i < 40; ++i) // more than a page of them
    labelled("deploy", "prod");
  labelled("deploy", "test");
  for (int i = 0; i < 3; ++i)
    labelled("team", "red");
  for (int i = 0; i < 3; ++i)
    labelled("team", "blue");
  auto got = claim(100);
  std::multiset<std::string> groups;
  for (const auto& one : got)
    for (const auto& [name, value] : one.task.spec.labels)
      groups.insert(name + '=' + value);
  CHECK(groups == std::multiset<std::string>{"deploy=prod", "deploy=test", "team=blue", "team=blue", "team=blue", "team=red", "team=red"});
  CHECK(claim(100).empty());
  auto waiting = store->list({task_state::queued, {}, "", {}, 100})->tasks;
  auto why = store->limits_reached(waiting.back(), rules);
  REQUIRE(why.has_value());
  CHECK(*why == std::vector<std::string>{"1 tasks with the label deploy=prod run, and no more than 1 may at once"});
  // One ends: the next has its turn, and no more than that.
  auto prod = std::find_if(got.begin(), got.end(), [](const auto& one) { return one.task.spec.labels.contains("deploy") && one.task.spec.labels.at("deploy") == "prod"; });
  REQUIRE(store->finish(result_of(*prod, outcome::succeeded)).has_value());
  CHECK(claim(100).size() == 1);
}

TEST_CASE_METHOD(fixture, "of an owner's tasks no more run at once than the fleet's limit") {
  for (int i = 0; i < 30; ++i)
    accept(0, {}, "", "", "alice");
  accept(0, {}, "", "", "bob");
  placement_rules rules;
  rules.most_per_owner = 3;
  auto got = store->claim({"a", incarnation, {{"e", "id", {}, 100, 100}}, {"id"}, rules}, false, choose)->attempts;
  CHECK(std::count_if(got.begin(), got.end(), [](const auto& one) { return one.task.owner == "alice"; }) == 3);
  CHECK(std::count_if(got.begin(), got.end(), [](const auto& one) { return one.task.owner == "bob"; }) == 1);
  CHECK(store->claim({"a", incarnation, {{"e", "id", {}, 100, 96}}, {"id"}, rules}, false, choose)->attempts.empty());
}

TEST_CASE_METHOD(fixture, "agents that write of the same owners and images, in any order, never wait for each other in a circle") {
  const int agents = 4, tasks = 60;
  std::atomic<int> finished{0};
  std::atomic<bool> good{true};
  std::vector<std::thread> threads;
  for (int agent = 0; agent < agents; ++agent)
    threads.emplace_back([&, agent] {
      auto mine = another();
      auto name = "agent-" + std::to_string(agent);
      for (int round = 0; finished < agents * tasks && good; ++round) {
        std::vector<claimed_attempt> work;
        auto done = mine->batch([&] {
          if (round < tasks / 10)
            for (int i = 0; i < 10; ++i) {
              auto which = std::to_string(agent % 2 == 0 ? i : 9 - i);
              new_task made{uuid::make_v7(), {}, "", std::chrono::system_clock::now(), {}, "owner-" + which};
              made.spec.image = "image-" + which;
              good = mine->accept(made).has_value() && good;
            }
          auto answer = mine->claim({name, incarnation, {{"e", "engine-" + std::to_string(agent / 2), {}, 8, 8}}, {}, {}}, false, choose);
          work = answer ? std::move(answer->attempts) : std::vector<claimed_attempt>{};
        });
        if (agent % 2 == 0)
          std::reverse(work.begin(), work.end());
        auto ended = mine->batch([&] {
          for (const auto& one : work) {
            good = mine->record({one.token, task_state::running, "c", "sha256:1", std::chrono::system_clock::now()}).has_value() && good;
            good = mine->finish(result_of(one, outcome::succeeded)).has_value() && good;
          }
        });
        good = done.has_value() && ended.has_value() && good;
        finished += static_cast<int>(work.size());
      }
    });
  for (auto& one : threads)
    one.join();
  CHECK(good);
  CHECK(finished == agents * tasks);
  CHECK(store->counts()->queued == 0);
  if (store->shared()) { // a circle is found by the database after a second, and counted
    auto name = url.substr(url.rfind('/') + 1);
    name = name.substr(0, name.find('?'));
    std::string circles;
    for (int i = 0; i < 5; ++i) { // its statistics come late
      std::this_thread::sleep_for(200ms);
      circles = test::test_database::common().sql(name, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
    }
    INFO(circles);
    CHECK(circles.find_first_of("123456789") == std::string::npos);
  }
}

TEST_CASE_METHOD(fixture, "a task waits a little for an engine that has its image, and never for long") {
  placement_rules rules;
  rules.image_patience = 400ms;
  std::vector<engine_offer> both{{"cold", "cold-id", {}, 8, 8}, {"warm", "warm-id", {}, 8, 1}}, cold{{"cold", "cold-id", {}, 8, 8}};
  auto claim = [&](const std::vector<engine_offer>& offers) { return *store->claim({"a", incarnation, offers, {"cold-id", "warm-id"}, rules}, false, choose); };
  // An attempt with a container is how davit learns of images that it has not pulled itself.
  accept();
  auto first = claim({{"warm", "warm-id", {}, 8, 8}}).attempts.at(0);
  REQUIRE(store->record({first.token, task_state::running, "c", "sha256:1", std::chrono::system_clock::now()}).has_value());
  REQUIRE(store->finish(result_of(first, outcome::succeeded)).has_value());
  CHECK(store->images_unused("warm-id", std::chrono::system_clock::now() + 1h)->empty()); // which it may not remove
  accept();
  CHECK(claim(both).attempts.at(0).task.attempts.back().engine == "warm"); // although it is the fuller one
  accept();
  auto waits = claim(cold);
  CHECK(waits.attempts.empty());
  REQUIRE(waits.next_due.has_value());
  new_task other{uuid::make_v7(), {}, "", std::chrono::system_clock::now()};
  other.spec.image = "busybox"; // that nobody has
  REQUIRE(store->accept(other).has_value());
  auto goes = claim(cold).attempts;
  REQUIRE(goes.size() == 1);
  CHECK(goes[0].token.key.task == other.id);
  std::this_thread::sleep_until(std::chrono::system_clock::time_point{std::chrono::duration_cast<std::chrono::system_clock::duration>(waits.next_due->time_since_epoch())} + 5ms);
  CHECK(claim(cold).attempts.size() == 1);
  // An engine that nobody reaches any more is not waited for.
  accept();
  CHECK(store->claim({"a", incarnation, cold, {"cold-id"}, rules}, false, choose)->attempts.size() == 1);
}

TEST_CASE_METHOD(fixture, "who asks again within another trace is given the same task") {
  new_task made{uuid::make_v7(), {}, "", std::chrono::system_clock::now()};
  made.spec.image = "alpine";
  made.spec.dedupe_key = "k";
  made.spec.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  REQUIRE(store->accept(made)->created);
  auto first = made.id;
  made.id = uuid::make_v7();
  made.spec.traceparent = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203332-01";
  auto again = store->accept(made);
  REQUIRE(again.has_value());
  CHECK_FALSE(again->created);
  CHECK(again->id == first);
}
