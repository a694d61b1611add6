// `davit run`, `davit wait` and `davit logs -f`: following a task to its end.
#pragma once

#include "cli/client.hpp"
#include "messages/task.hpp"

#include <string>

namespace davit {

struct run_options {
  bool quiet = false;       ///< No progress, no closing remark.
  bool json = false;        ///< The finished task as JSON on stdout, behind its output on stderr.
  std::string output_dir{}; ///< Where its outputs are written when it has ended; empty: they are not.
};

/// Submits, follows, and returns the exit code that `davit run` ends with.
int run_task(api_client& client, const task_spec& spec, run_options options);

/// Follows (or prints) a log; `query` is the API's. Returns 0, or throws.
int print_logs(api_client& client, const std::string& id, const std::string& query);

/// The exit code of a command whose output could not be written, and a word on stderr: `error` is the write's errno.
/// When nobody reads any more (EPIPE), it is the one that a shell has for SIGPIPE, and nothing is said.
int unwritten_output(int error);

/// The exit code for a finished task.
int exit_code_of(const task& finished);

} // namespace davit
