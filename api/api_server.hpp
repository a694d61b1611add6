// The API: HTTP in, messages out. docs/http-api.md and openapi.json tell what it promises.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

namespace davit {

/// Listens where the settings say. If it can't, the actor ends at once with the reason.
api_actor spawn_api(caf::actor_system& system, context_ptr context, api_handles addresses);

/// The OpenAPI 3.1 document.
std::string_view openapi_document();

} // namespace davit
