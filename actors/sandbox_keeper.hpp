// Keeps sandboxes on one engine: containers that are up before there is a task for them.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

namespace davit {

/// For the engine of these settings. `handles` may lack its connection yet.
sandbox_actor
spawn_sandbox_keeper(caf::actor_system& system, context_ptr context, engine_settings settings, sandbox_handles handles);

} // namespace davit
