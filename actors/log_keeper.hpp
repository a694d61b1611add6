// The log keeper: each attempt's log on disk, and its readers.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

namespace davit {

/// Spawns it on a thread of its own, as it waits for the disk.
log_actor spawn_log_keeper(caf::actor_system& system, context_ptr context);

} // namespace davit
