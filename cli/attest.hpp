// `davit attest`, `davit verify` and `davit signing-key`: signed statements about tasks.
#pragma once

#include "cli/client.hpp"

#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace davit {

struct attest_flags {
  std::string task;
  std::string to;   ///< Of attest; empty or `-`: stdout.
  std::string file; ///< Of verify; `-`: stdin.
  std::vector<std::string> keys;
  std::vector<std::string> outputs; ///< `NAME=DIR`.
  std::string log;
  std::string about; ///< A task's id.
};

void add_attest_commands(CLI::App& app, attest_flags& flags);

/// Without an agent: the exit code, if the command is verify. 0: verified; 1: not, and stderr says why. Throws a
/// command_failure (125) for what can't be judged: an unreadable file, or no key.
std::optional<int> run_verify_command(const CLI::App& app, const attest_flags& flags);

/// True: the command was one of the others.
bool run_attest_command(api_client& client, const CLI::App& app, const attest_flags& flags, bool as_json);

} // namespace davit
