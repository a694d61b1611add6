// The queue of the store: who is claimed next.
#include "store_fixture.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <thread>

using namespace davit;
using namespace davit::store;
using namespace davit::test;

TEST_CASE_METHOD(store_fixture, "tasks are claimed by priority, then by age, as far as the room goes") {
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

TEST_CASE_METHOD(store_fixture, "a task that no engine can take does not hold up those behind it") {
  for (int i = 0; i < 5; ++i)
    accept(9, {"gpu"});
  auto plain = accept();
  auto got = claim(one_engine);
  REQUIRE(got.size() == 1);
  CHECK(got[0].token.key.task == plain);
  CHECK(claim({{"g", "id", {"gpu", "x"}, 10, 10}}).size() == 5);
}

TEST_CASE_METHOD(store_fixture,
                 "a task whose time in the queue is over is not claimed, though nobody has looked since") {
  auto over = [&](std::int32_t priority, duration timeout) {
    new_task task{uuid::make_v7(), {}, {}, std::chrono::system_clock::now(), {}, {}};
    task.spec.image = "alpine";
    task.spec.priority = priority;
    task.spec.queue_timeout = timeout;
    return store->accept(task)->id;
  };
  auto late = over(5, 1ms), in_time = over(1, 1h), behind = accept();
  std::this_thread::sleep_for(20ms);
  auto got = claim({{"e", "id", {}, 3, 3}});
  REQUIRE(got.size() == 2);
  CHECK(got[0].token.key.task == in_time);
  CHECK(got[1].token.key.task == behind);
  auto ended = store->get(late);
  REQUIRE(ended.has_value());
  CHECK(ended->outcome == outcome::timed_out);
  CHECK(ended->attempts.empty());
  // A retry's time begins when it may run.
  auto result = result_of(got[0], outcome::engine_lost);
  result.retry_at = std::chrono::system_clock::now() - 2h;
  CHECK(*store->finish(result) == task_state::queued);
  CHECK(claim(one_engine).empty());
}

TEST_CASE_METHOD(store_fixture, "a pinned task is for its agent alone") {
  accept(0, {}, "run-1");
  CHECK(claim(one_engine).empty());
  CHECK(claim(one_engine, true, "run-1").size() == 1);
  accept();
  CHECK(claim(one_engine, true, "run-1").empty());
}

TEST_CASE_METHOD(store_fixture, "a retry is queued until its time; a cancelled task is not tried again") {
  auto id = accept();
  auto result = result_of(claim(one_engine).front(), outcome::engine_lost);
  result.retry_at = std::chrono::system_clock::now() + 1h;
  CHECK(*store->finish(result) == task_state::queued);
  auto answer = ask({"a", incarnation, one_engine}, false);
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

TEST_CASE_METHOD(store_fixture, "tasks of several placements are claimed in one order, however many there are") {
  std::vector<std::tuple<int, int, task_id>> order; // priority, place within it, task
  const std::vector<std::vector<std::string>> labels{{}, {"gpu"}, {"arm"}, {"gpu", "fast"}};
  int place = 0;
  for (int i = 0; i < 240; ++i) {
    auto priority = (i * 7) % 3;
    const auto& wanted = labels[static_cast<std::size_t>((i * 5) % 4)];
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

TEST_CASE_METHOD(store_fixture, "what comes next on an engine can be asked for, and is taken by nobody for that") {
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
  CHECK(another()->claim({"a", incarnation, {{"g", "id", {"gpu"}, 10, 10}}}, false)->attempts.size() == 4);
  CHECK(next(false, {"gpu"}, 10).empty());
  CHECK(store->get(retried)->state == task_state::queued);
}

TEST_CASE_METHOD(store_fixture, "a retry takes its place again when its time has come") {
  auto id = accept(5);
  auto result = result_of(claim(one_engine).front(), outcome::engine_lost);
  auto due = std::chrono::system_clock::now() + 1s;
  result.retry_at = due;
  REQUIRE(store->finish(result).has_value());
  auto other = accept();
  auto answer = ask({"a", incarnation, one_engine}, false);
  REQUIRE(answer->attempts.size() == 1);
  CHECK(answer->attempts[0].token.key.task == other);
  REQUIRE(answer->next_due);
  std::this_thread::sleep_until(
    std::chrono::system_clock::time_point{
      std::chrono::duration_cast<std::chrono::system_clock::duration>(answer->next_due->time_since_epoch())}
    + 2ms);
  accept();
  auto again = ask({"a", incarnation, one_engine}, false);
  REQUIRE(again->attempts.size() == 2);
  CHECK(again->attempts[0].token.key.task == id);
  CHECK(again->attempts[0].token.key.number == 2);
  CHECK_FALSE(again->next_due);
}

TEST_CASE_METHOD(store_fixture, "owners take turns, however many tasks one of them has, and whenever another comes") {
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

TEST_CASE_METHOD(
  store_fixture,
  "of a label's tasks no more run at once than the fleet's limit; the others go by, and it is told why one waits") {
  auto labelled = [&](const std::string& name, const std::string& value, const std::string& owner = "") {
    new_task made{uuid::make_v7(), {}, "", std::chrono::system_clock::now(), {}, owner};
    made.spec.image = "alpine";
    made.spec.labels[name] = value;
    return store->accept(made)->id;
  };
  placement_rules rules;
  rules.label_limits = {{"deploy", "", 1}, {"team", "red", 2}};
  auto claim = [&](std::uint32_t room) {
    auto answer = ask({"a", incarnation, {{"e", "id", {}, 100, room}}, {"id"}, rules}, false);
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
  CHECK(groups
        == std::multiset<std::string>{"deploy=prod", "deploy=test", "team=blue", "team=blue", "team=blue", "team=red",
                                      "team=red"});
  CHECK(claim(100).empty());
  auto waiting = store->list({task_state::queued, {}, "", {}, 100})->tasks;
  auto why = store->limits_reached(waiting.back(), rules);
  REQUIRE(why.has_value());
  CHECK(*why
        == std::vector<std::string>{
          "1 tasks of the same owner with the label deploy=prod run, and no more than 1 may at once"});
  // One ends: the next has its turn, and no more than that.
  auto prod = std::find_if(got.begin(), got.end(), [](const auto& one) {
    return one.task.spec.labels.contains("deploy") && one.task.spec.labels.at("deploy") == "prod";
  });
  REQUIRE(store->finish(result_of(*prod, outcome::succeeded)).has_value());
  CHECK(claim(100).size() == 1);
  // Another owner's values are its own; what the operator has named is everybody's.
  for (int i = 0; i < 30; ++i)
    labelled("deploy", "prod", "bob");
  labelled("team", "red", "bob");
  got = claim(100);
  REQUIRE(got.size() == 1);
  CHECK(got.front().task.owner == "bob");
  CHECK(got.front().task.spec.labels.contains("deploy"));
  CHECK(claim(100).empty());
}

TEST_CASE_METHOD(store_fixture, "of an owner's tasks no more run at once than the fleet's limit") {
  for (int i = 0; i < 30; ++i)
    accept(0, {}, "", "", "alice");
  accept(0, {}, "", "", "bob");
  placement_rules rules;
  rules.most_per_owner = 3;
  auto got = ask({"a", incarnation, {{"e", "id", {}, 100, 100}}, {"id"}, rules}, false)->attempts;
  CHECK(std::count_if(got.begin(), got.end(), [](const auto& one) { return one.task.owner == "alice"; }) == 3);
  CHECK(std::count_if(got.begin(), got.end(), [](const auto& one) { return one.task.owner == "bob"; }) == 1);
  CHECK(ask({"a", incarnation, {{"e", "id", {}, 100, 96}}, {"id"}, rules}, false)->attempts.empty());
}

TEST_CASE_METHOD(store_fixture,
                 "random tasks of random owners: a claim takes what the limits leave, in the queue's order") {
  auto seed = std::random_device{}();
  CAPTURE(seed);
  std::minstd_rand random{seed};
  std::map<task_id, std::string> owners;
  std::map<std::string, std::size_t> running, waiting;
  for (int i = 0; i < 200; ++i) {
    std::string owner{static_cast<char>('a' + std::min(random() % 9, random() % 9))};
    owners[accept(static_cast<int>(random() % 2), {}, "", "", owner)] = owner;
    ++waiting[owner];
  }
  placement_rules rules;
  rules.most_per_owner = 4;
  for (int round = 0; round < 30; ++round) {
    auto room = static_cast<std::uint32_t>(1 + random() % 12);
    auto got = ask({"a", incarnation, {{"e", "id", {}, 100, room}}, {"id"}, rules}, false)->attempts;
    std::size_t expected = 0;
    for (const auto& [owner, count] : waiting)
      expected += std::min<std::size_t>(count, 4 - running[owner]);
    CHECK(got.size() == std::min<std::size_t>(room, expected));
    for (const auto& one : got) {
      auto owner = owners.at(one.task.id);
      --waiting[owner];
      CHECK(++running[owner] <= 4);
      if (random() % 3 != 0) {
        REQUIRE(store->finish(result_of(one, outcome::succeeded)).has_value());
        --running[owner];
      }
    }
  }
}

TEST_CASE_METHOD(store_fixture, "a task waits a little for an engine that has its image, and never for long") {
  placement_rules rules;
  rules.image_patience = 400ms;
  std::vector<engine_offer> both{{"cold", "cold-id", {}, 8, 8}, {"warm", "warm-id", {}, 8, 1}},
    cold{{"cold", "cold-id", {}, 8, 8}};
  auto claim = [&](const std::vector<engine_offer>& offers) {
    return *ask({"a", incarnation, offers, {"cold-id", "warm-id"}, rules}, false);
  };
  // An attempt with a container is how davit learns of images that it has not pulled itself.
  accept();
  auto first = claim({{"warm", "warm-id", {}, 8, 8}}).attempts.at(0);
  REQUIRE(
    store->record({first.token, task_state::running, "c", "sha256:1", std::chrono::system_clock::now()}).has_value());
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
  std::this_thread::sleep_until(
    std::chrono::system_clock::time_point{
      std::chrono::duration_cast<std::chrono::system_clock::duration>(waits.next_due->time_since_epoch())}
    + 5ms);
  CHECK(claim(cold).attempts.size() == 1);
  // An engine that nobody reaches any more is not waited for.
  accept();
  CHECK(ask({"a", incarnation, cold, {"cold-id"}, rules}, false)->attempts.size() == 1);
}
