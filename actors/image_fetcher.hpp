// Pulls images before their tasks have a slot.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

namespace davit {

fetcher_actor spawn_image_fetcher(caf::actor_system& system, context_ptr context, fetcher_handles handles);

} // namespace davit
