// Sends attempts' logs somewhere beside the log keeper.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

namespace davit {

/// Spawns it on a thread of its own, as a file's disk may keep it waiting.
sink_actor spawn_sink(caf::actor_system& system, context_ptr context, sink_settings settings, sink_handles addresses);

} // namespace davit
