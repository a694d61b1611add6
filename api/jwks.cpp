#include "api/jwks.hpp"

#include "encoding/base64.hpp"
#include "json/read.hpp"

#include <algorithm>

namespace davit::api {

namespace {

/// A key as RFC 7517 (4) and RFC 7518 (6.2, 6.3) write it.
struct jwk {
  std::string kty, kid, alg, use, crv, n, e, x, y;
  std::vector<std::string> key_ops;
};

template <class Inspector>
bool inspect(Inspector& f, jwk& x) {
  return f.object(x).fields(f.field("kty", x.kty), f.field("kid", x.kid), f.field("alg", x.alg), f.field("use", x.use),
                            f.field("crv", x.crv), f.field("n", x.n), f.field("e", x.e), f.field("x", x.x),
                            f.field("y", x.y), f.field("key_ops", x.key_ops));
}

/// None: davit has no use for it.
std::optional<public_key> key_of(const jwk& one, std::string& why) {
  auto checks = one.key_ops.empty() || std::find(one.key_ops.begin(), one.key_ops.end(), "verify") != one.key_ops.end();
  auto is_rsa = one.kty == "RSA", is_p256 = one.kty == "EC" && one.crv == "P-256";
  std::string algorithm = is_rsa ? "RS256" : "ES256";
  if (one.kid.empty() || !checks || (!one.use.empty() && one.use != "sig") || (!is_rsa && !is_p256)
      || (!one.alg.empty() && one.alg != algorithm)) {
    why = "it has no key for RS256 or ES256 with an id";
    return std::nullopt;
  }
  auto first = encoding::base64url_decode_bare(is_rsa ? one.n : one.x),
       second = encoding::base64url_decode_bare(is_rsa ? one.e : one.y);
  if (!first || !second) {
    why = "a part of the key " + one.kid + " is not valid base64url";
    return std::nullopt;
  }
  return is_rsa ? public_key::rsa(*first, *second, why) : public_key::p256(*first, *second, why);
}

} // namespace

std::optional<key_set> key_set::parse(std::string_view text, std::string& why) {
  if (text.size() > most_bytes) {
    why = "it is longer than " + std::to_string(most_bytes) + " bytes";
    return std::nullopt;
  }
  json::parser parser;
  auto root = parser.parse(text);
  simdjson::dom::array keys;
  if (!root || (*root)["keys"].get_array().get(keys) != simdjson::SUCCESS) {
    why = "it is not a JSON Web Key Set";
    return std::nullopt;
  }
  if (keys.size() > most_keys) {
    why = "it has more than " + std::to_string(most_keys) + " keys";
    return std::nullopt;
  }
  key_set set;
  why = "it has no key";
  for (auto one : keys)
    if (auto read = json::read<jwk>(one, json::unknown_fields::ignore); !read)
      why = "a key is malformed: " + read.error().text();
    else if (auto key = key_of(*read, why))
      set.keys_.push_back({read->kid, std::move(*key)});
  if (set.keys_.empty())
    return std::nullopt;
  return set;
}

bool key_set::knows(const jwt& token) const {
  return std::any_of(keys_.begin(), keys_.end(), [&](const auto& one) { return one.id == token.key_id; });
}

bool key_set::verify(const jwt& token) const {
  return std::any_of(keys_.begin(), keys_.end(), [&](const auto& one) {
    return one.id == token.key_id && one.key.algorithm() == token.algorithm
        && one.key.verify(token.signed_part, token.signature);
  });
}

} // namespace davit::api
