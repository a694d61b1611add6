// How an attempt's outcome follows from what is known of its container. Pure.
#pragma once

#include "messages/attempt.hpp"
#include "messages/engine.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace davit {

/// Why davit ends an attempt itself.
enum class ending : std::uint8_t { none, cancelled, timed_out, drained };
DAVIT_ENUM_TEXT(ending, 4, "none", "cancelled", "timed_out", "drained")

/// What is known when a container has ended.
struct container_facts {
  container_status status;
  ending wanted = ending::none;
  bool stopped_by_davit = false; ///< The engine said that davit's stop found it running.
  bool engine_restarted = false; ///< The engine may have been restarted since the container's start.
  bool live_restore = false;     ///< Its containers outlive it.
  bool start_remembered = false; ///< The engine's events still hold the start: it is the same process.
  std::optional<duration> timeout;
};

struct verdict {
  davit::outcome outcome = outcome::failed;
  std::optional<std::int64_t> exit_code; ///< The container's own, whatever the outcome; none if it is not known.
  std::string message;
  std::string note; ///< What was unclear, for the evidence.
};

/// The outcome of a container that has ended.
verdict judge_container(const container_facts& facts);

/// The outcome of a container that the engine could not start. `error` is the engine's own text; `engine_trouble`: the
/// failure is of the engine's making (it was restarted meanwhile, or trips over what it left behind), so that another
/// try may do.
verdict judge_start_failure(const container_status& status, const std::string& error, bool engine_trouble);

/// Whether a 5xx that the engine answers again and again while it answers others is of its own making: its disk, its
/// runtime, its shutdown. If not, what it was asked for can't be done: a working directory that is a file, for
/// instance.
bool is_engines_own(std::string_view error);

/// Whether an engine that could not start a container says that what the task asks for is not there.
bool is_tasks_own(std::string_view error);

/// True of the codes that a container has when its engine was shut down, or whoever stopped it: 137 and 143.
constexpr bool of_a_stop(std::int64_t exit_code) {
  return exit_code == 137 || exit_code == 143;
}

/// `killed by SIGKILL` for 137 and so on; empty for codes that name no signal.
std::string signal_text(std::int64_t exit_code);

} // namespace davit
