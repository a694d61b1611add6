// What can only be judged when all options are read: what goes together, and what the outside must have.
#pragma once

#include "configuration/file_reader.hpp"

namespace davit {

/// Reads the files that options name, and nothing else of the outside.
void check_settings(const agent_settings& agent, mistake_list& mistakes);

} // namespace davit
