#include "api/claims.hpp"

#include "json/read.hpp"

#include <algorithm>
#include <cmath>

namespace davit::api {

namespace {

using json::element;
using simdjson::SUCCESS;

constexpr int deepest = 8;

/// A text, a whole number or a truth value, as a text.
std::optional<std::string> scalar(element value) {
  if (std::string_view text; value.get_string().get(text) == SUCCESS)
    return std::string{text};
  if (std::int64_t number = 0; value.get_int64().get(number) == SUCCESS)
    return std::to_string(number);
  if (std::uint64_t number = 0; value.get_uint64().get(number) == SUCCESS)
    return std::to_string(number);
  if (bool flag = false; value.get_bool().get(flag) == SUCCESS)
    return flag ? "true" : "false";
  return std::nullopt;
}

/// Puts the claims of an object, and of those in it, under their paths. Empty: done, else what is wrong.
std::string collect(simdjson::dom::object from, const std::string& before, int depth, claim_map& into) {
  for (auto field : from) {
    auto name = before + std::string{field.key};
    claim one;
    simdjson::dom::object inner;
    simdjson::dom::array list;
    if (field.value.get_object().get(inner) == SUCCESS) {
      if (depth >= deepest)
        return "its claims lie too deep";
      if (auto wrong = collect(inner, name + '/', depth + 1, into); !wrong.empty())
        return wrong;
      continue;
    }
    one.is_list = field.value.get_array().get(list) == SUCCESS;
    if (one.is_list) {
      for (auto item : list)
        if (auto value = scalar(item))
          one.values.push_back(std::move(*value));
    } else if (auto value = scalar(field.value)) {
      one.values.push_back(std::move(*value));
    }
    if (!into.emplace(name, std::move(one)).second)
      return "it has the claim " + name + " twice";
  }
  return {};
}

/// A time (NumericDate: seconds, maybe with a fraction). False: the claim is there and is not a time.
bool read_time(simdjson::dom::object from, const char* name, std::optional<timestamp>& into) {
  element value;
  if (from.at_key(name).get(value) != SUCCESS)
    return true;
  double seconds = 0;
  if (value.get_double().get(seconds) != SUCCESS || !(seconds >= 0 && seconds < 8e9)) // nanoseconds end in 2262
    return false;
  into = timestamp{std::chrono::duration_cast<timestamp::duration>(std::chrono::duration<double>{std::floor(seconds)})};
  return true;
}

} // namespace

std::string token_claims::text(std::string_view name) const {
  auto found = all.find(name);
  auto is_one = found != all.end() && !found->second.is_list && found->second.values.size() == 1;
  return is_one ? found->second.values.front() : "";
}

bool token_claims::has(std::string_view name, std::string_view value) const {
  auto found = all.find(name);
  return found != all.end()
      && std::find(found->second.values.begin(), found->second.values.end(), value) != found->second.values.end();
}

std::optional<token_claims> token_claims::parse(std::string_view text, std::string& why) {
  json::parser parser;
  auto root = parser.parse(text);
  simdjson::dom::object fields;
  if (!root || root->get_object().get(fields) != SUCCESS) {
    why = "its claims are not a JSON object";
    return std::nullopt;
  }
  token_claims claims;
  why = collect(fields, "", 1, claims.all);
  if (!why.empty())
    return std::nullopt;
  if (!read_time(fields, "exp", claims.expires_at) || !read_time(fields, "nbf", claims.not_before)
      || !read_time(fields, "iat", claims.issued_at)) {
    why = "exp, nbf or iat is not a time";
    return std::nullopt;
  }
  return claims;
}

std::string wrong_times(const token_claims& claims, timestamp now) {
  if (!claims.expires_at)
    return "it has no exp";
  if (now >= *claims.expires_at + clock_leeway)
    return "it has expired";
  if (claims.not_before && now + clock_leeway < *claims.not_before)
    return "it is not valid yet (nbf)";
  if (claims.issued_at && now + clock_leeway < *claims.issued_at)
    return "it was made in the future (iat)";
  return {};
}

} // namespace davit::api
