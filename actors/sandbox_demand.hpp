// How many sandboxes of a kind are worth keeping. Pure; the clock is the caller's.
#pragma once

#include "messages/engine.hpp"

#include <algorithm>
#include <chrono>
#include <deque>

namespace davit {

/// What was asked for lately.
class sandbox_demand {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// Asks within this time count as a burst, which may come again.
  static constexpr std::chrono::seconds burst{10};

  void ask(time_point now) {
    asked_.push_back(now);
    forget(now);
  }

  /// One as long as anything was asked for within `idle`; as many as in the last burst, at most `most`.
  std::uint32_t wanted(time_point now, duration idle, std::uint32_t most) {
    forget(now);
    if (asked_.empty() || now - asked_.back() >= idle)
      return 0;
    auto lately = static_cast<std::uint32_t>(
      std::count_if(asked_.begin(), asked_.end(), [&](auto at) { return now - at < burst; }));
    return std::min(most, std::max(1u, lately));
  }

  time_point last() const { return asked_.empty() ? time_point{} : asked_.back(); }

private:
  void forget(time_point now) {
    while (asked_.size() > 1 && now - asked_.front() >= burst)
      asked_.pop_front();
  }

  std::deque<time_point> asked_;
};

} // namespace davit
