// Sockets that a server listens on: tcp, or unix.
#pragma once

#include "transport/endpoint.hpp"
#include "transport/exchange.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>

namespace davit::transport {

/// Of any family, so that what is done with it is compiled once.
using stream_socket = boost::asio::generic::stream_protocol::socket;
using stream_acceptor = boost::asio::basic_socket_acceptor<boost::asio::generic::stream_protocol>;

/// Listens; may block for as long as the system takes to look up a name. A unix socket has mode 0660 from its first
/// moment, whatever the umask is, and no other file of the process is touched. A stale one is replaced, a live one is
/// an error.
result<stream_acceptor> open_acceptor(const boost::asio::any_io_executor& executor, const endpoint& where);

/// The tcp port that it listens on; 0: it is a unix socket.
std::uint16_t port_of(const stream_acceptor& acceptor);

/// Who is at the other end, as far as the kernel tells.
server_peer peer_of(stream_socket& socket);

/// Whose connections are counted together: those of an address, and of a network of IPv6 (/64), where everybody has
/// many addresses. Empty for this machine: a proxy may run here.
std::string address_group(const server_peer& peer);

/// Stands for the peer's address; clients of this machine have theirs too.
std::uint64_t origin_of(const server_peer& peer);

} // namespace davit::transport
