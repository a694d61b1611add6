// Errors that cross actors, besides the engines' own (engine.hpp).
#pragma once

#include "messages/text.hpp"

#include <cstdint>

namespace davit {

/// What can go wrong with the store.
enum class store_errc : std::uint8_t {
  none,
  unavailable, ///< The database can't be opened, read or written: locked, full, corrupt, of a newer davit.
  not_found,   ///< No such task.
  fenced,      ///< The attempt belongs to another incarnation, or has ended: the write is refused.
  conflict,    ///< The dedupe key is in use by a task with another spec; or what was begun was given up meanwhile.
  over_quota,  ///< The owner would have more than it may have.
  no_tree,     ///< The owner has no such tree of files.
};
DAVIT_ENUM_TEXT(store_errc, 7, "none", "unavailable", "not_found", "fenced", "conflict", "over_quota", "no_tree")

/// What can go wrong with a log.
enum class log_errc : std::uint8_t {
  none,
  unwritable, ///< The log's folder or disk does not take it.
  damaged,    ///< The file is not a log, or ends in the middle of a record that was acknowledged.
  stale,      ///< The batch comes from a source that was replaced.
  missing,    ///< Nothing of the log is kept, neither by this agent nor in the store.
};
DAVIT_ENUM_TEXT(log_errc, 5, "none", "unwritable", "damaged", "stale", "missing")

/// What can go wrong with files that come in or go out.
enum class files_errc : std::uint8_t {
  none,
  refused,    ///< What came breaks a rule, or is not what it is said to be.
  missing,    ///< There is no such tree, blob or upload.
  conflict,   ///< The next bytes of an upload begin elsewhere.
  full,       ///< The owner has as much as it may have, or the disk is full.
  busy,       ///< The owner has as many uploads under way as it may have.
  failed,     ///< Where the files lie can't be read or written now.
  lost,       ///< What a cache begins with can't be read any more; nobody will begin with it again.
  unprepared, ///< A tree that a container was made with is not whole: another container is to be made, without it.
};
DAVIT_ENUM_TEXT(files_errc, 9, "none", "refused", "missing", "conflict", "full", "busy", "failed", "lost", "unprepared")

/// What can go wrong between agents.
enum class fleet_errc : std::uint8_t {
  none,
  stranger,    ///< The peer belongs to another fleet, or speaks another version of the protocol.
  unreachable, ///< The agent is not connected at the moment, or is gone.
};
DAVIT_ENUM_TEXT(fleet_errc, 3, "none", "stranger", "unreachable")

} // namespace davit
