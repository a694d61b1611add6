// A connection, whatever it is made of: unix socket, tcp, tcp with TLS.
#pragma once

#include "transport/awaitable.hpp"
#include "transport/endpoint.hpp"

#include <memory>
#include <span>
#include <string_view>

namespace davit::transport {

/// Used from one strand alone.
class byte_stream {
public:
  virtual ~byte_stream() = default;

  /// Reads what is there, at least a byte; 0 is the end. One read at a time.
  virtual awaitable<result<std::size_t>> read_some(std::span<char> buffer, deadline until) = 0;

  /// Writes all of it. One write at a time.
  virtual awaitable<result<std::size_t>> write(std::string_view bytes, deadline until) = 0;

  /// Tells the peer that no more is coming; reading goes on.
  virtual awaitable<void> shutdown_write() = 0;

  /// Ends what is under way, with an error of kind `cancelled`.
  virtual void close() noexcept = 0;

  /// Bytes written that the peer has not taken yet: a process on this machine, or another machine's system.
  virtual std::size_t untaken() noexcept = 0;

  /// False if the peer has closed, or sent what nobody asked for: a connection that waited is not to be used again.
  virtual bool idle_and_alive() noexcept = 0;
};

/// Connects, with the TLS handshake if the endpoint asks for it.
awaitable<result<std::unique_ptr<byte_stream>>> connect(endpoint where, deadline until);

} // namespace davit::transport
