// davit token mint: tokens that are signed, and the keys that sign them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace davit {

struct mint_flags {
  std::string key_file, config_file; ///< The configuration names the file, if no flag does.
  std::string name, owner, profile, expires, key_id;
  std::vector<std::string> scopes, labels; ///< `name=value` each.
  std::vector<std::string> ceilings, volumes;
  std::string cache_scope;
};

/// Adds `--ceiling`, `--shared-volume` and `--cache-scope`, of commands that make tokens.
void add_limit_options(CLI::App& command, std::vector<std::string>& ceilings, std::vector<std::string>& volumes,
                       std::string& cache_scope);

/// Adds `mint`, `create-key`, `list-keys` and `remove-key` to `davit token`.
void add_mint_commands(CLI::App& token, mint_flags& flags);

/// Does what the command line says, if it is one of these commands; the exit code. None: it is another. Throws a
/// command_failure.
std::optional<int> run_mint_command(const CLI::App& token, const mint_flags& flags);

} // namespace davit
