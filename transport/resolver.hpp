// Names to addresses, without holding anybody up.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace davit::transport {

class io_runtime;

/// Calls `done` on an I/O thread with every address that a host's name stands for, as text; with none if it stands for nothing.
void resolve_addresses(io_runtime& io, std::string host, std::function<void(std::vector<std::string>)> done);

} // namespace davit::transport
