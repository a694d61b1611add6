// JSON Web Tokens in their compact form: RFC 7519, RFC 7515. Taking them apart; no keys.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace davit::api {

inline constexpr std::size_t longest_jwt = 8 * 1024;

/// A signed token, taken apart. Nothing that it says is true before its signature has been checked.
struct jwt {
  std::string algorithm; ///< `alg`, never empty.
  std::string key_id;    ///< `kid`; empty: it has none.
  std::string signed_part;
  std::string signature; ///< Bytes.
  std::string claims;    ///< JSON.

  /// None: `why` says what is wrong. Refuses what it does not understand: `crit`, a `typ` other than JWT and at+jwt,
  /// a header field that is given twice, base64 that could be written in another way. Keys and links to keys in the
  /// header are not looked at.
  static std::optional<jwt> parse(std::string_view text, std::string& why);
};

/// Whether a bearer token is to be read as one.
inline bool looks_like_jwt(std::string_view token) {
  return token.find('.') != std::string_view::npos;
}

/// The bytes that a signature is over: RFC 7515, 5.1. `claims` is JSON.
std::string jwt_signed_part(const std::string& algorithm, const std::string& key_id, const std::string& claims);

} // namespace davit::api
