// The engine connection: one actor per engine, between the actors' messages and the engine's HTTP.
#pragma once

#include "actors/agent_context.hpp"
#include "actors/engine_health.hpp"
#include "messages/actors.hpp"

namespace davit {

engine_actor spawn_engine_connection(caf::actor_system& system, context_ptr context, engine_settings settings,
                                     engine_handles handles, health_settings limits = {});

} // namespace davit
