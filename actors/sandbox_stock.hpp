// Which sandboxes and networks are made ahead, and which are given up. Pure; the clock is the caller's.
#pragma once

#include "messages/units.hpp"

#include <chrono>
#include <deque>
#include <string>
#include <vector>

namespace davit {

/// Making one ahead is work for a whole processor: tasks that run shall feel little of it.
inline constexpr std::uint32_t made_at_once = 1;

/// What there is of one kind.
struct stock_kind {
  using time_point = std::chrono::steady_clock::time_point;

  std::string name;
  bool network = false;         ///< Sandboxes and networks are counted apart.
  time_point asked;             ///< When it was asked for last.
  std::uint32_t wanted = 0;     ///< How many are worth keeping.
  std::deque<time_point> ready; ///< Since when each waits, the oldest first.
  std::uint32_t making = 0;
  std::uint32_t waiting = 0; ///< Tasks that wait for one.
  time_point not_before{};   ///< After one could not be made.
};

enum class stock_action : std::uint8_t {
  give_up, ///< The oldest that waits.
  forget,  ///< The kind: there is none of it, and nobody has asked for it lately.
  make,    ///< One more.
};

struct stock_order {
  stock_action what;
  std::string kind;
  bool operator==(const stock_order&) const = default;
};

/// What to do, in this order, with `making` under way in all and room for `most` sandboxes and as many networks. The
/// kind that was asked for last comes first; it takes room from the one that nobody has asked for in the longest time.
/// A task that waits has room: its slot.
std::vector<stock_order>
plan_stock(std::vector<stock_kind> kinds, std::uint32_t making, std::uint32_t most, stock_kind::time_point now);

} // namespace davit
