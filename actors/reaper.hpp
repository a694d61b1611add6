// The reaper: sees to it that nothing is left behind, neither on engines nor on the disk.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

namespace davit {

reaper_actor spawn_reaper(caf::actor_system& system, context_ptr context, reaper_handles handles);

} // namespace davit
