#include "api/minted.hpp"

#include "api/tokens.hpp"
#include "encoding/base64.hpp"
#include "encoding/digest.hpp"
#include "json/read.hpp"
#include "json/write.hpp"
#include "policy/cache_keys.hpp"
#include "secrets/random_bytes.hpp"
#include "secrets/secret_file.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cstring>

namespace davit::api {

namespace {

constexpr std::size_t key_bytes = 32; ///< Of a new key, and of any key at least (RFC 7518, 3.2).
constexpr std::int64_t leeway = 60;   ///< Seconds that the minting machine's clock may be ahead.

std::string hmac(std::string_view key, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), digest.data(), &size);
  return {reinterpret_cast<const char*>(digest.data()), size};
}

std::int64_t seconds(timestamp time) {
  return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}

/// Why the token is void at this time; empty: it is not.
std::string wrong_times(const minted_claims& claims, duration longest, timestamp now) {
  // No century is out of the range of nanoseconds.
  constexpr std::int64_t end_of_time = 8'000'000'000;
  if (claims.iat <= 0 || claims.exp <= claims.iat || claims.exp > end_of_time)
    return "its times are malformed";
  if (seconds(now) >= claims.exp)
    return "it has expired";
  if (claims.iat > seconds(now) + leeway)
    return "it was made in the future; compare the clocks of this machine and of the one that made it";
  if (claims.exp - claims.iat > std::chrono::duration_cast<std::chrono::seconds>(longest).count())
    return "it was made for longer than this agent allows (api.mint-lifetime is " + format_duration(longest) + ")";
  return {};
}

/// Where caches are kept, and answers found, of tasks that are bound to labels: apart from those of other labels.
std::string scope_of(const minted_claims& claims) {
  if (!claims.cache_scope.empty() || claims.labels.empty())
    return claims.cache_scope;
  return "label/" + encoding::sha256_hex(json::write(claims.labels)).substr(0, 32);
}

identity identity_of(const minted_claims& claims, const std::string& key_id) {
  identity known;
  known.who.name = "minted token " + claims.sub;
  for (const auto& [name, value] : claims.labels)
    known.who.name.append(" ").append(name).append("=").append(value);
  known.who.name += " (" + claims.jti + ", key " + key_id + ')';
  known.who.owner = claims.owner;
  known.who.scopes = claims.scopes;
  known.who.profile = claims.profile;
  known.who.limits = {"the minted token " + claims.sub, claims.ceilings.value_or(named_ceilings{}),
                      claims.volumes_allow, scope_of(claims)};
  known.who.labels = claims.labels;
  known.subject = "minted " + claims.owner + ' ' + claims.sub;
  known.expires_at = timestamp{std::chrono::seconds{claims.exp}};
  return known;
}

} // namespace

bool is_plain_name(std::string_view text) {
  return text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@")
      == std::string_view::npos;
}

std::optional<mint_key_list> mint_key_list::load(const std::filesystem::path& file, std::string& error) {
  auto content = secrets::read_secret_file(file, "davit token create-key", error);
  if (!content)
    return std::nullopt;
  auto list = json::read<mint_key_list>(std::string_view{*content}, json::unknown_fields::refuse);
  if (!list) {
    error = file.string() + " is not a valid list of keys: " + list.error().text();
    return std::nullopt;
  }
  for (const auto& one : list->keys)
    if (auto key = encoding::base64_decode(one.key); one.id.empty() || !key || key->size() < key_bytes) {
      error = file.string() + " is not a valid list of keys: each needs an id, and at least 32 bytes in base64";
      return std::nullopt;
    }
  return std::move(*list);
}

std::string mint_key_list::save(const std::filesystem::path& file) const {
  return secrets::write_secret_file(file, json::write(*this) + "\n");
}

mint_key make_mint_key() {
  return {encoding::hex(secrets::random_bytes(4)), encoding::base64_encode(secrets::random_bytes(key_bytes)),
          std::chrono::system_clock::now()};
}

std::string wrong_claims(const minted_claims& claims) {
  if (claims.sub.empty() || !is_plain_name(claims.sub))
    return "the token's name: letters, digits, dot, underscore, hyphen and @ only";
  if (claims.owner.empty() || !is_plain_name(claims.owner) || claims.owner == "loopback")
    return "the owner: letters, digits, dot, underscore, hyphen and @ only, and not \"loopback\"";
  if (claims.scopes.empty())
    return "it needs a scope";
  if (!claims.labels.empty()
      && std::find(claims.scopes.begin(), claims.scopes.end(), api_scope::admin) != claims.scopes.end())
    return "a token that is bound to a label can't have the scope admin";
  if (auto wrong = wrong_cache_scope(claims.cache_scope); !wrong.empty())
    return "the cache scope " + wrong;
  for (const auto& [name, value] : claims.labels)
    if (name.empty() || value.empty() || name.starts_with("davit."))
      return "a label needs a name, which does not begin with davit., and a value";
  return {};
}

std::string mint(const mint_key& key, const minted_claims& claims) {
  auto text = jwt_signed_part("HS256", key.id, json::write(claims));
  return text + '.' + encoding::base64url_encode_bare(hmac(encoding::base64_decode(key.key).value_or(""), text));
}

std::optional<identity>
check_minted(const jwt& token, const mint_key_list& keys, duration longest, timestamp now, std::string& why) {
  auto key = std::find_if(keys.keys.begin(), keys.keys.end(), [&](const auto& one) { return one.id == token.key_id; });
  auto secret = key == keys.keys.end() ? std::nullopt : encoding::base64_decode(key->key);
  // An algorithm by another name is refused even if its signature would do.
  if (token.algorithm != "HS256" || !secret || secret->size() < key_bytes) {
    why = "no key of this agent has signed it";
    return std::nullopt;
  }
  auto expected = hmac(*secret, token.signed_part);
  if (expected.size() != token.signature.size()
      || CRYPTO_memcmp(expected.data(), token.signature.data(), expected.size()) != 0) {
    why = "no key of this agent has signed it";
    return std::nullopt;
  }
  auto claims = json::read<minted_claims>(std::string_view{token.claims}, json::unknown_fields::refuse);
  if (!claims)
    why = "its claims are not understood: " + claims.error().text();
  else if (claims->iss != minted_claims::issuer || claims->aud != minted_claims::issuer)
    why = "it was not made for davit";
  else if (why = wrong_claims(*claims); why.empty())
    why = wrong_times(*claims, longest, now);
  if (!why.empty())
    return std::nullopt;
  return identity_of(*claims, key->id);
}

} // namespace davit::api
