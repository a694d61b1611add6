// What one agent may say to another in CAF's wire protocol (BASP): CAF takes far more, from whoever is connected.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace davit {

/// Follows what a peer sends, and ends the connection before CAF reads a message that no agent sends. CAF believes its
/// peers: some headers and values end the process, others reach any actor, or leave something behind for each message.
/// (docs/decisions/0013-a-gate-for-peers.md)
class peer_guard {
public:
  struct limits {
    std::size_t message = 16 << 20; ///< Bytes. The longest are pages of logs, of 256 KiB.
    std::size_t actors = 1000;      ///< That a peer may name on a connection: CAF keeps each for as long as it lasts.
  };

  /// `own`: the bytes of this agent's node. `came`: the peer made the connection.
  peer_guard(std::string own, bool came, limits most) : own_(std::move(own)), came_(came), most_(most) {}
  peer_guard(std::string own, bool came) : peer_guard(std::move(own), came, limits{}) {}

  /// Takes what comes next. False: the connection must end, and CAF must not see these bytes.
  bool good(std::string_view bytes);

  /// Why it must end, for a log. Empty: there is nothing to say, as when an agent has reached itself.
  std::string_view why() const { return why_; }

private:
  bool begin_message();
  bool judge();
  bool judge_handshake();
  bool judge_message();
  bool knows(std::uint64_t actor);
  bool refuse(std::string_view why);

  std::string own_;
  bool came_;
  limits most_;
  std::string_view why_;
  std::string peer_;               ///< The bytes of its node, after the handshake.
  std::set<std::uint64_t> actors_; ///< Of the peer, that it has named.
  std::string header_;             ///< As much of it as has come.
  std::string head_;               ///< The first bytes of the payload.
  std::size_t left_ = 0;           ///< Of the payload, still to come.
  std::uint8_t operation_ = 0;     ///< As the next four, from the header.
  std::uint8_t flags_ = 0;
  std::uint64_t data_ = 0, source_ = 0, destination_ = 0;
  bool judged_ = false;
};

} // namespace davit
