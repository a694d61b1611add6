// The scheduler: claims what it has room for and starts an executor for each attempt.
#pragma once

#include "actors/agent_context.hpp"
#include "actors/executor.hpp"
#include "messages/actors.hpp"

#include <functional>

namespace davit {

using executor_factory
  = std::function<executor_actor(caf::scheduled_actor*, context_ptr, claimed_attempt, engine_status, executor_handles)>;

/// Claims nothing before it is told of the store (`wire`). One that is told to drain before that claims nothing new at
/// all, and goes on with what an earlier scheduler has left: so a scheduler is started again while its agent drains.
scheduler_actor spawn_scheduler(caf::actor_system& system, context_ptr context, scheduler_handles addresses,
                                executor_factory make_executor = spawn_executor);

} // namespace davit
