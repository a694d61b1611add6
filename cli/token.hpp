// davit token: who may call an agent's API.
#pragma once

#include "messages/access.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace davit {

/// Keeps other davit token commands off a file while it is changed.
class file_lock {
public:
  /// Throws a command_failure.
  explicit file_lock(const std::filesystem::path& file);
  file_lock(const file_lock&) = delete;
  file_lock& operator=(const file_lock&) = delete;
  ~file_lock();

private:
  int fd_;
};

/// What --scope and --profile say; throw a command_failure.
std::vector<api_scope> read_scopes(const std::vector<std::string>& names);
std::optional<policy_profile> read_profile(const std::string& name);

/// What --ceiling and --shared-volume say of a token's tasks; none: nothing. Throw a command_failure.
std::optional<named_ceilings> read_ceiling_flags(const std::vector<std::string>& texts);
std::optional<std::vector<std::string>> read_volume_flags(const std::vector<std::string>& patterns);
/// What --cache-scope says. Throws a command_failure.
std::string read_scope_flag(const std::string& scope);

struct new_token_flags {
  std::string name, profile, owner;
  std::string expires; ///< A duration from now; empty: never.
  std::vector<std::string> scopes, ceilings, volumes;
  std::string cache_scope;
};

/// Makes a token, adds it to the file (which is made if it is not there), and prints it: the one time that it can be
/// seen. Throws a command_failure.
int create_token(const std::filesystem::path& file, const new_token_flags& flags);

int list_tokens(const std::filesystem::path& file, bool as_json);

/// Takes the token of this name, or id, from the file; agents notice within a second.
int revoke_token(const std::filesystem::path& file, const std::string& name);

} // namespace davit
