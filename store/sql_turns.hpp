// The owners' turns in the queue: policy/queue.hpp says how they are counted.
#pragma once

#include "store/sql_session.hpp"
#include "store/sql_values.hpp"

#include <map>
#include <tuple>

namespace davit::store {

/// The placements of what is queued and pinned alike (`:pinned`, `:pinned2`) as a table `p`: from one to the next, each
/// time by the index.
extern const std::string placements;

/// Whose tasks an agent may have: everybody's and its own, or its own alone.
std::vector<std::string> pins(const std::string& agent, bool private_only);

/// The owners' turns: written at a transaction's end.
class sql_turns final : public last_write {
public:
  explicit sql_turns(sql_session& session) : session_(session) {}

  /// The next turn of the owner of a task. Of one who submits at several agents at the same time some tasks may share a
  /// turn; those that come later make up for it. Throws.
  std::int64_t take(const new_task& task, const std::string& owner, const std::string& placement);

  /// The owner's last turn was taken for a task that is there already.
  void give_back(const std::string& owner);

  void write_last() override;
  void forget() override;

private:
  number first_waiting(const std::string& pinned, const std::string& placement, number priority);

  struct owner_turns {
    number last = 0, taken = 0;
  };

  sql_session& session_;
  std::map<std::string, owner_turns> taken_; ///< By this transaction.
  /// first_waiting(), as this transaction saw it.
  std::map<std::tuple<std::string, std::string, number>, number> first_;
};

} // namespace davit::store
