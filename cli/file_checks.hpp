// The files of an agent: what would stop it, and what is open to others.
#pragma once

#include "cli/doctor.hpp"
#include "configuration/configuration.hpp"

namespace davit {

/// Reads the secrets' key, the tokens and their keys, if they are there, and the certificates. What the agent could not
/// start with is a mistake.
void check_files(const agent_settings& agent, mistake_list& mistakes);

/// What `davit doctor` says of the data directory, the secrets' key, the tokens and their keys. Changes nothing.
std::vector<finding> examine_files(const agent_settings& agent);

} // namespace davit
