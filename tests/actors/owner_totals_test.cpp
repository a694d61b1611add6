#include "actors/owner_totals.hpp"
#include "api/metrics_text.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <random>

using namespace davit;

TEST_CASE("each owner's counts are its own, and who has done nothing for longest is forgotten first") {
  owner_book book{2};
  book.accepted("a");
  book.ended("a", "succeeded", 5);
  book.ended("a", "failed", 6);
  book.ended("a", "failed", 0);
  book.accepted("b");
  CHECK(book.of("a").accepted == 1);
  CHECK(book.of("a").ended == std::map<std::string, std::uint64_t>{{"failed", 2}, {"succeeded", 1}});
  CHECK(book.of("a").log_bytes == 11);
  CHECK(book.of("b").ended.empty());
  CHECK(book.of("c").accepted == 0);
  book.accepted("a");
  book.accepted("c");
  CHECK(book.of("a").accepted == 2);
  CHECK(book.of("b").accepted == 0);
  CHECK(book.of("c").accepted == 1);
}

TEST_CASE("of any owners the busiest are named, and nothing is lost of what the others have") {
  std::mt19937 random{5};
  for (int i = 0; i < 2000; ++i) {
    std::vector<owner_counts> all;
    task_counts sum;
    for (auto n = random() % 6; n > 0; --n) {
      auto name = random() % 6 == 0 ? std::string{"other"} : "o" + std::to_string(n);
      if (std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.owner == name; }))
        continue;
      all.push_back({name, {static_cast<std::int64_t>(random() % 4), static_cast<std::int64_t>(random() % 4), 0}});
      sum.queued += all.back().tasks.queued;
      sum.starting += all.back().tasks.starting;
    }
    auto most = random() % 5;
    auto few = busiest_owners(all, most);
    CHECK(few.size() <= most + 1);
    task_counts sum_of_few;
    std::int64_t least = 100, largest_left = 0;
    auto size = [](const owner_counts& one) { return one.tasks.queued + one.tasks.starting; };
    for (const auto& one : few) {
      sum_of_few.queued += one.tasks.queued;
      sum_of_few.starting += one.tasks.starting;
      if (one.owner != "other")
        least = std::min(least, size(one));
      CHECK((one.owner == "other") == (&one == &few.back() && one.owner == "other")); // the last, and once
    }
    for (const auto& one : all)
      if (one.owner != "other"
          && std::none_of(few.begin(), few.end(), [&](const auto& named) { return named.owner == one.owner; }))
        largest_left = std::max(largest_left, size(one));
    CHECK(least >= largest_left);
    CHECK(sum_of_few.queued == sum.queued);
    CHECK(sum_of_few.starting == sum.starting);
  }
}

TEST_CASE("an owner's name does not break the text of the metrics") {
  auto text = api::metrics_by_owner({{"a\"} 1\nx{\\", {1, 2, 3}}});
  CHECK(text
        == "# HELP davit_owner_tasks Tasks that are not finished, by owner and state.\n"
           "# TYPE davit_owner_tasks gauge\n"
           "davit_owner_tasks{owner=\"a\\\"} 1\\nx{\\\\\",state=\"queued\"} 1\n"
           "davit_owner_tasks{owner=\"a\\\"} 1\\nx{\\\\\",state=\"starting\"} 2\n"
           "davit_owner_tasks{owner=\"a\\\"} 1\\nx{\\\\\",state=\"running\"} 3\n");
}
