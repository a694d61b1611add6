// Sends attempts' logs somewhere beside the log keeper.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

#include <memory>

namespace davit {

class sink_outlet;

/// Spawns it on a thread of its own, as a file's disk may keep it waiting.
sink_actor spawn_sink(caf::actor_system& system, context_ptr context, sink_settings settings, sink_handles addresses);

/// Spawns it on the scheduler's threads, with an outlet that never blocks.
sink_actor spawn_sink(caf::actor_system& system, context_ptr context, sink_settings settings, sink_handles addresses,
                      std::shared_ptr<sink_outlet> outlet);

} // namespace davit
