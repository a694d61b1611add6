// An HTTP/1.1 server that gives each request to a function and takes the answer from any thread, at any time.
#pragma once

#include "transport/endpoint.hpp"
#include "transport/exchange.hpp"
#include "transport/io_runtime.hpp"
#include "transport/open_connections.hpp"

#include <functional>
#include <memory>

namespace davit::transport {

class http_server {
public:
  /// Listens at once, and calls `on_header` on one of the runtime's threads for each request whose header has come. It
  /// calls read_body(), or answers: then the body is not read, and the connection ends with the answer. A client that
  /// holds the body back (Expect: 100-continue, RFC 9110, 10.1.1) is asked for it by read_body(). For port 0 the system
  /// chooses one. A unix socket has mode 0660 whatever the umask is; a stale one is replaced, a live one is an
  /// error. With `where.tls`: its certificate and key are shown, and if it names a CA, clients must show a certificate
  /// that it has signed. The files are read again when they have changed. Servers with the same `connections` share
  /// the places for them; none: its own.
  static result<std::shared_ptr<http_server>> listen(io_runtime& io, const endpoint& where, server_limits limits,
                                                     std::function<void(exchange_ptr)> on_header,
                                                     std::shared_ptr<open_connections> connections = nullptr);
  virtual ~http_server() = default;

  /// Where it really listens.
  virtual endpoint where() const = 0;

  /// The connections that it has, and has had.
  virtual const std::shared_ptr<open_connections>& connections() const = 0;

  /// Takes no further connections, and closes those that it has, also those of servers that share its places.
  /// Thread-safe.
  virtual void stop() = 0;
};

/// For listen(), where all requests are let in: calls `on_request` for each that has come whole.
std::function<void(exchange_ptr)> when_whole(std::function<void(exchange_ptr)> on_request);

} // namespace davit::transport
