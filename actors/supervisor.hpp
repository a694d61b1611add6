// The supervisor: starts everybody, watches, restarts.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

#include <functional>

namespace davit {

/// Starts the API's actor; given from above, as actors/ does not know api/.
using api_factory = std::function<api_actor(caf::actor_system&, context_ptr, wiring)>;

/// one_for_one: a child that fails is started again after a short wait, and everybody hears of its new address. If the restart
/// budget of one that the agent can't do without is spent, the supervisor ends, and all its children with it; the reason names
/// the child and its last error. Any other child is tried again for ever, and an engine whose connection it was is `down`.
supervisor_actor spawn_supervisor(caf::actor_system& system, context_ptr context, api_factory api);

} // namespace davit
