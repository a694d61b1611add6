// TLS between the agents of a fleet: a gate in front of whoever speaks with peers, which sees no network itself.
#pragma once

#include "transport/awaitable.hpp"
#include "transport/endpoint.hpp"
#include "transport/error.hpp"
#include "transport/guest_executor.hpp"
#include "transport/io_runtime.hpp"
#include "transport/open_connections.hpp"
#include "transport/server_certificate.hpp"
#include "transport/server_socket.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

namespace davit::transport {

/// Sees what a peer has sent, piece by piece; false: its connection ends.
using peer_watch = std::function<bool(std::string_view)>;

struct gate_limits {
  std::size_t connections = 256; ///< Those that come. Never more than a sixteenth of RLIMIT_NOFILE.
  duration handshake{10'000};    ///< For TLS to be agreed on, after the connection is made.
  duration stalled{60'000};      ///< For a peer that takes nothing.
  std::size_t unsent = 64 << 20; ///< Bytes that may wait for a peer that takes them slowly.
};

/// Lets in peers that show a certificate of the fleet's authority, and goes to others with its own. Each connection
/// becomes one end of a pair of sockets, in plaintext: no port is open behind the gate. The certificates are read once,
/// and again when their files have changed. Thread-safe.
class peer_gate : public std::enable_shared_from_this<peer_gate> {
public:
  /// Makes a watch for a connection: one that came, or one that was made from here.
  using watch_maker = std::function<peer_watch(bool came)>;

  /// `tls` names an authority, a certificate and its key.
  peer_gate(io_runtime& io, tls_settings tls, watch_maker watch, gate_limits limits = {});

  /// Takes a non-blocking socket, and closes it.
  using taker = std::function<void(int socket)>;

  /// Listens at once, once; says at which port. `on_peer` is called on an I/O thread.
  result<std::uint16_t> listen(const host_and_port& where, taker on_peer);

  /// Calls `done` on an I/O thread, at the deadline at the latest.
  void connect(host_and_port where, deadline until, std::function<void(result<int>)> done);

  /// The port is free when it returns. Connections of peers stay.
  void stop();

private:
  awaitable<void> accept(taker on_peer);
  awaitable<void> welcome(stream_socket socket, std::shared_ptr<boost::asio::ssl::context> tls, taker on_peer,
                          std::shared_ptr<guest> visitor);
  awaitable<result<int>> reach(host_and_port where, deadline until);

  io_runtime& io_;
  server_certificate certificate_;
  watch_maker watch_;
  const gate_limits limits_;
  std::shared_ptr<open_connections> open_;
  std::optional<stream_acceptor> acceptor_; ///< Touched on its own strand, after listen().
};

} // namespace davit::transport
