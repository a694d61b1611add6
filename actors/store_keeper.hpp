// The store keeper: tasks in the database, many writes to a commit.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

namespace davit {

/// Spawns it on a thread of its own. It fails at once (and is started again, and escalates) if the store can't be opened.
store_actor spawn_store_keeper(caf::actor_system& system, context_ptr context);

} // namespace davit
