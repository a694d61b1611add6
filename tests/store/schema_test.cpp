// The schema's steps with data in the database, and what the tables' shape is for: nobody reads what he does not ask
// for.
#include "store/schema.hpp"

#include "fixture/test_database.hpp"
#include "fixture/test_engine.hpp"
#include "store_fixture.hpp"

#include <fstream>
#include <sstream>

using namespace davit;
using namespace davit::store;
using namespace davit::test;

namespace {

/// The steps to a version, as one text.
std::string steps_to(const schema_steps& all, std::size_t version) {
  std::string text;
  for (std::size_t i = 0; i < version; ++i)
    for (auto statement : all.at(i))
      text += std::string{statement} + ";\n";
  return text;
}

/// A task with something in each column, as SQL of every version since 4.
std::string row(const std::string& id, const std::string& state, const std::string& owner, const std::string& stdin_,
                const std::string& rest) {
  return "INSERT INTO task (id, name, state, priority, placement, pinned, owner, fair, spec, secrets, created_at,"
         " not_before, queue_until, cancel_requested, attempts, message, outcome, exit_code, finished_at) VALUES ('"
       + id + "', 'n " + state + "', '" + state + "', 7, '[]', 'a', '" + owner
       + "', 11, '{\"image\":\"alpine\",\"name\":\"n " + state + "\",\"stdin\":\"" + stdin_
       + "\"}', '{\"token\":\"sealed\"}', 1000000, " + rest + ");\n";
}

constexpr auto queued_id = "01900000-0000-7000-8000-000000000001", retry_id = "01900000-0000-7000-8000-000000000002",
               running_id = "01900000-0000-7000-8000-000000000003",
               finished_id = "01900000-0000-7000-8000-000000000004";

std::string rows_before() {
  return row(queued_id, "queued", "alice", std::string(60'000, 'q'), "0, 5000000000, 0, 0, '', NULL, NULL, NULL")
       + row(retry_id, "queued", "bob", "r", "3000000, 0, 1, 2, 'again', NULL, NULL, NULL")
       + row(running_id, "running", "", "", "0, 0, 1, 1, '', NULL, NULL, NULL")
       + row(finished_id, "finished", "alice", std::string(5000, 'f'), "0, 0, 0, 1, 'it failed', 'failed', 3, 9000000")
       + "INSERT INTO label (name, value, task) VALUES ('team', 'red', '" + finished_id + "');\n"
       + "INSERT INTO dedupe (name, task) VALUES ('alice\nkey', '" + queued_id + "');\n";
}

uuid id_of(const char* text) {
  uuid id;
  REQUIRE(from_string(text, id));
  return id;
}

/// Everything that was put in is there, and is found by each of the ways in which tasks are looked for.
void check_rows(task_store& store) {
  auto queued = store.get(id_of(queued_id), "alice");
  REQUIRE(queued.has_value());
  CHECK(queued->spec.stdin_text == std::string(60'000, 'q'));
  CHECK(queued->spec.secrets.at("token").value == "sealed");
  CHECK(queued->spec.secrets.at("token").sealed);
  CHECK(queued->state == task_state::queued);
  auto retry = store.get(id_of(retry_id));
  REQUIRE(retry.has_value());
  CHECK(retry->not_before == timestamp{3ms});
  CHECK(retry->cancel_requested);
  CHECK(retry->message == "again");
  CHECK(store.get(id_of(running_id))->state == task_state::running);
  CHECK(store.get(id_of(running_id))->owner.empty());
  auto finished = store.get(id_of(finished_id));
  REQUIRE(finished.has_value());
  CHECK(finished->spec.name == "n finished");
  CHECK(finished->spec.stdin_text == std::string(5000, 'f'));
  CHECK(finished->outcome == outcome::failed);
  CHECK(finished->exit_code == 3);
  CHECK(finished->message == "it failed");
  CHECK(finished->created_at == timestamp{1ms});
  CHECK(finished->finished_at == timestamp{9ms});
  task_query of_alice;
  of_alice.owner = "alice";
  auto list = store.list(of_alice);
  REQUIRE(list->tasks.size() == 2);
  CHECK(list->tasks[0].id == id_of(finished_id));
  CHECK(list->tasks[1].id == id_of(queued_id));
  of_alice.labels["team"] = "red";
  CHECK(store.list(of_alice)->tasks.size() == 1);
  CHECK(store.list({})->tasks.size() == 4);
  CHECK(store.finished_before(timestamp{1h}, 10)->size() == 1);
  auto counts = sum_of(*store.counts());
  CHECK(counts.queued == 2);
  CHECK(counts.running == 1);
  new_task same{uuid::make_v7(), queued->spec, "a", std::chrono::system_clock::now(), {}, "alice"};
  same.spec.dedupe_key = "key";
  CHECK(store.accept(same).has_error()); // its key is taken: the spec that was stored has none
  auto work = store.claim({"a", uuid::make_v4(), {{"e", "id", {}, 8, 8}}}, false);
  REQUIRE(work.has_value());
  REQUIRE(work->attempts.size() == 1); // the one whose time has come, and that was not cancelled
  CHECK(work->attempts[0].task.id == id_of(queued_id));
  CHECK(store.expire(timestamp{1h}).has_value());
  REQUIRE(store.forget({id_of(finished_id)}).has_value());
  CHECK(store.get(id_of(finished_id)).error().code == errc::not_found);
}

/// Bytes that this thread has read from files by now.
std::uint64_t bytes_read() {
  std::ifstream io{"/proc/thread-self/io"};
  std::string name;
  std::uint64_t bytes = 0;
  io >> name >> bytes;
  REQUIRE(name == "rchar:");
  return bytes;
}

} // namespace

TEST_CASE("a SQLite database with tasks in it is brought up to date from any version that knows owners") {
  auto version = GENERATE(8u, 9u, 12u);
  CAPTURE(version);
  scratch_folder folder;
  auto file = folder / "davit.db";
  std::ofstream{folder / "old.sql"} << steps_to(sqlite_schema(), version) << "BEGIN;\n"
                                    << rows_before() << "COMMIT; PRAGMA user_version = " << version << ";\n";
  REQUIRE(shell("sqlite3 -bail " + file + " < " + (folder / "old.sql") + " && echo done") == "done\n");
  if (version < 9) // whose keys were everybody's
    shell("sqlite3 " + file + " \"UPDATE dedupe SET name = 'key'\"");
  auto store = task_store::open("sqlite://" + file);
  REQUIRE(store.has_value());
  check_rows(**store);
  CHECK(shell("sqlite3 " + file + " 'PRAGMA integrity_check; PRAGMA user_version'")
        == "ok\n" + std::to_string(sqlite_schema().size()) + "\n");
  CHECK(task_store::open("sqlite://" + file).has_value());
}

TEST_CASE("a SQLite database is brought up to date as a whole or not at all") {
  scratch_folder folder;
  auto file = folder / "davit.db";
  // The last step fails at its last statement: the name is taken.
  std::ofstream{folder / "old.sql"} << steps_to(sqlite_schema(), 12) << rows_before()
                                    << "CREATE TABLE task_owner (x); PRAGMA user_version = 12;\n";
  REQUIRE(shell("sqlite3 -bail " + file + " < " + (folder / "old.sql") + " && echo done") == "done\n");
  CHECK(task_store::open("sqlite://" + file).has_error());
  CHECK(shell("sqlite3 " + file + " 'PRAGMA user_version; SELECT COUNT(*), SUM(LENGTH(spec)) > 60000 FROM task'")
        == "12\n4|1\n");
  shell("sqlite3 " + file + " 'DROP TABLE task_owner'");
  auto store = task_store::open("sqlite://" + file);
  REQUIRE(store.has_value());
  check_rows(**store);
}

TEST_CASE("a PostgreSQL database with tasks in it is brought up to date", "[postgresql]") {
  auto& server = test_database::common();
  auto name = server.create();
  const auto& steps = postgresql_schema();
  auto version = GENERATE_COPY(steps.size() - 1, std::size_t{5});
  CAPTURE(version);
  server.sql(name, steps_to(steps, version) + rows_before()
                     + "CREATE TABLE davit_schema (version BIGINT NOT NULL); INSERT INTO davit_schema VALUES ("
                     + std::to_string(version) + ")");
  auto store = task_store::open(server.url(name));
  REQUIRE(store.has_value());
  check_rows(**store);
  CHECK(server.sql(name, "SELECT version FROM davit_schema") == std::to_string(steps.size()) + "\n");
}

TEST_CASE("an owner's large tasks are not read for another's", "[sqlite]") {
  scratch_folder folder;
  auto url = "sqlite://" + (folder / "davit.db");
  auto store = *task_store::open(url);
  auto accept = [&](const std::string& owner, std::size_t size) {
    new_task made{uuid::make_v7(), {}, "nobody", std::chrono::system_clock::now(), {}, owner};
    made.spec.image = "alpine";
    made.spec.stdin_text = std::string(size, 'x');
    REQUIRE(store->accept(made).has_value());
    return made.id;
  };
  auto early = accept("alice", 1);
  std::vector<task_id> large;
  for (int i = 0; i < 40; ++i)
    large.push_back(accept("bob", 1 << 20));
  auto late = accept("alice", 1);
  if (GENERATE(false, true))
    for (auto id : large)
      REQUIRE(store->cancel(id).has_value());
  store = *task_store::open(url);
  auto read_by = [&](const auto& work) {
    auto before = bytes_read();
    work();
    return bytes_read() - before;
  };
  task_query query;
  query.limit = 1;
  read_by([&] { (void)store->get(early); }); // the schema
  constexpr std::uint64_t few = 100'000;     // pages; of the large ones each has 1 MB
  for (auto id : {early, late})
    CHECK(read_by([&] { CHECK(store->get(id, "alice").has_value()); }) < few);
  CHECK(read_by([&] { CHECK(store->get(uuid::make_v7()).has_error()); }) < few);
  CHECK(read_by([&] { CHECK(store->get(large[20], "alice").has_error()); }) < few);
  for (auto state : {std::optional<task_state>{}, std::optional{task_state::queued}})
    for (std::string owner : {"alice", "carol"}) {
      query.owner = owner;
      query.state = state;
      query.limit = 2;
      CAPTURE(owner, state.has_value());
      CHECK(read_by([&] { CHECK(store->list(query)->tasks.size() == (owner == "alice" ? 2 : 0)); }) < few);
    }
  query = {};
  CHECK(read_by([&] { CHECK(store->list(query)->tasks.size() < 10); }) < 9 << 20); // a page, and not what is behind it
  query.name = "no such";
  CHECK(read_by([&] { CHECK(store->list(query)->tasks.empty()); }) < 4 * few); // a look at each, and no more
  CHECK(read_by([&] { CHECK(store->counts().has_value()); }) < 4 * few);
  CHECK(read_by([&] { CHECK(store->finished_before(timestamp{1h}, 10)->empty()); }) < few);
}
