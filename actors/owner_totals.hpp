// What each owner's tasks came to on this agent. Not among the metrics' families: those are read by whoever reads the
// agent's metrics, without a token too, and have no owner's name.
#pragma once

#include "messages/attempt.hpp"

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace davit {

/// Since the agent's start, or since the owner was forgotten.
struct owner_totals {
  std::uint64_t accepted = 0;
  std::map<std::string, std::uint64_t> ended; ///< Attempts, by outcome.
  std::uint64_t log_bytes = 0;                ///< Of the logs of these attempts.
};

/// Thread-safe. Where there are more owners than `most`, it forgets who has done nothing for longest: a counter may
/// begin anew.
class owner_book {
public:
  explicit owner_book(std::size_t most = 4096) : most_(most) {}

  void accepted(const std::string& owner);
  void ended(const std::string& owner, const std::string& outcome, std::uint64_t log_bytes);
  owner_totals of(const std::string& owner) const;

private:
  struct entry {
    owner_totals totals;
    std::uint64_t last = 0; ///< When something was counted; by `clock_`.
  };
  entry& entry_of(const std::string& owner);

  std::size_t most_;
  mutable std::mutex mutex_;
  std::map<std::string, entry> entries_;
  std::uint64_t clock_ = 0;
};

/// The owners with the most tasks, most first, and behind them what the others have together, as `other`: an owner of
/// this name is among those.
std::vector<owner_counts> busiest_owners(std::vector<owner_counts> all, std::size_t most);

} // namespace davit
