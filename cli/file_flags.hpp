// The flags of `davit run` and `davit submit` about files: what goes into a task, and what is kept of it.
#pragma once

#include "cli/client.hpp"
#include "messages/task.hpp"

#include <string>
#include <vector>

namespace davit {

/// `--input SOURCE[:/PATH]`, taken apart.
struct wanted_input {
  std::string source; ///< A folder or a file of this machine, or TASK/NAME: another task's output.
  std::string path;   ///< In the container.
};

/// Reads `--input`, `--output` and `--cache` into a spec, but for the inputs' trees. An input without a path goes to
/// the working directory, which is `/workspace` if the spec has none. Throws a command_failure.
std::vector<wanted_input> read_file_flags(const std::vector<std::string>& inputs,
                                          const std::vector<std::string>& outputs,
                                          const std::vector<std::string>& caches, task_spec& spec);

/// Whether a source that is not a folder or a file of this machine may be another task's output: UUID/NAME.
bool is_task_output(const std::string& source);

/// Makes the agent have the inputs, and writes their trees into the spec. What is there as a folder or a file is one;
/// else it is another task's output. Says on stderr what was left out. Throws a command_failure.
void send_inputs(api_client& client, const std::vector<wanted_input>& inputs, task_spec& spec, bool quiet);

/// Makes the folder of `--output-dir`, before a task runs for it. Throws a command_failure.
void make_output_dir(const std::string& folder);

} // namespace davit
