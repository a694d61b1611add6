// The other agents: who is there, what is new with them, and what only they can tell.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

namespace davit {

/// Listens where the settings say, with TLS and certificates on both sides; if it can't, the actor ends with the
/// reason. Agents are found by the store, and by the settings' peers.
fleet_actor spawn_fleet(caf::actor_system& system, context_ptr context, fleet_handles handles);

} // namespace davit
