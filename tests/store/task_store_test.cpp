#include "fixture/test_engine.hpp"
#include "policy/placement.hpp"
#include "store/task_store.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fstream>

using namespace davit;
using namespace davit::store;
using davit::test::scratch_folder;
using namespace std::chrono_literals;

namespace {

struct fixture {
  scratch_folder folder;
  std::unique_ptr<task_store> store;
  uuid incarnation = uuid::make_v4();

  fixture() { open(); }
  void open() {
    store.reset();
    auto opened = task_store::open("sqlite://" + (folder / "davit.db"));
    REQUIRE(opened.has_value());
    store = std::move(*opened);
  }
  task_id accept(int priority = 0, std::vector<std::string> labels = {}, std::string pinned = "", std::string key = "") {
    new_task made{uuid::make_v7(), {}, std::move(pinned), std::chrono::system_clock::now()};
    made.spec.image = "alpine";
    made.spec.priority = priority;
    made.spec.engine.labels = std::move(labels);
    made.spec.dedupe_key = std::move(key);
    auto receipt = store->accept(made);
    REQUIRE(receipt.has_value());
    return receipt->id;
  }
  std::vector<claimed_attempt> claim(std::vector<engine_offer> offers, bool private_only = false, std::string agent = "a") {
    auto answer = store->claim({std::move(agent), incarnation, std::move(offers)}, private_only, choose_engine);
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
  CHECK(ended->outcome == outcome::failed);
  CHECK(ended->exit_code == 3);
  CHECK(ended->attempts.back().container == "c");
  CHECK(ended->attempts.back().phases.at("run") == 1.5);
  CHECK(store->finish(result_of(work, outcome::succeeded)).error().code == errc::fenced);
  CHECK(store->get(id)->outcome == outcome::failed);
}

TEST_CASE_METHOD(fixture, "a retry is queued until its time; a cancelled task is not tried again") {
  auto id = accept();
  auto result = result_of(claim(one_engine).front(), outcome::engine_lost);
  result.retry_at = std::chrono::system_clock::now() + 1h;
  CHECK(store->finish(result)->state == task_state::queued);
  auto answer = store->claim({"a", incarnation, one_engine}, false, choose_engine);
  CHECK(answer->attempts.empty());
  CHECK(answer->next_due);
  auto other = accept();
  auto work = claim(one_engine).front();
  REQUIRE(work.token.key.task == other);
  REQUIRE(store->cancel(other)->cancel_requested);
  result = result_of(work, outcome::engine_lost);
  result.retry_at = std::chrono::system_clock::now();
  CHECK(store->finish(result)->state == task_state::finished);
  CHECK(store->cancel(id)->outcome == outcome::cancelled);
  CHECK(store->cancel(id)->outcome == outcome::cancelled);
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
