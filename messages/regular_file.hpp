// What may be read or written as a file: a pipe or a device may never end, or never begin.
#pragma once

#include <filesystem>
#include <string>
#include <system_error>

namespace davit {

/// What is wrong with the kind of a file that is to be read whole, or written, as a sentence behind its name. Empty: it
/// is a regular file, or it can't be looked at, and whoever opens it learns why.
inline std::string wrong_kind(const std::filesystem::path& file) {
  std::error_code ec;
  auto kind = std::filesystem::status(file, ec).type();
  if (ec || kind == std::filesystem::file_type::regular || kind == std::filesystem::file_type::not_found)
    return {};
  return kind == std::filesystem::file_type::directory ? "is a directory, not a file" : "is not a regular file";
}

} // namespace davit
