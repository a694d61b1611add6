// What is to be done about an attempt, from what the store and the engine say of it. Pure.
#pragma once

#include "messages/text.hpp"

#include <cstdint>
#include <string>

namespace davit {

/// What the store's row says.
enum class row_state : std::uint8_t {
  none,      ///< It has no such attempt: the container carries our labels, but nobody knows why.
  ended,     ///< Its outcome is stored.
  claimed,   ///< It is under way; its start was not announced.
  announced, ///< It is under way, and the container may have been started: its id is in the row.
};
DAVIT_ENUM_TEXT(row_state, 4, "none", "ended", "claimed", "announced")

/// What the engine says of the container with the attempt's name.
enum class container_state : std::uint8_t {
  none,    ///< There is none.
  created, ///< It was made and never started.
  running, ///< Also paused, or being restarted.
  ended,   ///< It has an exit code.
  foreign, ///< There is one of that name, without the attempt's labels.
};
DAVIT_ENUM_TEXT(container_state, 5, "none", "created", "running", "ended", "foreign")

enum class recovery_action : std::uint8_t {
  leave,   ///< Nothing is to be done.
  create,  ///< Begin from the beginning: no container was ever started.
  start,   ///< Start the container that is there.
  attach,  ///< Go on following it.
  collect, ///< Read its log and its exit code.
  cancel,  ///< End the attempt as cancelled; a container that never ran is removed.
  lose,    ///< How it ended can't be known any more.
  remove,  ///< Nobody owns the container.
};
DAVIT_ENUM_TEXT(recovery_action, 8, "leave", "create", "start", "attach", "collect", "cancel", "lose", "remove")

struct recovery_facts {
  row_state row = row_state::claimed;
  container_state container = container_state::none;
  bool cancel_requested = false;
  bool same_engine = true; ///< The engine that answers has the id that the attempt was made for.
};

recovery_action decide_recovery(const recovery_facts& facts);

/// The engine's word for a container's state (created, running, paused, restarting, removing, exited, dead).
container_state container_state_of(const std::string& engine_word);

} // namespace davit
