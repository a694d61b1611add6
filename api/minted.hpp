// Tokens that are signed instead of kept in a file: `davit token mint` makes them, and an agent that has the key
// checks them.
#pragma once

#include "api/caller.hpp"
#include "api/jwt.hpp"

#include <filesystem>
#include <string_view>

namespace davit::api {

/// One key, for HMAC-SHA256 (RFC 7518, 3.2).
struct mint_key {
  std::string id;
  std::string key; ///< Base64, 32 bytes.
  timestamp created_at;
};

template <class Inspector>
bool inspect(Inspector& f, mint_key& x) {
  return f.object(x).fields(f.field("id", x.id), f.field("key", x.key), f.field("created_at", x.created_at));
}

/// The keys of a file: the last one signs, all of them check.
struct mint_key_list {
  std::vector<mint_key> keys;

  /// On trouble says in `error` what it is. A file that others may read is trouble too.
  static std::optional<mint_key_list> load(const std::filesystem::path& file, std::string& error);

  /// Empty: done; else what went wrong.
  std::string save(const std::filesystem::path& file) const;
};

template <class Inspector>
bool inspect(Inspector& f, mint_key_list& x) {
  return f.object(x).fields(f.field("keys", x.keys));
}

/// Throws std::runtime_error if the system has no random numbers to give.
mint_key make_mint_key();

/// What such a token says. A field that this davit does not know makes it void: it may be a limit.
struct minted_claims {
  static constexpr bool json_omits_empty = true;

  std::string iss, aud; ///< `davit` both.
  std::string sub;      ///< The token's name.
  std::string jti;      ///< Of this one token.
  std::int64_t iat = 0, exp = 0;
  std::string owner;
  std::vector<api_scope> scopes;
  std::optional<policy_profile> profile;
  task_labels labels;
  std::optional<named_ceilings> ceilings;                ///< As a listed token's.
  std::optional<std::vector<std::string>> volumes_allow; ///< As a listed token's.
  std::string cache_scope;                               ///< As a listed token's.

  static constexpr std::string_view issuer = "davit";
};

template <class Inspector>
bool inspect(Inspector& f, minted_claims& x) {
  return f.object(x).fields(f.field("iss", x.iss), f.field("aud", x.aud), f.field("sub", x.sub), f.field("jti", x.jti),
                            f.field("iat", x.iat), f.field("exp", x.exp), f.field("owner", x.owner),
                            f.field("scopes", x.scopes), f.field("profile", x.profile), f.field("labels", x.labels),
                            f.field("ceilings", x.ceilings), f.field("volumes_allow", x.volumes_allow),
                            f.field("cache_scope", x.cache_scope));
}

/// Why nobody may have a token that says this; empty: somebody may. Looks at no time.
std::string wrong_claims(const minted_claims& claims);

/// The token, signed.
std::string mint(const mint_key& key, const minted_claims& claims);

/// Whom a token stands for, if one of the keys has signed it, it has not expired, and was made for at most `longest`.
/// None: `why` says what is wrong with it.
std::optional<identity>
check_minted(const jwt& token, const mint_key_list& keys, duration longest, timestamp now, std::string& why);

/// Whether a text may be a token's name or owner: letters, digits, `.`, `_`, `-` and `@`.
bool is_plain_name(std::string_view text);

} // namespace davit::api
