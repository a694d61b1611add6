// How often a child may fail before its supervisor gives up: N restarts in T, each after a longer wait. Pure.
#pragma once

#include "messages/units.hpp"

#include <chrono>
#include <deque>
#include <optional>

namespace davit {

class restart_budget {
public:
  using clock = std::chrono::steady_clock;

  explicit restart_budget(std::size_t restarts = 5, duration period = std::chrono::seconds{60},
                          duration least_wait = std::chrono::milliseconds{10},
                          duration most_wait = std::chrono::seconds{5});

  /// The child has failed at `now`: how long to wait before it is started again; no value: the budget is spent.
  std::optional<duration> spend(clock::time_point now);

private:
  std::size_t restarts_;
  duration period_;
  duration least_wait_;
  duration most_wait_;
  std::deque<clock::time_point> spent_;
};

} // namespace davit
