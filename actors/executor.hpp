// The executor: one actor per attempt, from the claim to the outcome.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

namespace davit {

/// `engine` is the status of the engine that the attempt was placed on, as it was at the placement.
executor_actor spawn_executor(caf::scheduled_actor* parent, context_ptr context, claimed_attempt work,
                              engine_status engine, executor_handles addresses);

} // namespace davit
