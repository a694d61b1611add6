// The supervisor: starts everybody, watches, restarts.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

#include <functional>

namespace davit {

/// Starts the API's actor; given from above, as actors/ does not know api/.
using api_factory = std::function<api_actor(caf::actor_system&, context_ptr, wiring)>;

/// one_for_one: a child that fails is started again after a short wait, and everybody hears of its new address. A child
/// whose restart budget is spent takes the supervisor down with it, with the child's last error as the reason.
supervisor_actor spawn_supervisor(caf::actor_system& system, context_ptr context, api_factory api);

} // namespace davit
