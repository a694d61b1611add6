// How the agent's own log is written: lines for people, or an object on each line.
#pragma once

#include <memory>

namespace spdlog {
class formatter;
}

namespace davit {

/// A message is one line in both, and harmless on a terminal.
std::unique_ptr<spdlog::formatter> make_log_formatter(bool as_json);

} // namespace davit
