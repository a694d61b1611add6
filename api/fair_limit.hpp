// How much of something each caller may hold at once, and all callers together.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace davit::api {

/// Gives out parts. Thread-safe; a part may outlive it.
class fair_limit {
public:
  fair_limit(std::size_t most_each, std::size_t most_all)
    : most_each_(most_each), most_all_(most_all), books_(std::make_shared<books>()) {}

  struct answer {
    std::shared_ptr<const void> part; ///< Given back when the last copy has gone. Null: there is none.
    bool all_taken = false;           ///< Why: not this caller alone holds too much, but all together.
  };

  answer take(const std::string& who, std::size_t amount = 1) {
    std::lock_guard guard{books_->mutex};
    auto mine = books_->by_caller.find(who);
    auto held = mine == books_->by_caller.end() ? 0 : mine->second;
    if (held + amount > most_each_)
      return {};
    if (books_->all + amount > most_all_)
      return {nullptr, true};
    books_->by_caller[who] += amount;
    books_->all += amount;
    return {{books_.get(), [books = books_, who, amount](const void*) { books->give_back(who, amount); }}};
  }

private:
  struct books {
    std::mutex mutex;
    std::map<std::string, std::size_t> by_caller;
    std::size_t all = 0;

    void give_back(const std::string& who, std::size_t amount) {
      std::lock_guard guard{mutex};
      all -= amount;
      auto mine = by_caller.find(who);
      if ((mine->second -= amount) == 0)
        by_caller.erase(mine);
    }
  };

  const std::size_t most_each_, most_all_;
  std::shared_ptr<books> books_;
};

} // namespace davit::api
