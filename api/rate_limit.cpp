#include "api/rate_limit.hpp"

#include <algorithm>
#include <vector>

namespace davit::api {

bool rate_limit::allows(const std::string& subject, clock::time_point now) {
  if (rate_ <= 0)
    return true;
  if (buckets_.size() >= most_ && !buckets_.contains(subject))
    forget(now);
  auto& one = buckets_.try_emplace(subject, bucket{rate_ * 2, now}).first->second;
  one.left = std::min(rate_ * 2, one.left + rate_ * std::chrono::duration<double>(now - one.at).count());
  one.at = now;
  if (one.left < 1)
    return false;
  one.left -= 1;
  return true;
}

/// After two seconds of rest a bucket is full, and says no more than a new one. If too few are, the oldest half goes.
void rate_limit::forget(clock::time_point now) {
  std::erase_if(buckets_, [&](const auto& one) { return now - one.second.at >= std::chrono::seconds{2}; });
  if (buckets_.size() <= most_ / 2)
    return;
  std::vector<clock::time_point> times;
  for (const auto& [_, one] : buckets_)
    times.push_back(one.at);
  auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  std::erase_if(buckets_, [limit = *middle](const auto& one) { return one.second.at <= limit; });
}

} // namespace davit::api
