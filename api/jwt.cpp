#include "api/jwt.hpp"

#include "encoding/base64.hpp"
#include "json/read.hpp"
#include "json/write.hpp"

#include <algorithm>
#include <set>

namespace davit::api {

namespace {

bool is_known_type(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return text == "jwt" || text == "at+jwt" || text == "application/at+jwt"; // RFC 9068, 4
}

/// Reads the header's fields into the token; empty: done, else what is wrong.
std::string read_header(const std::string& text, jwt& token) {
  json::parser parser;
  auto root = parser.parse(text);
  simdjson::dom::object fields;
  if (!root || root->get_object().get(fields) != simdjson::SUCCESS)
    return "its header is not a JSON object";
  std::set<std::string_view> seen;
  std::string type;
  for (auto field : fields) {
    if (!seen.insert(field.key).second)
      return "its header has a field twice";
    if (field.key == "crit" || field.key == "b64" || field.key == "enc" || field.key == "zip")
      return "its header has \"" + std::string{field.key} + "\", which this agent does not understand";
    auto into = field.key == "alg" ? &token.algorithm
              : field.key == "kid" ? &token.key_id
              : field.key == "typ" ? &type
                                   : nullptr;
    std::string_view value;
    if (into && field.value.get_string().get(value) != simdjson::SUCCESS)
      return "its header's " + std::string{field.key} + " is not a text";
    if (into)
      *into = value;
  }
  if (token.algorithm.empty())
    return "its header has no alg";
  return type.empty() || is_known_type(type) ? "" : "it is a token of another type (" + type + ")";
}

} // namespace

std::optional<jwt> jwt::parse(std::string_view text, std::string& why) {
  if (text.size() > longest_jwt) {
    why = "it is longer than " + std::to_string(longest_jwt) + " bytes";
    return std::nullopt;
  }
  auto first = text.find('.'), second = first == std::string_view::npos ? first : text.find('.', first + 1);
  if (second == std::string_view::npos || text.find('.', second + 1) != std::string_view::npos) {
    why = "it does not have three parts";
    return std::nullopt;
  }
  auto header = encoding::base64url_decode_bare(text.substr(0, first)),
       claims = encoding::base64url_decode_bare(text.substr(first + 1, second - first - 1)),
       signature = encoding::base64url_decode_bare(text.substr(second + 1));
  if (!header || !claims || !signature || signature->empty()) {
    why = "a part of it is not valid base64url";
    return std::nullopt;
  }
  jwt token;
  why = read_header(*header, token);
  if (!why.empty())
    return std::nullopt;
  token.signed_part = text.substr(0, second);
  token.signature = std::move(*signature);
  token.claims = std::move(*claims);
  return token;
}

std::string jwt_signed_part(const std::string& algorithm, const std::string& key_id, const std::string& claims) {
  auto header = json::write(json::value{{"alg", algorithm}, {"kid", key_id}, {"typ", "JWT"}});
  return encoding::base64url_encode_bare(header) + '.' + encoding::base64url_encode_bare(claims);
}

} // namespace davit::api
