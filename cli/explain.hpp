// davit explain-policy: what would be allowed, refused and added, and by which rule.
#pragma once

#include "configuration/configuration.hpp"

#include <optional>
#include <string>

namespace davit {

/// Judges the task spec (JSON) as the agent of this configuration would, for its widest engine or for the profile that
/// is named, and for the token of this name if there is one, and prints the verdict. 0: allowed; 1: refused. Throws a
/// command_failure if it is not a valid task spec.
int explain_policy(const configuration& config, const std::string& text, std::optional<policy_profile> named,
                   const std::string& token, bool as_json);

} // namespace davit
