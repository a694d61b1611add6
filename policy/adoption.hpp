// What becomes of an attempt whose agent's lease is over. Pure.
#pragma once

#include "messages/fleet.hpp"

#include <string>
#include <vector>

namespace davit {

/// An open attempt of an agent without a lease.
struct left_attempt {
  attempt_key key;
  std::string agent;
  std::string engine_id;
};

enum class adoption_verdict : std::uint8_t {
  leave,   ///< For another agent, or for later.
  adopt,   ///< The asker reaches its engine.
  give_up, ///< No living agent reaches its engine, and the patience is over.
};

struct adoption_decision {
  adoption_verdict verdict = adoption_verdict::leave;
  std::string engine; ///< The asker's name for it, if it adopts.
};

/// `agents`: all that the store knows, as they are at `now`.
adoption_decision decide_adoption(const left_attempt& left, const adopt_request& request,
                                  const std::vector<agent_status>& agents, timestamp now);

/// The end of an attempt that nobody can reach any more: its task is tried again where its policy lets it. `draw`: see
/// retry_delay.
attempt_result end_of_orphan(const claimed_attempt& orphan, timestamp now, double draw);

} // namespace davit
