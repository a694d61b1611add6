// An HTTP/1.1 server that gives each request to a function and takes the answer from any thread, at any time.
#pragma once

#include "transport/endpoint.hpp"
#include "transport/exchange.hpp"

#include <boost/asio/io_context.hpp>

#include <functional>
#include <memory>

namespace davit::transport {

class http_server {
public:
  /// Listens at once, and calls `on_request` on an I/O thread for each request that has come whole. For port 0 the
  /// system chooses one. A unix socket has mode 0660 whatever the umask is; a stale one is replaced, a live one is an
  /// error. With `where.tls`: its certificate and key are shown, and if it names a CA, clients must show a certificate
  /// that it has signed. The files are read again when they have changed. `on_header` is called instead, if there is
  /// one, when a client holds its body back until it is asked for it (Expect: 100-continue, RFC 9110, 10.1.1). It calls
  /// read_body(), or answers: then the client need not send the body. Without it everybody is asked.
  static result<std::shared_ptr<http_server>> listen(boost::asio::io_context& context, const endpoint& where,
                                                     server_limits limits, std::function<void(exchange_ptr)> on_request,
                                                     std::function<void(exchange_ptr)> on_header = nullptr);
  virtual ~http_server() = default;

  /// Where it really listens.
  virtual endpoint where() const = 0;

  /// Takes no further connections, and closes those that it has. Thread-safe.
  virtual void stop() = 0;
};

} // namespace davit::transport
