// `davit caches`.
#pragma once

#include "cli/client.hpp"

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace davit {

struct cache_flags {
  std::string scope;
  std::vector<std::string> keys; ///< Of rm.
  bool by_prefix = false;
};

/// Adds `caches`, with `ls` and `rm`.
CLI::App* add_caches_command(CLI::App& app, cache_flags& flags);

/// Throws a command_failure; `rm` also if one of the keys is not there, when the others are removed.
void run_caches_command(api_client& client, const CLI::App& command, const cache_flags& flags, bool as_json);

} // namespace davit
