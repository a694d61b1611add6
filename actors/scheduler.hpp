// The scheduler: claims what it has room for and starts an executor for each attempt.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

namespace davit {

scheduler_actor spawn_scheduler(caf::actor_system& system, context_ptr context, scheduler_handles addresses);

} // namespace davit
