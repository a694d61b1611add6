// davit token: who may call an agent's API.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace davit {

/// Makes a token, adds it to the file (which is made if it is not there), and prints it: the one time that it can be
/// seen. `expires`: a duration from now; empty: never. `owner`: whose tasks its tasks are; empty: the token's alone.
/// Throws a command_failure.
int create_token(const std::filesystem::path& file, const std::string& name,
                 const std::vector<std::string>& scope_names, const std::string& profile_name,
                 const std::string& expires, const std::string& owner);

int list_tokens(const std::filesystem::path& file, bool as_json);

/// Takes the token of this name, or id, from the file; agents notice within a second.
int revoke_token(const std::filesystem::path& file, const std::string& name);

} // namespace davit
