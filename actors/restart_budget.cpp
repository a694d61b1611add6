#include "actors/restart_budget.hpp"

#include <algorithm>

namespace davit {

restart_budget::restart_budget(std::size_t restarts, duration period, duration least_wait, duration most_wait)
  : restarts_(restarts), period_(period), least_wait_(least_wait), most_wait_(most_wait) {}

std::optional<duration> restart_budget::spend(clock::time_point now) {
  while (!spent_.empty() && now - spent_.front() >= period_)
    spent_.pop_front();
  if (spent_.size() >= restarts_)
    return std::nullopt;
  auto wait = least_wait_;
  for (std::size_t i = 0; i < spent_.size() && wait < most_wait_; ++i)
    wait *= 4;
  spent_.push_back(now);
  return std::min(wait, most_wait_);
}

} // namespace davit
