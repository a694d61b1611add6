// Where an agent can die. Programs that tests build define crash_point themselves (tests/chaos/crash_point.cpp) and end
// the process there with SIGKILL; davit's own does nothing.
#pragma once

#include <array>
#include <string_view>

namespace davit {

void crash_point(std::string_view where) noexcept;

/// All of them, in the order in which an attempt comes by. Each stands between an act and the knowledge of it.
inline constexpr std::array<std::string_view, 24> crash_points{
  "task accepted",     // durable, not answered
  "attempt claimed",   // durable, no executor yet
  "attempt judged",    // nothing asked of the engine
  "container asked",   // create is under way
  "container created", // the engine has answered
  "start announced",   // written down, not asked (at_most_once)
  "start asked",       // start is under way
  "container started", // the engine has answered
  "start recorded",    // written down
  "log followed",      // bytes may be under way
  "log written",       // some are on the disk
  "container ended",   // the engine says so, the rest of the log is not read
  "log closed",        // whole; the outcome is not stored
  "outcome asked",     // the store has it, or not
  "outcome stored",    // durable; the container is there
  "removal asked",     // remove is under way
  "container removed", // all is done but leaving
  "sandbox chosen",    // the sandbox has its own name still
  "sandbox taken",     // it has the attempt's name, and no task
  "hand-over asked",   // the task is on its way to it
  "task handed over",  // the engine has it
  "sandbox given up",  // nothing ran in it: it is removed, and nothing else is made yet
  "network chosen",    // it has its own name still, and its init waits
  "network taken",     // it has the attempt's name, and holds
};

/// Those of trees that an engine has ready: while one is made, and when a task is given one.
inline constexpr std::array<std::string_view, 6> prepared_crash_points{
  "tree volume made", // it is empty
  "tree unpacked",    // it is whole, and nothing says so
  "tree marked",      // it is said to be whole; davit does not know it
  "overlay made",     // for a task; its container is not made
  "prepared chosen",  // a container is about to be made with it
  "overlay taken",    // the container is there, with it, and was looked at
};

/// Those that only a task with files comes by: its inputs, its upload, its outputs.
inline constexpr std::array<std::string_view, 9> file_crash_points{
  "input asked",       // nothing is unpacked
  "input unpacked",    // one of them is
  "inputs unpacked",   // all are; the container is not started
  "output asked",      // the container has ended, the verdict is known
  "output collected",  // one of them is
  "outputs collected", // all are; the outcome is not stored
  "pack begun",        // written down; there is no object
  "pack committed",    // there is one; its blobs are not known
  "pack ended",        // they are; no tree names them
};

/// Of a task with a cache, in their order.
inline constexpr std::array<std::string_view, 6> cache_crash_points{
  "caches chosen",     // and written down
  "cache unpacked",    // one of them is
  "inputs unpacked",   // all of them are
  "output asked",      // what is left in them is to be kept
  "cache kept",        // one of them is
  "outputs collected", // all of them are
};

} // namespace davit
