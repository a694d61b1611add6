#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

namespace davit {

/// Without a medium in its context it refuses everything, and says why.
files_actor spawn_file_keeper(caf::actor_system& system, context_ptr context, files_handles handles);

} // namespace davit
