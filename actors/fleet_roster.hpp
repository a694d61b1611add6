// Who is who in a fleet, by what the store says. Pure.
#pragma once

#include "messages/fleet.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace davit {

/// The agent of this name, if it has a lease; otherwise null.
inline const agent_status* find_living(const std::vector<agent_status>& agents, const std::string& name) {
  auto found = std::find_if(agents.begin(), agents.end(), [&](const agent_status& one) {
    return one.name == name && one.state != agent_state::gone;
  });
  return found == agents.end() ? nullptr : &*found;
}

/// Why the agent with this name and data directory is not one of the fleet; empty: it has a lease. Another agent may
/// have one under its name.
inline std::string why_not_listed(const std::vector<agent_status>& agents, const std::string& name, const uuid& home) {
  const auto* found = find_living(agents, name);
  if (!found)
    return "agent " + name + " has no lease in the store";
  return found->home == home ? "" : "another agent named " + name + " has the lease in the store";
}

/// Where the store says that the living agents are reached, by name.
inline std::map<std::string, std::string> addresses_of(const std::vector<agent_status>& agents) {
  std::map<std::string, std::string> found;
  for (const auto& one : agents)
    if (one.state != agent_state::gone)
      found.emplace(one.name, one.address);
  return found;
}

} // namespace davit
