// `davit cp`: files out of a running task's container.
#pragma once

#include "cli/client.hpp"

#include <string>

namespace davit {

/// `source`: TASK:/PATH. `folder`: where it is unpacked, or `-`: the tar goes to stdout.
void copy_files(api_client& client, const std::string& source, const std::string& folder);

} // namespace davit
