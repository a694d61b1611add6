// One connection of the HTTP server.
#pragma once

#include "transport/guest_executor.hpp"
#include "transport/open_connections.hpp"
#include "transport/server_socket.hpp"

#include <boost/asio/ssl/context.hpp>

#include <memory>

namespace davit::transport {

/// What all connections of a server have in common.
struct connection_rules {
  server_limits limits;
  std::function<void(exchange_ptr)> on_header; ///< As http_server::listen() says.
};

/// Serves what comes over a socket until either side ends it, on the socket's executor, which is a strand. With `tls`
/// the handshake comes first. `list` may close the connection; one that the list does not let in is closed at once.
/// `visitor` is told when the client has shown who it is, and when it has had an answer.
void serve_connection(std::shared_ptr<const connection_rules> rules, const std::shared_ptr<open_connections>& list,
                      stream_socket socket, std::shared_ptr<boost::asio::ssl::context> tls,
                      std::shared_ptr<guest> visitor);

} // namespace davit::transport
