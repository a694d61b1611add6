// Several agents, one PostgreSQL, real engines: no agent is missed for long, and no task runs at two of them.
#include "fixture/engine_events.hpp"
#include "fixture/process.hpp"
#include "fixture/test_daemon.hpp"
#include "fixture/test_database.hpp"
#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <iterator>
#include <sstream>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// A daemon of a fleet.
class member : public test_daemon {
public:
  member(const std::string& name, std::vector<engine_settings> engines, const std::string& store,
         std::vector<std::string> more = {}, std::string binary = DAVIT_BINARY)
    : test_daemon(std::move(engines), options(name, store, std::move(more)), std::move(binary)) {
    start();
  }

private:
  static std::vector<std::string>
  options(const std::string& name, const std::string& store, std::vector<std::string> more) {
    more.insert(more.begin(), {"--davit.agent.name=\"" + name + "\"", "--davit.store.url=\"" + store + "\"",
                               "--davit.fleet.lease=9s"});
    return more;
  }
};

struct fleet_store {
  test_database server;
  std::string name = server.create();
  std::string url = server.url(name);
};

/// A way to the database that can be cut.
struct cut_store {
  scratch_folder folder;
  cutting_proxy proxy;
  std::string url;
  explicit cut_store(const fleet_store& store) : proxy(store.server.socket()) {
    std::filesystem::create_symlink(proxy.socket(), folder / ".s.PGSQL.5432");
    url = "postgresql://davit@/" + store.name + "?host=" + folder.path().string() + "&port=5432";
  }
};

engine_settings labelled(const test_engine& engine, std::uint32_t slots = 4) {
  auto settings = engine.settings(slots);
  settings.labels = {engine.name()};
  return settings;
}

task_spec for_engine(task_spec spec, const std::string& label) {
  spec.engine.labels = {label};
  return spec;
}

/// How many containers of the task's the engine has started.
int started(const test_engine& engine, task_id id) {
  return std::stoi(
    engine.docker("events --since 1h --until 0s --filter type=container --filter event=start --filter label=davit.task="
                  + to_string(id) + " | wc -l"));
}

const std::string lines = "for i in $(seq 100); do echo line $i; sleep 0.12; done; exit 7";

std::string hundred_lines() {
  std::string text;
  for (int i = 1; i <= 100; ++i)
    text += "line " + std::to_string(i) + "\n";
  return text;
}

} // namespace

TEST_CASE(
  "a task that is submitted at one agent runs at another that has its engine; waiting and cancelling work at both",
  "[fleet]") {
  fleet_store store;
  test_engine x{"x"}, y{"y"};
  member a{"a", {labelled(x)}, store.url}, b{"b", {labelled(y)}, store.url};
  auto id = a.submit(for_engine(busybox("echo here; exit 3"), "y"));
  auto ended = a.wait(id);
  CHECK(ended.exit_code == 3);
  CHECK(ended.attempts.back().agent == "b");
  CHECK(b.logs(id).out == "here\n");
  auto running = b.submit(for_engine(busybox("sleep 600"), "x"));
  b.await_state(running, task_state::running);
  b.cancel(running);
  CHECK(b.wait(running).outcome == outcome::cancelled);
  CHECK(a.find(running).attempts.back().agent == "a");
  auto agents = a.call("GET", "/v1/agents");
  CHECK(agents.find(R"("name":"a")") != std::string::npos);
  CHECK(agents.find(R"("name":"b")") != std::string::npos);
}

TEST_CASE("a cancel's limit holds for a task that another agent runs, also for a stop that runs there already",
          "[fleet][cancel]") {
  fleet_store store;
  test_engine x{"x"};
  member a{"a", {labelled(x)}, store.url, {"--davit.policy.ceilings.stop-timeout=1h"}},
    b{"b", {}, store.url, {"--davit.policy.ceilings.stop-timeout=1h"}};
  auto spec = for_engine(busybox("trap 'echo no' TERM; echo up; while true; do sleep 0.1; done"), "x");
  spec.stop_timeout = 1h;
  auto id = a.submit(spec);
  REQUIRE(eventually([&] { return a.logs(id).out == "up\n"; }));
  b.cancel(id);
  REQUIRE(eventually([&] { return a.logs(id).out.find("no\n") != std::string::npos; }));
  CHECK(b.http("POST", "/v1/tasks/" + to_string(id) + "/cancel?within=1s").status == 202);
  auto ended = b.wait(id, 50s);
  CHECK(ended.outcome == outcome::cancelled);
  CHECK(ended.attempts.back().agent == "a");
}

TEST_CASE(
  "an agent is killed: another on the same engine takes its task over; the same attempt, its whole log, its own code",
  "[fleet][adoption]") {
  fleet_store store;
  test_engine engine{"e"};
  member a{"a", {engine.settings(4)}, store.url}, b{"b", {}, store.url};
  auto id = a.submit(busybox(lines));
  a.await_state(id, task_state::running);
  CHECK(a.find(id).attempts.back().agent == "a");
  member c{"c", {engine.settings(4)}, store.url};
  a.kill();
  auto ended = c.wait(id);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.exit_code == 7);
  REQUIRE(ended.attempts.size() == 1);
  CHECK(ended.attempts.back().agent == "c");
  CHECK(c.logs(id).out == hundred_lines());
  CHECK(started(engine, id) == 1);
  CHECK(c.metric("davit_attempts_adopted_total") == 1);
  CHECK(eventually([&] { return engine.docker("ps -aq").empty(); }));
  // It comes back, and finds that its work was done.
  a.start();
  CHECK(a.run(busybox("true")).outcome == outcome::succeeded);
  CHECK(a.find(id).attempts.size() == 1);
}

TEST_CASE("an agent is killed together with its engine: the task runs again elsewhere, unless it may run only once",
          "[fleet][adoption]") {
  fleet_store store;
  test_engine lost{"lost"}, other{"other"};
  member a{"a", {lost.settings(4)}, store.url};
  auto again = a.submit(busybox("sleep 600"));
  auto once_spec = busybox("sleep 600");
  once_spec.at_most_once = true;
  auto once = a.submit(once_spec);
  a.await_state(again, task_state::running);
  a.await_state(once, task_state::running);
  member b{"b", {other.settings(4)}, store.url};
  a.kill();
  lost.kill();
  auto ended = b.wait(once);
  CHECK(ended.outcome == outcome::agent_lost);
  CHECK(ended.attempts.size() == 1);
  CHECK(ended.message.find("no other agent reaches the engine lost") != std::string::npos);
  CHECK(eventually([&] {
    auto now = b.find(again);
    return now.attempts.size() == 2 && now.state == task_state::running && now.attempts.back().agent == "b"
        && now.attempts.front().outcome == outcome::agent_lost;
  }));
  b.cancel(again);
  CHECK(b.wait(again).outcome == outcome::cancelled);
}

TEST_CASE("an agent that is frozen for longer than its lease: its task is another's, and what it says afterwards does "
          "not count",
          "[fleet][fencing]") {
  fleet_store store;
  test_engine engine{"e"};
  member a{"a", {engine.settings(4)}, store.url};
  auto id = a.submit(busybox(lines));
  a.await_state(id, task_state::running);
  member b{"b", {engine.settings(4)}, store.url};
  a.signal(SIGSTOP);
  CHECK(eventually([&] { return b.find(id).attempts.back().agent == "b"; }));
  a.signal(SIGCONT);
  auto ended = b.wait(id);
  INFO(ended.message);
  CHECK(ended.attempts.back().agent == "b");
  CHECK(ended.state == task_state::finished);
  // It ends with its own code; or, if the frozen agent made an end of it when it woke, as lost and tried again: never
  // twice at once.
  if (ended.attempts.size() == 1) {
    CHECK(ended.exit_code == 7);
    CHECK(b.logs(id).out == hundred_lines());
    CHECK(started(engine, id) == 1);
  }
  CHECK(a.run(busybox("true")).outcome == outcome::succeeded);
}

TEST_CASE("an agent that can't reach the store stops its containers before others take its tasks over, and comes back "
          "by itself",
          "[fleet][fencing]") {
  fleet_store store;
  cut_store way{store};
  test_engine engine{"e"}, other{"o"};
  member a{"a", {engine.settings(4)}, way.url};
  auto id = a.submit(busybox("sleep 600"));
  a.await_state(id, task_state::running);
  member b{"b", {other.settings(4)}, store.url};
  way.proxy.silence(true);
  // The container is gone before the task runs again.
  CHECK(eventually([&] {
    auto gone = engine.docker("ps -q").empty();
    auto moved = b.find(id).attempts.size() > 1;
    if (moved)
      CHECK(gone);
    return moved;
  }));
  b.await_state(id, task_state::running);
  way.proxy.silence(false);
  way.proxy.cut();
  a.await_engine("e", engine_state::ready);
  auto spec = busybox("true");
  CHECK(eventually([&] { return a.http("GET", "/readyz").status == 200; }));
  b.cancel(id);
  CHECK(b.wait(id).attempts.back().agent == "b");
  CHECK(a.run(spec).outcome == outcome::succeeded);
}

TEST_CASE("an agent that is drained hands over what still runs, at once", "[fleet][drain]") {
  fleet_store store;
  test_engine engine{"e"};
  member a{"a", {engine.settings(4)}, store.url, {"--davit.agent.drain-timeout=300ms"}};
  auto id = a.submit(busybox(lines));
  a.await_state(id, task_state::running);
  member b{"b", {engine.settings(4)}, store.url};
  a.signal(SIGTERM);
  CHECK(a.wait_end().exit_code == 0);
  auto ended = b.wait(id);
  CHECK(ended.exit_code == 7);
  CHECK(ended.attempts.size() == 1);
  CHECK(b.logs(id).out == hundred_lines());
  CHECK(started(engine, id) == 1);
}

// DAVIT_OLDER names an older davit to begin with; without it an agent is followed by its like.
TEST_CASE("an upgrade from agent to agent: what runs ends or is handed over, and each task ends once, at its first "
          "attempt, with its whole log",
          "[fleet][drain][upgrade]") {
  auto older = std::getenv("DAVIT_OLDER") ? std::string{std::getenv("DAVIT_OLDER")} : DAVIT_BINARY;
  fleet_store store;
  test_engine x{"x"}, y{"y"};
  engine_events on_x{x}, on_y{y};
  std::vector<std::string> patience{"--davit.agent.drain-timeout=3s"};
  member a{"a", {x.settings(4)}, store.url, patience, older},
    b{"b", {x.settings(4), y.settings(4)}, store.url, patience, older},
    c{"c", {y.settings(4)}, store.url, patience, older};
  std::vector<member*> all{&a, &b, &c};
  struct expected {
    task_id id;
    int code;
    std::string text;
  };
  std::vector<expected> tasks;
  for (std::size_t i = 0; i < 4; ++i)
    tasks.push_back({all[i % 3]->submit(busybox(lines)), 7, hundred_lines()});
  for (std::size_t next = 0; next < all.size(); ++next) {
    auto submit = [&](std::size_t count) {
      for (std::size_t i = 0; i < count; ++i) {
        auto code = static_cast<int>(tasks.size() % 5);
        auto text = "task " + std::to_string(tasks.size()) + "\n";
        // At the other two: while one goes, tasks keep coming.
        tasks.push_back({all[(next + 1 + i % 2) % 3]->submit(busybox("sleep " + std::to_string(i % 3) + "; echo task "
                                                                     + std::to_string(tasks.size()) + "; exit "
                                                                     + std::to_string(code))),
                         code, text});
      }
    };
    submit(6);
    auto& going = *all[next];
    going.signal(SIGTERM);
    submit(4);
    auto ended = going.wait_end();
    INFO(ended.err);
    CHECK(ended.exit_code == 0);
    going.upgrade(DAVIT_BINARY);
    going.start();
    submit(2);
  }
  for (const auto& [id, code, text] : tasks) {
    auto ended = a.wait(id);
    INFO(ended.message);
    CHECK(ended.exit_code == code);
    CHECK(ended.attempts.size() == 1);
    CHECK(b.logs(id).out == text);
  }
  CHECK(eventually([&] { return x.docker("ps -aq").empty() && y.docker("ps -aq").empty(); }));
  for (const auto& one : tasks)
    CHECK(on_x.count("start", one.id) + on_y.count("start", one.id) == 1);
}

TEST_CASE("a second agent of a name is refused what the first one has, and says so", "[fleet]") {
  fleet_store store;
  test_engine engine{"e"};
  member a{"a", {engine.settings(4)}, store.url};
  CHECK(a.run(busybox("true")).outcome == outcome::succeeded);
  member impostor{"a", {engine.settings(4)}, store.url};
  CHECK(eventually([&] {
    return impostor.http("GET", "/readyz").body.find("another agent named a uses the store") != std::string::npos;
  }));
  auto id = a.submit(busybox("true"));
  CHECK(a.wait(id).outcome == outcome::succeeded);
  CHECK(impostor.metric("davit_tasks_total{outcome=\"succeeded\"}") == 0);
}

TEST_CASE("the database is killed and comes back: what runs goes on, nothing that was accepted is lost, and each task "
          "ends once",
          "[fleet][store]") {
  fleet_store store;
  test_engine engine{"e"};
  member a{"a", {engine.settings(3)}, store.url, {"--davit.fleet.lease=600s"}},
    b{"b", {engine.settings(3)}, store.url, {"--davit.fleet.lease=600s"}};
  std::vector<task_id> ids;
  for (int i = 0; i < 10; ++i)
    ids.push_back((i % 2 ? a : b).submit(busybox("sleep 1; echo done; exit 5")));
  a.await_state(ids[0], task_state::running);
  for (int round = 0; round < 3; ++round) {
    store.server.kill();
    CHECK(a.http("POST", "/v1/tasks", {}, R"({"image":"busybox:test"})").status == 503);
    store.server.start();
  }
  for (auto id : ids) {
    auto ended = b.wait(id);
    INFO(ended.message);
    CHECK(ended.exit_code == 5);
    CHECK(ended.attempts.size() == 1);
    CHECK(started(engine, id) == 1);
  }
}
