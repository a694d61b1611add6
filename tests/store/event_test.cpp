// Events are told once, in the order of the commits.
#include "store_fixture.hpp"

#include <atomic>
#include <thread>

using namespace davit;
using namespace davit::store;
using namespace davit::test;

TEST_CASE_METHOD(store_fixture, "what is new is told once, as the events have it; what was undone is not") {
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
  CHECK_FALSE(store
                ->batch([&] {
                  accept();
                  throw std::runtime_error("no");
                })
                .has_value());
  auto second = accept();
  CHECK(store
          ->batch([&] {
            CHECK(store->finish(result_of(work, outcome::failed)).has_value());
            CHECK_FALSE(
              store->finish(result_of(work, outcome::failed)).has_value()); // refused, and nothing of it is told
            accept();
          })
          .has_value());
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

TEST_CASE_METHOD(store_fixture, "events come in the order of their commits, and none comes late") {
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

TEST_CASE_METHOD(store_fixture, "the attempts that an agent has ended since a time are named, each once, in order") {
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
  auto before = std::chrono::system_clock::now();
  auto middle = before;
  while (middle <= before)
    middle = std::chrono::system_clock::now();
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
