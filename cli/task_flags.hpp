// The flags that describe a task, with docker run's names.
#pragma once

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
  std::string workdir, user, entrypoint, memory, shm, network, timeout, stop_timeout, pull, start, name, pull_timeout, file;
  double cpus = 0;
  std::int64_t pids = 0;
  int priority = 0;
  int retry = 0;
  bool interactive = false, tty = false, privileged = false, read_only = false;
};

/// Throws a command_failure with exit code 125, as docker does for what it can't make sense of.
[[noreturn]] void usage(std::string message);

void add_task_flags(CLI::App& app, task_flags& flags);

duration read_duration(const std::string& text, const char* flag);

/// The body of a submission: the one place where secrets are written in clear.
std::string submission(const task_spec& spec);

/// The task that the flags describe; `rest` is the image, and the command behind it. Throws a command_failure.
task_spec make_spec(const task_flags& flags, std::vector<std::string> rest);

} // namespace davit
