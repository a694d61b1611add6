// The flags that describe a task, with docker run's names.
#pragma once

#include "cli/client.hpp"
#include "messages/task.hpp"

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace davit {

/// What `run` and `submit` take from the command line, before it becomes a task spec.
struct task_flags {
  std::vector<std::string> secrets;
  std::vector<std::string> env, env_files, labels, engine_labels, mounts, tmpfs;
  std::vector<std::string> cap_add, cap_drop, devices, security_opt, sysctls, ulimits, group_add, add_hosts, dns;
  std::string pid, ipc, uts, userns, cgroupns, cgroup_parent, runtime, hostname, profile;
  std::string workdir, user, memory, shm, network, timeout, stop_timeout, pull, start, name, pull_timeout, file;
  std::vector<std::string> inputs, outputs, caches; ///< For read_file_flags().
  std::string cache_scope;
  std::optional<std::string> entrypoint; ///< Empty: the image's is not used.
  bool init = true;
  double cpus = 0;
  std::int64_t pids = 0;
  int priority = 0;
  std::optional<int> retry;
  bool interactive = false, tty = false, privileged = false, read_only = false, memo = false;
};

/// What a file or standard input may have: more than any submission.
inline constexpr std::size_t most_input = 8u << 20;

/// Reads to the end; throws a command_failure if there is more than `most` bytes, so that no endless input fills the
/// memory.
std::string read_all(std::istream& in, std::size_t most, const std::string& what);

void add_task_flags(CLI::App& app, task_flags& flags);

/// The words behind `run` or `submit`, with the flags in front of the image as CLI11 understands them, where docker's
/// command line is laxer:
/// `--flag=` as two words, the second one empty; `-f=value` without its `=`; no `--` before the image.
std::vector<std::string> as_docker_has_it(const CLI::App& command, std::vector<std::string> words);

duration read_duration(const std::string& text, const char* flag);

/// The body of a submission: the one place where secrets are written in clear.
std::string submission(const task_spec& spec);

/// The task that the flags describe; `rest` is the image, and the command behind it. Throws a command_failure.
task_spec make_spec(const task_flags& flags, std::vector<std::string> rest, const std::string& command);

} // namespace davit
