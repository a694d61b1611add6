#include "api/fair_limit.hpp"

#include <catch2/catch_test_macros.hpp>

#include <optional>

using davit::api::fair_limit;

TEST_CASE("each caller holds its part at most, and all together no more than there is") {
  fair_limit limit{2, 3};
  auto first = limit.take("a"), second = limit.take("a");
  CHECK(first.part);
  CHECK(second.part);
  auto third = limit.take("a");
  CHECK_FALSE(third.part);
  CHECK_FALSE(third.all_taken);
  auto other = limit.take("b");
  CHECK(other.part);
  auto last = limit.take("c");
  CHECK_FALSE(last.part);
  CHECK(last.all_taken);
  auto copy = first.part;
  first.part.reset();
  CHECK_FALSE(limit.take("c").part);
  copy.reset();
  CHECK(limit.take("c").part);
  CHECK(limit.take("a").part);
}

TEST_CASE("a part has a size, and outlives the limit") {
  std::optional<fair_limit> limit{std::in_place, 10, 100};
  auto six = limit->take("a", 6);
  CHECK(six.part);
  CHECK_FALSE(limit->take("a", 5).part);
  CHECK(limit->take("a", 4).part);
  limit.reset();
  six.part.reset();
}
