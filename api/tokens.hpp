// The API's bearer tokens: made by `davit token`, kept in a file as salted hashes.
#pragma once

#include "messages/access.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace davit {

struct new_token {
  api_token entry;
  std::string text; ///< What is shown once.
};

/// Throws std::runtime_error if the system has no random numbers to give.
new_token make_token(std::string name, std::vector<api_scope> scopes, std::optional<policy_profile> profile,
                     std::optional<timestamp> expires_at, std::string owner = {},
                     std::optional<named_ceilings> ceilings = {},
                     std::optional<std::vector<std::string>> volumes_allow = {}, std::string cache_scope = {});

bool allows(const std::vector<api_scope>& scopes, api_scope wanted);

class token_list {
public:
  /// Reads the file; on trouble says in `error` what it is. A file that others may read is trouble too.
  static std::optional<token_list> load(const std::filesystem::path& file, std::string& error);

  /// Writes it so that a reader sees the old or the new one, with mode 0600. Empty: done; else what went wrong.
  std::string save(const std::filesystem::path& file) const;

  /// The token that was presented, if there is such a one and it has not expired. Takes the same time for every wrong
  /// secret.
  const api_token* find(std::string_view presented, timestamp now) const;

  std::vector<api_token> tokens;
};

template <class Inspector>
bool inspect(Inspector& f, token_list& x) {
  return f.object(x).fields(f.field("tokens", x.tokens));
}

} // namespace davit
