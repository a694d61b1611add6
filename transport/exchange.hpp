// One request of an HTTP client, and its answer, as a server's handler sees them.
#pragma once

#include "messages/units.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace davit::transport {

/// Who is at the other end of a connection.
struct server_peer {
  bool local = false;             ///< A process of this machine, over the unix socket.
  std::uint32_t uid = 0, gid = 0; ///< Of a local one (SO_PEERCRED).
  std::int32_t pid = 0;
  std::string address;     ///< Of one that came over tcp.
  std::string certificate; ///< The common name of the client certificate that it showed, if it had to.
};

struct server_request {
  server_peer peer;
  std::string method;
  std::string path;                                       ///< Decoded, without the query.
  std::vector<std::string> segments;                      ///< The path's, decoded each.
  std::vector<std::pair<std::string, std::string>> query; ///< Decoded, in order.
  std::map<std::string, std::string> headers;             ///< Names in lower case.
  bool has_body = false;                                  ///< By its header; it may be empty all the same.
  std::string body;

  /// The first value of that name; empty if there is none.
  std::string parameter(std::string_view name) const;
  std::string header(const std::string& lower_case_name) const;
};

struct server_response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  /// Let go of when the answer has been sent, or dropped: for what counts how many large answers there are.
  std::shared_ptr<const void> held = nullptr;
  /// A reader that takes no part of the answer in this time is given up; none: as server_limits says.
  std::optional<duration> stalled = std::nullopt;
};

/// One request under way. All functions are thread-safe. After the client has gone, what is written is dropped.
class exchange {
public:
  virtual ~exchange() = default;

  /// Without its body until read_body() has called back. Not to be read while read_body() is under way.
  virtual const server_request& request() const = 0;

  /// Takes the body in, instead of answering the header alone. `whole` is called when it has come, on an I/O thread; at
  /// once if the request has none; and never if it does not come whole or is too long: then the request needs no
  /// answer. Once.
  virtual void read_body(std::function<void()> whole) = 0;

  /// The client is known, by this name: its connection is closed in favour of another only while it waits for a
  /// request, and after those of unknown clients.
  virtual void trust(const std::string& caller) = 0;

  /// The name that trust() was called with; empty before.
  virtual std::string caller() const = 0;

  /// Keeps this until the request has ended, however it ends: for what counts requests.
  virtual void hold(std::shared_ptr<const void> part) = 0;

  /// The whole answer. Once, and not after begin().
  virtual void respond(server_response response) = 0;

  /// Starts an answer of unknown length (chunked); `response.body` is its first piece.
  virtual void begin(server_response response) = 0;

  /// Adds to it. `written` is called when the bytes have gone to the system, with false if the client has gone.
  virtual void write(std::string bytes, std::function<void(bool)> written) = 0;
  virtual void finish() = 0;

  /// Closes the connection, so that the client sees that the answer is not whole. What was written and has not gone out
  /// is dropped.
  virtual void cut() = 0;

  /// Called once if the client goes before the answer has ended; at once if it has gone.
  virtual void on_closed(std::function<void()> closed) = 0;
};

using exchange_ptr = std::shared_ptr<exchange>;

struct server_limits {
  std::size_t header_bytes = 16 * 1024;
  std::size_t body_bytes = 4 * 1024 * 1024;
  std::size_t connections
    = 2048;              ///< With more, one is closed, as open_connections says. Never more than half of RLIMIT_NOFILE.
  duration idle{60'000}; ///< Between requests.
  duration half_closed{20'000}; ///< For the next part of the answer to a client that has shut down its sending side.
  duration header{10'000};      ///< For a request's header to come whole, and for a TLS handshake.
  duration body{60'000};        ///< For its body to come whole.
  duration stalled{300'000};    ///< For a reader that takes nothing.
};

} // namespace davit::transport
