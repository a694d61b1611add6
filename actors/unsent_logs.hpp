// Small logs that the store has, kept in memory until every sink has read them. Without CAF.
#pragma once

#include "store/attempt_log.hpp"

#include <map>
#include <memory>
#include <set>
#include <string>

namespace davit {

/// Bounded: the oldest go first, and are read from the store then.
class unsent_logs {
public:
  explicit unsent_logs(std::uint64_t most_bytes = 16 * 1024 * 1024) : most_bytes_(most_bytes) {}

  /// Keeps a log that has ended for these sinks.
  void add(const attempt_key& key, std::unique_ptr<store::log_writer> log, std::set<std::string> sinks);

  /// Null: it is not here.
  const store::log_writer* find(const attempt_key& key) const;

  /// The sink has read the log to its end.
  void read(const attempt_key& key, const std::string& sink);

  /// The task is forgotten.
  void remove(task_id task);

  std::uint64_t bytes() const noexcept { return bytes_; }

private:
  struct entry {
    std::unique_ptr<store::log_writer> log;
    std::set<std::string> sinks;
    std::uint64_t turn = 0;
  };
  void erase(std::map<attempt_key, entry>::iterator one);
  static std::uint64_t cost_of(const entry& one);

  std::uint64_t most_bytes_, bytes_ = 0, turns_ = 0;
  std::map<attempt_key, entry> logs_;
  std::map<std::uint64_t, attempt_key> turns_of_; ///< Oldest first.
};

} // namespace davit
