// A request that the agent has not answered.
#pragma once

#include "cli/client.hpp"

namespace davit {

/// The failure, with what the user can do.
inline command_failure no_answer(const transport::error& why) {
  return {why.message + " (is a davit agent running there? set its address with --host or DAVIT_HOST)"};
}

} // namespace davit
