// Files that two options name, where davit would write logs over what the other one needs.
#pragma once

#include "actors/agent_context.hpp"
#include "configuration/file_reader.hpp"

namespace davit {

/// Sinks and the audit log each need a file of their own, however it is named: no other option's, none that davit keeps
/// in its data directory, not the configuration file.
void check_collisions(const agent_settings& agent, mistake_list& mistakes);

} // namespace davit
