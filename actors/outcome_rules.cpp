#include "actors/outcome_rules.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <initializer_list>

namespace davit {

std::string signal_text(std::int64_t exit_code) {
  auto number = static_cast<int>(exit_code - 128);
  if (number < 1 || number > 64)
    return {};
  auto name = ::sigabbrev_np(number);
  return name ? std::string{"SIG"} + name : "signal " + std::to_string(number);
}

verdict judge_container(const container_facts& facts) {
  const auto& status = facts.status;
  verdict result;
  result.exit_code = status.exit_code;
  auto code = std::to_string(status.exit_code);
  // An engine that starts again finds its containers dead and reports 137, 255 or even 0 for them (moby#45788), and one
  // that is shut down ends them with SIGTERM first (143); what the process itself would have returned is then not
  // known. With live-restore the containers' shims have kept the code; where they have not, the engine says 255.
  auto doubtful
    = status.exit_code == 255
   || (!facts.live_restore && (status.exit_code == 0 || status.exit_code == 137 || status.exit_code == 143));
  auto unknown = facts.engine_restarted && doubtful && !facts.start_remembered && !status.oom_killed;
  // What davit stopped has ended by that, whatever has become of the engine since.
  if (facts.stopped_by_davit && facts.wanted != ending::none) {
    auto stopped
      = "davit stopped the container (" + (unknown ? "its exit code is not known" : "exit code " + code) + ")";
    if (unknown)
      result.exit_code.reset();
    if (facts.wanted == ending::timed_out) {
      result.outcome = outcome::timed_out;
      result.message = "the timeout" + (facts.timeout ? " of " + format_duration(*facts.timeout) : std::string{})
                     + " was over; " + stopped;
    } else if (facts.wanted == ending::cancelled) {
      result.outcome = outcome::cancelled;
      result.message = "cancelled; " + stopped;
    } else {
      result.outcome = outcome::agent_lost;
      result.message = "the agent was shut down; " + stopped;
    }
    return result;
  }
  if (unknown) {
    result.outcome = outcome::engine_lost;
    result.exit_code.reset();
    result.message
      = "the engine was restarted while the container ran; how it ended is not known (the engine now says exit code "
      + code + ")";
    result.note = "exit code " + code + " after an engine restart, not corroborated by an event: taken as unknown";
    return result;
  }
  if (facts.engine_restarted)
    result.note
      = facts.start_remembered
        ? "the connection was lost, but the engine still remembers the container's start: it was not restarted"
      : facts.live_restore
        ? "the engine may have been restarted; live-restore has kept the exit code"
        : "the engine may have been restarted; exit code " + code + " is not one that a restart produces";
  if (status.oom_killed && status.exit_code != 0) {
    result.outcome = outcome::oom_killed;
    result.message = "the kernel killed a process of the container for its memory limit (exit code " + code + ")";
    return result;
  }
  if (status.exit_code == 0) {
    result.outcome = outcome::succeeded;
    if (status.oom_killed)
      result.message = "exit code 0, though the kernel killed a process of the container for its memory limit";
    return result;
  }
  result.outcome = outcome::failed;
  result.message = "exit code " + code;
  if (auto name = signal_text(status.exit_code); !name.empty())
    result.message += " (as of " + name + ", which davit did not send)";
  if (!status.error.empty())
    result.message += ": " + status.error;
  return result;
}

namespace {

bool has_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view one) { return text.find(one) != std::string_view::npos; });
}

/// Of a machine in need, whoever it was that met it.
bool tells_of_need(std::string_view error) {
  return has_one_of(error, {"no space left on device", "disk quota exceeded", "input/output error",
                            "too many open files", "cannot allocate memory", "resource temporarily unavailable",
                            "device or resource busy", "broken pipe", "timeout", "timed out"});
}

/// The kernel, or systemd, says that a limit or a parent is not a possible one.
bool is_refused_by_cgroup(std::string_view why) {
  return has_one_of(why, {"invalid argument", "out of range", "nvalid slice name"})
      && !has_one_of(why, {"cgroup.procs", "subtree_control"});
}

} // namespace

bool is_tasks_own(std::string_view error) {
  if (error.find("memory limit too low") != error.npos) // whatever else broke with the process that was killed for it
    return true;
  // The runtime has got as far as the container's first process: what keeps that from starting is what was asked for,
  // unless the machine is in need.
  for (std::string_view started : {"unable to start container process: ", "starting container process caused: "}) {
    auto at = error.find(started);
    auto why = at == error.npos ? std::string_view{} : error.substr(at + started.size());
    if (!why.empty() && !tells_of_need(why)
        && !has_one_of(why, {"signal: ", "EOF", "connection re", "context ", "/ns/"})
        && (why.find("cgroup") == why.npos || is_refused_by_cgroup(why)))
      return true;
  }
  if (tells_of_need(error))
    return false;
  // The others are of what the engine itself makes of the task's options, before there is a process.
  return has_one_of(error, {"unable to find user", "unable to find group", "no matching entries in", "not a directory",
                            "is a directory", "too many levels of symbolic links", "must be in range",
                            "seccomp profile", "security-opt", "security option", "sysctl", "rlimit",
                            // devices
                            "device information while adding", "device cgroup rule", "CDI device",
                            "could not select device driver",
                            // namespaces, of containers that are not there, or that do not allow another option
                            "join IPC", "join PID", "non-shareable IPC", "invalid IPC mode", "invalid PID mode",
                            "invalid UTS mode", "invalid cgroup namespace mode", "private UTS namespace",
                            "private NET namespace", "user namespaces enabled, but",
                            // mounts
                            "is not a shared mount", "is not a shared or slave mount", "mount options conflict",
                            "error while creating mount source path",
                            // labels
                            "selinux label is specified"});
}

bool is_engines_own(std::string_view error) {
  // Of moby, containerd and the kernel, as seen on engines that are in trouble (20.10 to 28).
  return tells_of_need(error)
      || has_one_of(error,
                    {"read-only file system", "shutting down", "containerd", "shim", "ttrpc", "rpc error",
                     "connection refused", "connection reset", "transport is closing", "context deadline",
                     "context canceled", "layer does not exist", "database", "already exists", "marked for removal"});
}

verdict judge_start_failure(const container_status& status, const std::string& error, bool engine_trouble) {
  verdict result;
  result.outcome = outcome::failed;
  result.message = "the engine could not start the container: " + error;
  // The engine's own verdict on the command: 126 not executable, 127 not found; 128 is its word for "something else".
  if (status.exit_code == 126 || status.exit_code == 127)
    result.exit_code = status.exit_code;
  else if (engine_trouble)
    result.outcome = outcome::engine_lost;
  return result;
}

} // namespace davit
