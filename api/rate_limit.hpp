// How many requests each subject may send.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <string>

namespace davit::api {

/// A bucket for each subject: so many requests per second, twice as many at once. Remembers a limited number of
/// subjects. Not thread-safe.
class rate_limit {
public:
  using clock = std::chrono::steady_clock;

  /// 0 requests per second: any number. Of `most_subjects` and one more, those are forgotten that have been quiet for
  /// longest.
  explicit rate_limit(double per_second, std::size_t most_subjects = 10'000)
    : rate_(per_second), most_(most_subjects) {}

  bool allows(const std::string& subject, clock::time_point now);

  std::size_t subjects() const { return buckets_.size(); }

private:
  struct bucket {
    double left = 0;
    clock::time_point at;
  };

  void forget(clock::time_point now);

  double rate_;
  std::size_t most_;
  std::map<std::string, bucket> buckets_;
};

} // namespace davit::api
