// The engine connection: one actor per engine, between the actors' messages and the engine's HTTP.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

namespace davit {

/// How an engine's health is judged.
struct health_settings {
  duration ping_interval{3000};
  duration ping_deadline{3000};
  int misses_until_down = 3; ///< The first makes it degraded.
  duration least_backoff{100};
  duration most_backoff{5000};
};

engine_actor spawn_engine_connection(caf::actor_system& system, context_ptr context, engine_settings settings,
                                     engine_handles handles, health_settings health = {});

} // namespace davit
