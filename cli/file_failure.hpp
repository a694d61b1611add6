// A file that can't be read or written.
#pragma once

#include "blobs/error.hpp"
#include "cli/client.hpp"

#include <utility>

namespace davit {

/// The failure, with what the user can do.
inline command_failure failure_of(const blobs::error& why) {
  auto message = why.message;
  if (why.code == blobs::errc::changed)
    message += "; try again when nothing writes to it, or leave it out with a .dockerignore";
  return {std::move(message)};
}

} // namespace davit
