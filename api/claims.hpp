// What a token of an identity provider says: RFC 7519, 4.
#pragma once

#include "messages/units.hpp"
#include "policy/claims.hpp"

#include <optional>
#include <string>
#include <vector>

namespace davit::api {

struct token_claims {
  claim_map all; ///< Texts, numbers and truth values, also those in objects and lists.
  std::optional<timestamp> expires_at, not_before, issued_at;

  /// The value of a claim; empty: it is not there, or is a list.
  std::string text(std::string_view name) const;
  bool has(std::string_view name, std::string_view value) const;

  /// Reads JSON. None: `why` says what is wrong with it: a claim that is there twice, or a time that is not one.
  static std::optional<token_claims> parse(std::string_view text, std::string& why);
};

/// Why a token is void at this time, with a leeway for clocks that differ; empty: it is not.
std::string wrong_times(const token_claims& claims, timestamp now);

inline constexpr duration clock_leeway{60'000};

} // namespace davit::api
