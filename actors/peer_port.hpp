// How CAF's middleman reaches peers: through a gate, which speaks TLS for it (transport/peer_gate.hpp).
#pragma once

#include "actors/agent_context.hpp"

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

namespace davit {

/// CAF's own middleman actor for peers, with davit's gate: it answers `connect_atom, host, port` and
/// `publish_atom, host, port, actor, interfaces` as that one does. It takes peers for as long as it lives.
caf::actor spawn_peer_port(caf::actor_system& system, const context_ptr& context);

} // namespace davit
