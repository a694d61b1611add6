// Logs on standard output, whose reader may stop reading without closing it. Without CAF.
#pragma once

#include "actors/sink_outlet.hpp"

namespace davit {

/// How long a reader may take nothing before a delivery fails.
constexpr duration console_patience = std::chrono::seconds{5};

/// Writes lines of JSON to the descriptor, on a thread of its own that nobody waits for. What a failed delivery has
/// written is not written again when its records are sent again; a line that was begun is completed before another.
/// The descriptor's own flags stay as they are: other processes may share them. It must stay open.
std::shared_ptr<sink_outlet> make_console_outlet(int descriptor, duration patience = console_patience);

} // namespace davit
