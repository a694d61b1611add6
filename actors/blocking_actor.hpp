// Actors that wait for a disk or a database.
#pragma once

#include "actors/agent_context.hpp"

#include <caf/actor_system.hpp>

#include <utility>

namespace davit {

/// Spawns an actor that blocks on a thread of its own; in a simulation, on the one that there is.
template <class Behavior, class... Args>
auto spawn_blocking(caf::actor_system& system, const context_ptr& context, Behavior behavior, Args&&... args) {
  if (context->one_thread)
    return system.spawn(behavior, context, std::forward<Args>(args)...);
  return system.spawn<caf::detached>(behavior, context, std::forward<Args>(args)...);
}

} // namespace davit
