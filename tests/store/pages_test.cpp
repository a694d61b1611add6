// Lists of tasks in pages: every task is on one of them, and none is more than a reader can hold.
#include "store_fixture.hpp"

#include <catch2/catch_get_random_seed.hpp>

#include <algorithm>
#include <map>
#include <random>

using namespace davit;
using namespace davit::store;
using namespace davit::test;

namespace {

constexpr std::size_t page_bytes = 8 << 20;

} // namespace

TEST_CASE_METHOD(store_fixture, "pages of tasks of any size hold each once, the newest first, and none is too long") {
  auto seed = Catch::getSeed() + GENERATE(0u, 1u, 2u);
  CAPTURE(url.substr(0, 6), seed);
  std::mt19937 chance{seed};
  auto size = [&] {
    constexpr std::size_t sizes[] = {0, 0, 100, 300'000, 2'000'000, 4'100'000};
    return sizes[chance() % std::size(sizes)];
  };
  std::map<task_id, std::size_t> sizes;
  std::vector<task_id> made;
  for (int i = 0; i < 40; ++i) {
    new_task one{uuid::make_v7(), {}, "", std::chrono::system_clock::now(), {}, i % 3 == 0 ? "alice" : "bob"};
    one.spec.image = "alpine";
    one.spec.stdin_text = std::string(size(), 'x');
    one.spec.secrets["s"] = {std::string(size(), 's'), true};
    sizes[one.id] = one.spec.stdin_text->size() + one.spec.secrets["s"].value.size();
    made.insert(made.begin(), one.id);
    REQUIRE(store->accept(one).has_value());
  }
  // What an attempt leaves counts too.
  for (auto& work : claim({{"e", "id", {}, 5, 5}})) {
    auto result = result_of(work, outcome::failed);
    result.evidence.note = std::string(size(), 'n');
    sizes[work.task.id] += result.evidence.note.size();
    REQUIRE(store->finish(result).has_value());
  }
  for (std::string owner : {"", "alice", "bob"})
    for (auto limit : {1u, 7u, 1000u}) {
      CAPTURE(owner, limit);
      task_query query;
      query.owner = owner;
      query.limit = limit;
      std::vector<task_id> seen;
      for (bool last = false; !last;) {
        auto page = store->list(query);
        REQUIRE(page.has_value());
        REQUIRE_FALSE(page->tasks.empty());
        CHECK(page->tasks.size() <= limit);
        std::size_t bytes = 0, before = 0;
        for (const auto& one : page->tasks) {
          before = bytes;
          bytes += sizes.at(one.id);
          seen.push_back(one.id);
          CHECK(one.spec.stdin_text->size() + one.spec.secrets.at("s").value.size()
                  + (one.attempts.empty() ? 0 : one.attempts.at(0).evidence.note.size())
                == sizes.at(one.id));
        }
        // What attempts hold is known late: a hundred tasks may have more of that.
        CHECK(before <= page_bytes + 5 * 4'100'000);
        last = !page->next;
        query.before = page->next;
      }
      std::vector<task_id> wanted;
      std::copy_if(made.begin(), made.end(), std::back_inserter(wanted),
                   [&](task_id id) { return owner.empty() || store->get(id, owner).has_value(); });
      CHECK(seen == wanted);
    }
}

TEST_CASE_METHOD(store_fixture, "a page ends before the task that would be too much, and not earlier") {
  auto accept_with = [&](std::size_t bytes) {
    new_task one{uuid::make_v7(), {}, "", std::chrono::system_clock::now(), {}, ""};
    one.spec.image = "alpine";
    one.spec.stdin_text = std::string(bytes, 'x');
    REQUIRE(store->accept(one).has_value());
  };
  for (auto bytes : {10, 4'000'000, 4'000'000, 4'000'000, 4'000'000, 10, 10})
    accept_with(bytes);
  std::vector<std::size_t> lengths;
  task_query query;
  do {
    auto page = store->list(query);
    REQUIRE(page.has_value());
    lengths.push_back(page->tasks.size());
    query.before = page->next;
  } while (query.before);
  CHECK(lengths == std::vector<std::size_t>{4, 3});
}
