// Who may do what with the API.
#pragma once

#include "messages/ceilings.hpp"
#include "messages/task.hpp"

#include <optional>
#include <string>
#include <vector>

namespace davit {

/// What a caller may do: `submit`, `read` and `cancel` with tasks of its own owner, `read:all` and `cancel:all` (which
/// include `read` and `cancel`) with those of all. `metrics`: read the agent's metrics, which count everybody's tasks;
/// `read:all` includes it. `admin` includes the others.
enum class api_scope : std::uint8_t { submit, read, cancel, admin, read_all, cancel_all, metrics };
DAVIT_ENUM_TEXT(api_scope, 7, "submit", "read", "cancel", "admin", "read:all", "cancel:all", "metrics")

/// One token, as the file has it: what is shown to the API is `davit_<id>_<secret>`, and only the id and a salted
/// SHA-256 of the secret (256 random bits) are kept.
struct api_token {
  static constexpr bool json_omits_empty = true;

  std::string id;
  std::string name;
  std::vector<api_scope> scopes;
  std::optional<policy_profile> profile; ///< The widest profile that its tasks may use.
  std::string salt;                      ///< Base64.
  std::string hash;                      ///< Base64.
  timestamp created_at;
  std::optional<timestamp> expires_at;
  std::string owner;                                     ///< Whose tasks its tasks are; empty: the token's alone.
  std::optional<named_ceilings> ceilings;                ///< Of its tasks, where they are lower than the policy's.
  std::optional<std::vector<std::string>> volumes_allow; ///< RE2: of the volumes that all share, those it may use.
  std::string cache_scope;                               ///< Its tasks keep caches in it or below; empty: anywhere.
};

template <class Inspector>
bool inspect(Inspector& f, api_token& x) {
  return f.object(x).fields(f.field("id", x.id), f.field("name", x.name), f.field("scopes", x.scopes),
                            f.field("profile", x.profile), f.field("salt", x.salt), f.field("hash", x.hash),
                            f.field("created_at", x.created_at), f.field("expires_at", x.expires_at),
                            f.field("owner", x.owner), f.field("ceilings", x.ceilings),
                            f.field("volumes_allow", x.volumes_allow), f.field("cache_scope", x.cache_scope));
}

/// One group of `davit.api.issuers`: an identity provider whose tokens (OpenID Connect) let callers in.
struct issuer_settings {
  std::string name;
  std::string issuer;         ///< What the tokens' claim `iss` must be.
  std::string audience;       ///< What their claim `aud` must be, or contain.
  std::string jwks_file;      ///< File with its keys (RFC 7517), or
  std::string jwks_url;       ///< where to fetch them.
  std::string tls_ca;         ///< PEM file: the authority that signs the URL's certificate; empty: the system's.
  std::string owner{"{sub}"}; ///< Of its tasks, behind the group's name and a slash: a template over the claims.
  std::vector<api_scope> scopes{api_scope::submit, api_scope::read, api_scope::cancel};
  std::optional<policy_profile> profile; ///< The widest profile that its tasks may use.
  std::vector<std::string> require;      ///< `claim=pattern`: all must hold.
  std::vector<std::string> ceilings;     ///< `memory=4g`: of its tasks, where they are lower than the policy's.
  std::string cache_scope;               ///< Its tasks keep caches in it or below; empty: anywhere.
};

/// The `davit.api` group of the configuration, without the listen address.
struct access_settings {
  std::string tokens_file;                    ///< Empty: no token is listed.
  std::string mint_key;                       ///< File with the keys of minted tokens; empty: there are none.
  duration mint_lifetime{24LL * 3600 * 1000}; ///< Of a minted token, at most.
  std::vector<issuer_settings> issuers;       ///< In the order of their names.
  std::string tls_certificate, tls_key;       ///< PEM files; empty: no TLS.
  std::string tls_client_ca;                  ///< PEM file; clients need a certificate that this authority has signed.
  std::vector<api_scope> local_scopes{
    api_scope::admin};       ///< For callers without a token, on the unix socket or (without tokens) on loopback.
  double rate_limit = 200;   ///< Requests per second and token; 0: any number.
  bool open_metrics = false; ///< /metrics needs no token.
  std::string audit_log;     ///< File; empty: audit.log in the data directory.

  /// Whether callers can have tokens at all; if so, those from afar and from loopback need one.
  bool knows_tokens() const { return !tokens_file.empty() || !mint_key.empty() || !issuers.empty(); }
};

} // namespace davit
