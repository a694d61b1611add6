// The agents of a fleet, as they know of each other.
#pragma once

#include "messages/attempt.hpp"
#include "messages/engine.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace davit {

enum class agent_state : std::uint8_t {
  ready,    ///< Takes tasks.
  draining, ///< Takes none; ends what runs.
  gone,     ///< Its lease is over: it has died, was cut off, or has left.
};
DAVIT_ENUM_TEXT(agent_state, 3, "ready", "draining", "gone")

/// An engine as one agent reaches it.
struct agent_engine {
  std::string name;
  std::string id;
  engine_state state = engine_state::connecting;
  std::uint32_t slots = 0;
  std::uint32_t busy = 0;
  std::vector<std::string> labels{};
  policy_profile profile = policy_profile::baseline;
  std::string message{}; ///< Why it is not ready.
  std::string blocked{}; ///< Why nothing is placed there although it may be ready.
};

template <class Inspector>
bool inspect(Inspector& f, agent_engine& x) {
  return f.object(x).fields(f.field("name", x.name), f.field("id", x.id), f.field("state", x.state),
                            f.field("slots", x.slots), f.field("busy", x.busy), f.field("labels", x.labels),
                            f.field("profile", x.profile), f.field("message", x.message),
                            f.field("blocked", x.blocked));
}

/// An agent's row in the store. The times are by the store's clock.
struct agent_status {
  std::string name;
  uuid home;        ///< Of its data directory: what comes back from there is the same agent.
  uuid incarnation; ///< Of its scheduler.
  std::string version;
  agent_state state = agent_state::ready;
  std::string address; ///< Where its peers reach it: host:port; empty if it has none.
  std::vector<agent_engine> engines;
  std::optional<timestamp> started_at;
  std::optional<timestamp> heartbeat_at;
  std::optional<timestamp> lease_until;
};

template <class Inspector>
bool inspect(Inspector& f, agent_status& x) {
  return f.object(x).fields(f.field("name", x.name), f.field("home", x.home), f.field("incarnation", x.incarnation),
                            f.field("version", x.version), f.field("state", x.state), f.field("address", x.address),
                            f.field("engines", x.engines), f.field("started_at", x.started_at),
                            f.field("heartbeat_at", x.heartbeat_at), f.field("lease_until", x.lease_until));
}

/// The first message between agents. A peer with another version is refused at once.
struct peer_hello {
  static constexpr std::uint32_t current_protocol = 1;

  std::uint32_t protocol = current_protocol;
  std::string fleet;
  std::string agent;
  std::string version;
};

template <class Inspector>
bool inspect(Inspector& f, peer_hello& x) {
  return f.object(x).fields(f.field("protocol", x.protocol), f.field("fleet", x.fleet), f.field("agent", x.agent),
                            f.field("version", x.version));
}

/// A piece of a finished attempt's log in the store, compressed as it is on disk.
struct log_block {
  std::uint32_t count = 0; ///< Of the log's blocks; 0: the store does not have it.
  std::string bytes;
};

template <class Inspector>
bool inspect(Inspector& f, log_block& x) {
  return f.object(x).fields(f.field("count", x.count), f.field("bytes", x.bytes));
}

/// Asks for the attempts of agents whose leases are over.
struct adopt_request {
  std::string agent;
  uuid incarnation;
  std::vector<agent_engine> engines; ///< Those that the asker reaches.
  duration patience{5000};           ///< How long after the lease's end unreachable attempts are given up.
};

template <class Inspector>
bool inspect(Inspector& f, adopt_request& x) {
  return f.object(x).fields(f.field("agent", x.agent), f.field("incarnation", x.incarnation),
                            f.field("engines", x.engines), f.field("patience", x.patience));
}

/// All of it belongs to the asker now.
struct adoption {
  std::vector<claimed_attempt> adopted; ///< On engines that the sender reaches: it continues them.
  std::vector<claimed_attempt> orphans; ///< On engines that no living agent reaches: to be ended as agent_lost.
};

template <class Inspector>
bool inspect(Inspector& f, adoption& x) {
  return f.object(x).fields(f.field("adopted", x.adopted), f.field("orphans", x.orphans));
}

} // namespace davit
