// Several agents at one store, and a database that comes and goes.
#include "store_fixture.hpp"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <thread>

using namespace davit;
using namespace davit::store;
using namespace davit::test;

TEST_CASE("ten agents that start together on an empty database: it is set up once, and each task is claimed once",
          "[postgresql]") {
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
        auto answer
          = store.claim({"a" + std::to_string(i), incarnation, {{"e", "id" + std::to_string(i), {}, 3, 3}}}, false);
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
  CHECK(server.sql(url.substr(url.rfind('/') + 1), "SELECT COUNT(*) FROM task_hot")
        == "0\n"); // what is finished has left the queue's table
}

TEST_CASE("a write that meets another session's on the same task is done again on what that one has left",
          "[postgresql]") {
  auto& server = test::test_database::common();
  auto name = server.create();
  auto store = *task_store::open(server.url(name));
  auto accept = [&] {
    new_task made{uuid::make_v7(), {}, "", std::chrono::system_clock::now()};
    made.spec.image = "alpine";
    REQUIRE(store->accept(made).has_value());
    return made.id;
  };
  // Finishes the task, which moves its row to another partition, and takes its time to commit.
  auto meanwhile = [&](task_id id) {
    std::thread other{[&server, name, id] {
      server.sql(name, "BEGIN; UPDATE task SET state = 'finished', outcome = 'succeeded', finished_at = 1 WHERE id = '"
                         + to_string(id) + "'; SELECT pg_sleep(1); COMMIT");
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
    return store.claim({agent, uuid::make_v4(), {{name, "same-id", {}, 4, 4 - busy}}}, false)->attempts.size();
  };
  CHECK((*first)->claim({"a", uuid::make_v4(), {{"x", "same-id", {}, 4, 1}}}, false)->attempts.size() == 1);
  CHECK(take(**second, "b", "y", 0) == 3);
  CHECK(take(**second, "b", "y", 3) == 0);
  CHECK(take(**first, "a", "x", 1) == 0);
  CHECK((*first)->claim({"a", uuid::make_v4(), {{"x", "another-id", {}, 4, 4}}}, false)->attempts.size() == 4);
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
  CHECK(sum_of(*store.counts()).queued == 2);
  auto unknown = task_store::open(server.url("nowhere"));
  REQUIRE(unknown.has_error());
  INFO(unknown.error().message);
  CHECK(unknown.error().message.find("database \"nowhere\" does not exist") != std::string::npos);
  CHECK(unknown.error().message.find("asked again") == std::string::npos);
  // A password is nobody's business.
  CHECK(task_store::open("postgresql://me:sesame@127.0.0.1:1/x").error().message.find("sesame") == std::string::npos);
}

TEST_CASE_METHOD(
  store_fixture,
  "agents that write of the same owners and images, in any order, never wait for each other in a circle") {
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
          auto answer
            = mine->claim({name, incarnation, {{"e", "engine-" + std::to_string(agent / 2), {}, 8, 8}}, {}, {}}, false);
          work = answer ? std::move(answer->attempts) : std::vector<claimed_attempt>{};
        });
        if (agent % 2 == 0)
          std::reverse(work.begin(), work.end());
        auto ended = mine->batch([&] {
          for (const auto& one : work) {
            good = mine->record({one.token, task_state::running, "c", "sha256:1", std::chrono::system_clock::now()})
                     .has_value()
                && good;
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
  CHECK(sum_of(*store->counts()).queued == 0);
  if (store->shared()) { // a circle is found by the database after a second, and counted
    auto name = url.substr(url.rfind('/') + 1);
    name = name.substr(0, name.find('?'));
    std::string circles;
    for (int i = 0; i < 5; ++i) { // its statistics come late
      std::this_thread::sleep_for(200ms);
      circles = test::test_database::common().sql(
        name, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
    }
    INFO(circles);
    CHECK(circles.find_first_of("123456789") == std::string::npos);
  }
}
