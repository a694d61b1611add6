// Keys that come from a URL: when to ask for them, and how long they are good.
#pragma once

#include "api/jwks.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace davit::api {

/// What asks for keys and what fetches them share. Thread-safe.
class fetched_keys {
public:
  using clock = std::chrono::steady_clock;
  using keys_ptr = std::shared_ptr<const key_set>;

  static constexpr auto keys_last = std::chrono::hours{24}; ///< While they can't be fetched again.
  static constexpr auto refresh_after = std::chrono::hours{1};
  static constexpr auto unknown_key_rest = std::chrono::minutes{1}; ///< Also after a failure, while there are keys.
  static constexpr auto failure_rest = std::chrono::seconds{10}; ///< After the first failure; twice as long each time.
  static constexpr auto longest_rest = std::chrono::minutes{5};
  static constexpr auto remind_after = std::chrono::minutes{10}; ///< That it still fails for the same reason.

  /// Whether it is time to fetch. If so, the caller fetches now, and calls end() or fail().
  bool begin(bool has_unknown_key, clock::time_point now) {
    std::lock_guard guard{mutex_};
    if (keys_ && now - fetched_ >= keys_last) {
      keys_.reset();
      ++version_;
    }
    if (fetching_ || (tried_ && now - *tried_ < rest(has_unknown_key)))
      return false;
    tried_ = now;
    fetching_ = true;
    return true;
  }

  /// `text`: what the keys were read from.
  void end(keys_ptr keys, const std::string& text, clock::time_point now) {
    std::lock_guard guard{mutex_};
    fetching_ = false;
    failures_ = 0;
    trouble_.clear();
    fetched_ = now;
    if (keys_ && text == text_)
      return;
    keys_ = std::move(keys);
    text_ = text;
    ++version_;
  }

  /// True: this is to be told. It is the first failure, has another reason than the last one, or was told long ago.
  bool fail(const std::string& trouble, clock::time_point now) {
    std::lock_guard guard{mutex_};
    fetching_ = false;
    ++failures_;
    auto news = trouble != trouble_ || now - told_ >= remind_after;
    trouble_ = trouble;
    if (news)
      told_ = now;
    return news;
  }

  struct view {
    keys_ptr keys; ///< Null: there are none.
    bool pending = false;
    std::string trouble; ///< Of the last fetch.
  };
  view look() const {
    std::lock_guard guard{mutex_};
    return {keys_, fetching_, trouble_};
  }

  /// Another number after each change of the keys.
  std::uint64_t version() const {
    std::lock_guard guard{mutex_};
    return version_;
  }

private:
  clock::duration rest(bool has_unknown_key) const {
    constexpr int most_doublings = 5; // more than it takes to the longest rest
    clock::duration after_failure = failure_rest * (1 << std::clamp(failures_ - 1, 0, most_doublings));
    after_failure = std::min<clock::duration>(after_failure, longest_rest);
    if (!keys_)
      return after_failure;
    if (!trouble_.empty())
      return std::max<clock::duration>(after_failure, unknown_key_rest);
    return has_unknown_key ? clock::duration{unknown_key_rest} : clock::duration{refresh_after};
  }

  mutable std::mutex mutex_;
  keys_ptr keys_;
  std::string text_, trouble_;
  std::optional<clock::time_point> tried_;
  clock::time_point fetched_, told_;
  int failures_ = 0; ///< Since the last success.
  bool fetching_ = false;
  std::uint64_t version_ = 0;
};

} // namespace davit::api
