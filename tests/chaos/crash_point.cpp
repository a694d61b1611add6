// In place of davit's own: ends the process with SIGKILL where DAVIT_CRASH_AT says so; not before the file
// DAVIT_CRASH_IF is there, if it is named.
#include "actors/crash_point.hpp"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <unistd.h>

namespace davit {

void crash_point(std::string_view where) noexcept {
  static const char* const chosen = std::getenv("DAVIT_CRASH_AT");
  if (!chosen || where != chosen)
    return;
  static const char* const file = std::getenv("DAVIT_CRASH_IF");
  if (file && ::access(file, F_OK) != 0)
    return;
  // What was asked goes out on another thread: let it, so that the answer is what is lost.
  if (where.ends_with("asked"))
    std::this_thread::sleep_for(std::chrono::milliseconds{30});
  ::kill(::getpid(), SIGKILL);
}

} // namespace davit
