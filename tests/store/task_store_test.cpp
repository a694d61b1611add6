// Tasks in the store: accepted, recorded, finished, listed, forgotten.
#include "store_fixture.hpp"

#include <algorithm>
#include <fstream>

using namespace davit;
using namespace davit::store;
using namespace davit::test;

TEST_CASE_METHOD(store_fixture, "an accepted task is there after the store is opened anew") {
  auto id = accept();
  open();
  auto found = store->get(id);
  REQUIRE(found.has_value());
  CHECK(found->state == task_state::queued);
  CHECK(found->spec.image == "alpine");
  CHECK(store->get(uuid::make_v7()).error().code == errc::not_found);
}

TEST_CASE_METHOD(store_fixture, "writes of another incarnation, or after the end, are refused") {
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

TEST_CASE_METHOD(store_fixture, "a small log is stored with its attempt's outcome, or not at all") {
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

TEST_CASE_METHOD(store_fixture, "a dedupe key names one task") {
  auto id = accept(0, {}, "", "key");
  CHECK(accept(0, {}, "", "key") == id);
  new_task other{uuid::make_v7(), {}, "", std::chrono::system_clock::now()};
  other.spec.image = "busybox";
  other.spec.dedupe_key = "key";
  CHECK(store->accept(other).error().code == errc::conflict);
}

TEST_CASE_METHOD(store_fixture, "pages and filters") {
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
  CHECK(store->list({.state = {}, .labels = {{"team", "it's"}}, .name = "", .before = {}, .limit = 10})->tasks.size()
        == 1);
  CHECK(store->list({.state = {}, .labels = {{"team", ""}}, .name = "", .before = {}, .limit = 10})->tasks.size() == 1);
  CHECK(
    store->list({.state = task_state::running, .labels = {}, .name = "", .before = {}, .limit = 10})->tasks.empty());
  CHECK(sum_of(*store->counts()).queued == 6);
}

TEST_CASE_METHOD(store_fixture, "an owner's task is there for this owner, and for others as if it were not") {
  auto of_a = accept(0, {}, "", "", "a"), of_b = accept(0, {}, "", "", "b");
  accept(0, {}, "", "", "b");
  CHECK(store->get(of_a, "a")->id == of_a);
  CHECK(store->get(of_a)->owner == "a");
  auto others = store->get(of_b, "a"), missing = store->get(uuid::make_v7(), "a");
  REQUIRE((others.has_error() && missing.has_error()));
  CHECK(others.error().code == errc::not_found);
  CHECK(others.error().message == "there is no task " + to_string(of_b));
  REQUIRE(claim({{"e", "id", {}, 1, 1}}).size() == 1);
  auto counts = store->counts();
  REQUIRE(counts->size() == 2);
  CHECK(counts->front().owner == "a");
  CHECK(counts->front().tasks.starting == 1);
  CHECK(counts->front().tasks.queued == 0);
  CHECK(counts->back().tasks.queued == 2);
}

TEST_CASE_METHOD(store_fixture, "a batch happens as a whole or not at all") {
  task_id id;
  REQUIRE(store->batch([&] { id = accept(); }).has_value());
  CHECK(store->get(id).has_value());
  CHECK_FALSE(store
                ->batch([&] {
                  id = accept();
                  throw std::runtime_error("the power is cut");
                })
                .has_value());
  CHECK_FALSE(store->get(id).has_value());
  CHECK(store->events(0, {}, 100)->size() == 1);
}

TEST_CASE_METHOD(store_fixture, "what is no text of the database's is kept as one") {
  auto id = accept();
  auto work = claim(one_engine).front();
  auto result = result_of(work, outcome::failed);
  result.message = std::string{"a\0b \xff\xfe c'", 9};
  REQUIRE(store->finish(result).has_value());
  CHECK(store->get(id)->message.find("c'") != std::string::npos);
}

TEST_CASE("a store that can't be used is refused with the reason, and left as it is") {
  scratch_folder folder;
  CHECK(task_store::open("mysql://x").error().message.find("sqlite:///") != std::string::npos);
  CHECK(task_store::open("sqlite://" + (folder / "no/such/folder.db")).error().message.find("is not there")
        != std::string::npos);
  auto path = folder / "garbage.db";
  std::ofstream{path} << std::string(10'000, 'x');
  auto e = task_store::open("sqlite://" + path).error();
  CHECK(e.code == errc::unavailable);
  CHECK(e.message.find("restore a backup") != std::string::npos);
  CHECK(std::filesystem::file_size(path) == 10'000);
}

TEST_CASE_METHOD(store_fixture, "a database of the schema before is brought up to date, and nothing of it is lost") {
  if (!url.starts_with("sqlite://"))
    return; // PostgreSQL's steps are tried with an older davit: tests/fleet
  auto pinned = accept(0, {}, "a"), free = accept();
  REQUIRE(claim({{"e", "id", {}, 1, 1}}).size() == 1);
  new_task keyed{uuid::make_v7(), {}, "nobody", std::chrono::system_clock::now()};
  keyed.spec.image = "alpine";
  keyed.spec.dedupe_key = "key";
  keyed.owner = "team-a";
  REQUIRE(store->accept(keyed).has_value());
  store.reset();
  auto sql
    = [&](const std::string& text) { return test::shell("sqlite3 " + (folder / "davit.db") + " \"" + text + "\""); };
  REQUIRE(sql("PRAGMA user_version") == "16\n");
  sql("UPDATE dedupe SET name = 'key'");
  sql("DROP INDEX task_waiting; DROP INDEX task_running; CREATE INDEX task_queue ON task (priority DESC, fair, id) "
      "WHERE state = 'queued';"
      " CREATE INDEX task_active ON task (state) WHERE state <> 'finished';"
      " DROP TABLE image_grant; DROP TABLE image_pull; DROP TABLE volume;"
      " DROP TABLE blob; DROP TABLE blob_pack; DROP TABLE blob_tree; DROP TABLE blob_use; DROP TABLE blob_owner;"
      " DROP INDEX attempt_memo; DROP INDEX attempt_answer; DROP TABLE blob_cache;"
      " ALTER TABLE attempt DROP COLUMN outputs; ALTER TABLE attempt DROP COLUMN caches;"
      " ALTER TABLE attempt DROP COLUMN memo; ALTER TABLE attempt DROP COLUMN answer_of;"
      " INSERT INTO image (engine_id, name, used_at, pulled) VALUES ('e', 'old', 7, 1),"
      " ('e', 'docker.io/library/old:latest', 8, 0), ('e', 'ghcr.io/a/b:1', 3, 0); PRAGMA user_version = 7");
  open();
  CHECK(sql("PRAGMA user_version") == "16\n");
  CHECK(sql("SELECT engine_id, name, used_at, pulled FROM image ORDER BY name")
        == "e|docker.io/library/old:latest|8|1\ne|ghcr.io/a/b:1|3|0\n");
  auto again = keyed;
  again.id = uuid::make_v7();
  CHECK(store->accept(again)->id == keyed.id);
  again.owner = "team-b";
  again.pinned = "nobody";
  CHECK(store->accept(again)->id == again.id);
  CHECK(
    sql(
      "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('task_queue', 'task_active', 'task_running', 'task_waiting')")
    == "2\n");
  auto counts = sum_of(*store->counts());
  CHECK(counts.queued == 3);
  CHECK(counts.starting == 1);
  REQUIRE(take_over("b", uuid::make_v4(), {"a"}).size() == 1);
  CHECK(claim({{"e", "id", {}, 8, 8}}, false, "b").size() == 1);
  CHECK(store->get(pinned).has_value());
  CHECK(store->get(free).has_value());
}

TEST_CASE_METHOD(store_fixture, "who asks again within another trace is given the same task") {
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
