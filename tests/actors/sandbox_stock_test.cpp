// Which sandboxes are made ahead, and which are given up.
#include "actors/sandbox_plan.hpp"
#include "actors/sandbox_stock.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <map>
#include <random>

using namespace davit;
using namespace std::chrono_literals;

namespace {

using time_point = stock_kind::time_point;

const time_point now{1000h};

constexpr auto give_up = stock_action::give_up, forget = stock_action::forget, make = stock_action::make;

stock_kind kind(std::string name, std::chrono::seconds asked_ago, std::uint32_t wanted, std::size_t ready = 0,
                std::uint32_t making = 0, std::uint32_t waiting = 0) {
  return {std::move(name), false, now - asked_ago, wanted, std::deque<time_point>(ready, now - 10s), making,
          waiting,         {}};
}

using orders = std::vector<stock_order>;

} // namespace

TEST_CASE("sandboxes are made one at a time, of the kind that was asked for last", "[sandbox]") {
  CHECK(plan_stock({kind("a", 20s, 2), kind("b", 10s, 2)}, 0, 8, now) == orders{{make, "b"}});
  CHECK(plan_stock({kind("a", 20s, 2), kind("b", 10s, 2, 0, 1)}, 1, 8, now).empty());
  CHECK(plan_stock({kind("a", 20s, 2), kind("b", 10s, 2, 2)}, 0, 8, now) == orders{{make, "a"}});
  CHECK(plan_stock({kind("a", 20s, 2, 2)}, 0, 8, now).empty());
}

TEST_CASE("what is not wanted is given up, the oldest first, and what has waited too long is replaced", "[sandbox]") {
  CHECK(plan_stock({kind("a", 20s, 1, 3)}, 0, 8, now) == orders{{give_up, "a"}, {give_up, "a"}});
  CHECK(plan_stock({kind("a", 9h, 0, 1)}, 0, 8, now) == orders{{give_up, "a"}, {forget, "a"}});
  CHECK(plan_stock({kind("a", 9h, 0, 0, 1)}, 1, 8, now).empty()); // one is being made
  auto old = kind("a", 1s, 2, 2);
  old.ready.front() = now - sandbox_patience / 2 - 1s;
  CHECK(plan_stock({old}, 0, 8, now) == orders{{give_up, "a"}, {make, "a"}});
}

TEST_CASE("a task that waits has one made for it, whatever else is made; but not of what could not be made lately",
          "[sandbox]") {
  CHECK(plan_stock({kind("a", 0s, 1, 0, 0, 3), kind("b", 1s, 1, 1, 1)}, 1, 1, now)
        == orders{{make, "a"}, {make, "a"}, {make, "a"}});
  CHECK(plan_stock({kind("a", 0s, 1, 0, 2, 3)}, 2, 8, now) == orders{{make, "a"}});
  auto bad = kind("a", 0s, 1, 0, 0, 1);
  bad.not_before = now + 1ms;
  CHECK(plan_stock({bad}, 0, 8, now).empty());
  CHECK(plan_stock({bad}, 0, 8, now + 1ms) == orders{{make, "a"}});
}

TEST_CASE(
  "room is taken from the kind that nobody has asked for in the longest time, never from one that was asked for later",
  "[sandbox]") {
  CHECK(plan_stock({kind("a", 30s, 1, 1), kind("b", 20s, 1, 1), kind("c", 10s, 1)}, 0, 2, now)
        == orders{{give_up, "a"}, {make, "c"}});
  CHECK(plan_stock({kind("a", 10s, 1, 1), kind("b", 5s, 1, 1), kind("c", 20s, 1)}, 0, 2, now).empty());
  auto network = kind("n", 30s, 1, 1);
  network.network = true;
  CHECK(plan_stock({network, kind("c", 10s, 1)}, 0, 1, now) == orders{{make, "c"}}); // networks are counted apart
}

TEST_CASE("whatever there is, orders can be carried out, and lead to what is wanted", "[sandbox]") {
  auto seed = GENERATE(range(1u, 201u));
  CAPTURE(seed);
  std::minstd_rand random{seed};
  auto draw = [&](unsigned below) { return static_cast<std::uint32_t>(random() % below); };
  auto most = draw(6);
  std::vector<stock_kind> kinds;
  for (auto i = draw(6) + 1; i > 0; --i) {
    auto one = kind("k" + std::to_string(i), std::chrono::seconds{draw(100)}, draw(most + 1), draw(4), 0, draw(3));
    one.network = draw(3) == 0;
    one.not_before = draw(5) == 0 ? now + 1s : time_point{};
    kinds.push_back(one);
  }
  std::map<std::string, stock_kind> there;
  for (const auto& one : kinds)
    there[one.name] = one;
  auto kept = [&](bool networks) {
    std::size_t count = 0;
    for (const auto& [name, one] : there)
      count += one.network == networks ? one.ready.size() + one.making : 0;
    return count;
  };
  auto carry_out = [&] {
    std::vector<stock_kind> now_there;
    for (const auto& [name, one] : there)
      now_there.push_back(one);
    auto list = plan_stock(now_there, 0, most, now);
    std::uint32_t ahead = 0;
    for (const auto& order : list) {
      REQUIRE(there.contains(order.kind));
      auto& one = there[order.kind];
      if (order.what == give_up) {
        REQUIRE_FALSE(one.ready.empty());
        one.ready.pop_front();
      } else if (order.what == forget) {
        REQUIRE(one.ready.empty());
        REQUIRE(one.waiting == 0);
        there.erase(order.kind);
      } else {
        REQUIRE(one.not_before <= now);
        ahead += one.making >= one.waiting;
        ++one.making;
      }
    }
    REQUIRE(ahead <= made_at_once);
    return list.empty();
  };
  // Round after round: what was made waits, and those who waited have theirs.
  auto settled = false;
  for (int round = 0; round < 60 && !settled; ++round) {
    settled = carry_out();
    for (auto& [name, one] : there) {
      auto served = std::min(one.making, one.waiting);
      one.waiting -= served;
      for (auto i = served; i < one.making; ++i)
        one.ready.push_back(now);
      one.making = 0;
    }
  }
  CHECK(settled);
  std::size_t wanted[]{0, 0};
  for (const auto& [name, one] : there) {
    CHECK(one.ready.size() <= one.wanted);
    if (one.not_before <= now)
      wanted[one.network] += one.wanted;
  }
  for (bool networks : {false, true})
    CHECK(kept(networks) >= std::min<std::size_t>(wanted[networks], most));
}
