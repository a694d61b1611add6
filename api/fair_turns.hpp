// Requests that are being answered, a few of each owner at once: the others of an owner wait for their turn, and keep
// nobody else waiting.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace davit::api {

/// Of one thread. A request is known by its key, which is there once at a time.
template <class Key>
class fair_turns {
public:
  using clock = std::chrono::steady_clock;

  explicit fair_turns(std::size_t most_each) : most_each_(most_each) {}

  /// Begins the work: now, if the owner has its turn; else when others of the owner's have left.
  void enter(const std::string& owner, const Key& request, clock::time_point now, std::function<void()> work) {
    auto& mine = owners_[owner];
    owner_of_[request] = owner;
    mine.waiting.push_back({request, now, std::move(work)});
    go_on(owner);
  }

  /// Has been answered, or has gone. Again, or of one that never came: nothing happens. True: its work was never begun.
  bool leave(const Key& request) {
    auto found = owner_of_.find(request);
    if (found == owner_of_.end())
      return false;
    auto owner = std::move(found->second);
    owner_of_.erase(found);
    auto& mine = owners_[owner];
    auto waits
      = std::find_if(mine.waiting.begin(), mine.waiting.end(), [&](const auto& one) { return one.request == request; });
    auto waited = waits != mine.waiting.end();
    if (waited)
      mine.waiting.erase(waits);
    else
      --mine.begun;
    go_on(owner);
    return waited;
  }

  /// Forgets those that have waited since before `since`, and says which they are.
  std::vector<Key> give_up(clock::time_point since) {
    std::vector<Key> all;
    for (auto& [owner, mine] : owners_)
      for (; !mine.waiting.empty() && mine.waiting.front().since < since; mine.waiting.pop_front()) {
        all.push_back(mine.waiting.front().request);
        owner_of_.erase(all.back());
      }
    return all;
  }

  std::size_t begun(const std::string& owner) const {
    auto found = owners_.find(owner);
    return found == owners_.end() ? 0 : found->second.begun;
  }

private:
  struct entry {
    Key request;
    clock::time_point since;
    std::function<void()> work;
  };

  struct requests {
    std::size_t begun = 0;
    std::deque<entry> waiting; ///< The one that came first is first.
    bool going = false;        ///< Work that ends at once makes room for the next: in a loop, not one within the other.
  };

  void go_on(const std::string& owner) {
    auto& mine = owners_[owner];
    if (std::exchange(mine.going, true))
      return;
    while (!mine.waiting.empty() && mine.begun < most_each_) {
      auto next = std::move(mine.waiting.front());
      mine.waiting.pop_front();
      ++mine.begun;
      next.work();
    }
    mine.going = false;
    if (mine.begun == 0 && mine.waiting.empty())
      owners_.erase(owner);
  }

  const std::size_t most_each_;
  std::map<std::string, requests> owners_;
  std::map<Key, std::string> owner_of_;
};

} // namespace davit::api
