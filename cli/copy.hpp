// `davit cp`: files out of a running task's container, or of what a task has left behind.
#pragma once

#include "cli/client.hpp"

#include <string>

namespace davit {

/// `source`: TASK:/PATH in the container, or TASK:NAME[/PATH] of an output, whose name never begins with a slash.
/// `folder`: for a path in the container a folder that is there; for an output as copy_output() has it. `-`: a tar goes
/// to stdout.
void copy_files(api_client& client, const std::string& source, const std::string& folder);

} // namespace davit
