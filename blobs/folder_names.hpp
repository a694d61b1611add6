// What is in a folder.
#pragma once

#include "blobs/error.hpp"

#include <string>
#include <vector>

namespace davit::blobs {

/// The names in an open folder, without `.` and `..`, sorted by their bytes. `shown` names it in an error.
result<std::vector<std::string>> names_in(int folder, const std::string& shown);

} // namespace davit::blobs
