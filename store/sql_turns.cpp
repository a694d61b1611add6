#include "store/sql_turns.hpp"

#include "policy/queue.hpp"

#include <algorithm>

namespace davit::store {

const std::string placements
  = "WITH RECURSIVE p (placement) AS (SELECT MIN(placement) FROM task WHERE state = 'queued' AND ready = 1"
    " AND pinned = :pinned"
    " UNION ALL SELECT (SELECT MIN(placement) FROM task WHERE state = 'queued' AND ready = 1 AND pinned = :pinned2"
    " AND placement > p.placement) FROM p WHERE p.placement IS NOT NULL) ";

std::vector<std::string> pins(const std::string& agent, bool private_only) {
  return private_only ? std::vector{agent} : std::vector<std::string>{"", agent};
}

std::int64_t sql_turns::take(const new_task& task, const std::string& owner, const std::string& placement) {
  auto [entry, added] = taken_.try_emplace(owner);
  auto& mine = entry->second;
  if (added)
    mine.last = std::get<0>(
      session_.kept().row<number>("SELECT COALESCE((SELECT fair FROM owner WHERE name = :name), 0)", owner).value());
  number priority = task.spec.priority;
  auto [first, unknown] = first_.try_emplace({task.pinned, placement, priority});
  if (unknown) // asked once for all that are accepted together
    first->second = first_waiting(task.pinned, placement, priority);
  mine.last = next_turn(mine.last, first->second);
  ++mine.taken;
  return mine.last;
}

void sql_turns::give_back(const std::string& owner) {
  auto& mine = taken_.at(owner);
  --mine.last;
  --mine.taken;
}

/// The turn of the first that such a task would wait with; if none does, of those that wait for other engines.
number sql_turns::first_waiting(const std::string& pinned, const std::string& placement, number priority) {
  auto& kept = session_.kept();
  const std::string first
    = "SELECT MIN(fair) FROM task WHERE state = 'queued' AND ready = 1 AND pinned = :with AND placement = ";
  auto [turn]
    = kept.row<std::optional<number>>(first + ":placement AND priority = :priority", pinned, placement, priority)
        .value();
  if (turn)
    return *turn;
  for (const auto& one : pins(pinned, pinned.empty())) {
    auto [other] = kept
                     .row<std::optional<number>>(placements + "SELECT MIN((" + first
                                                   + "p.placement AND priority = :priority)) FROM p",
                                                 one, one, one, priority)
                     .value();
    if (other)
      turn = std::min(turn.value_or(*other), *other);
  }
  return turn ? *turn : std::get<0>(kept.row<number>("SELECT COALESCE((SELECT MAX(fair) FROM owner), 0)").value());
}

void sql_turns::write_last() {
  first_.clear();
  for (const auto& [owner, mine] : std::exchange(taken_, {}))
    if (mine.taken != 0)
      session_.kept().run(
        "INSERT INTO owner (name, fair) VALUES (:name, :last) ON CONFLICT (name) DO UPDATE SET fair = "
          + session_.how().larger("owner.fair", "CAST(:before AS BIGINT)") + " + CAST(:taken AS BIGINT)",
        owner, mine.last, mine.last - mine.taken, mine.taken);
}

void sql_turns::forget() {
  taken_.clear();
  first_.clear();
}

} // namespace davit::store
