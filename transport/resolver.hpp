// Names to addresses, without holding anybody up.
#pragma once

#include "transport/awaitable.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace davit::transport {

class io_runtime;

/// Every address that a host's name stands for, with the port; at least one. An address is its own, without asking
/// anybody. Ends at the deadline (`timed_out`) even if the system's resolver never answers, and no name waits for
/// another. Runs on the caller's executor, which is a strand (or a single thread).
awaitable<result<std::vector<boost::asio::ip::tcp::endpoint>>>
resolve(std::string host, std::uint16_t port, deadline until);

/// Calls `done` on an I/O thread with every address that a host's name stands for, as text; with none if it stands for
/// nothing, or if nobody has answered within 30 s.
void resolve_addresses(io_runtime& io, std::string host, std::function<void(std::vector<std::string>)> done);

} // namespace davit::transport
