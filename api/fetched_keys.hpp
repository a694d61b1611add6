// Keys that come from a URL: when to ask for them, and how long they are good.
#pragma once

#include "api/jwks.hpp"

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
  static constexpr auto failure_rest = std::chrono::seconds{10};    ///< While there are none.

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
    trouble_.clear();
    fetched_ = now;
    if (keys_ && text == text_)
      return;
    keys_ = std::move(keys);
    text_ = text;
    ++version_;
  }

  void fail(const std::string& trouble) {
    std::lock_guard guard{mutex_};
    fetching_ = false;
    trouble_ = trouble;
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
    if (!keys_)
      return failure_rest;
    return has_unknown_key || !trouble_.empty() ? clock::duration{unknown_key_rest} : clock::duration{refresh_after};
  }

  mutable std::mutex mutex_;
  keys_ptr keys_;
  std::string text_, trouble_;
  std::optional<clock::time_point> tried_;
  clock::time_point fetched_;
  bool fetching_ = false;
  std::uint64_t version_ = 0;
};

} // namespace davit::api
