// How CAF's middleman reaches peers: through a gate, which speaks TLS for it (transport/peer_gate.hpp).
#pragma once

#include "actors/agent_context.hpp"

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace davit {

/// Follows the messages of CAF's wire protocol (BASP) by their headers, to find one that is too long before anybody
/// makes room for it.
class basp_lengths {
public:
  explicit basp_lengths(std::size_t most) : most_(most) {}

  /// Takes what comes next. False: it announces a message of more than `most` bytes.
  bool good(std::string_view bytes);

private:
  std::size_t most_;
  std::string header_;      ///< As much of the next header as has come.
  std::size_t payload_ = 0; ///< Still to come of this message.
};

/// CAF's own middleman actor for peers, with davit's gate: it answers `connect_atom, host, port` and
/// `publish_atom, host, port, actor, interfaces` as that one does. It takes peers for as long as it lives.
caf::actor spawn_peer_port(caf::actor_system& system, const context_ptr& context);

} // namespace davit
