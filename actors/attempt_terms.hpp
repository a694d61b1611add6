// What an attempt's row says of it while it runs, beside where: as its message, for people and for whoever takes the
// attempt up again.
#pragma once

#include "actors/outcome_rules.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace davit {

struct attempt_terms {
  std::optional<duration> timeout; ///< Of the policy, when the task was started; none: as the task says, if it does.
  bool input = false;              ///< Its standard input is being passed on.
  ending stop = ending::none;      ///< Why davit stops its container.

  bool operator==(const attempt_terms&) const = default;
};

/// `timeout 1h (policy)`, `standard input under way`, `stopping (drained)`, with `; ` between them, or nothing.
std::string text_of(const attempt_terms& terms);

/// What can't be read says nothing.
attempt_terms terms_of(std::string_view text);

} // namespace davit
