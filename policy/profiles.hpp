// What each profile lets a task ask for, after Kubernetes' Pod Security Standards. Pure, and without any settings.
#pragma once

#include "messages/task.hpp"

#include <optional>
#include <string>
#include <vector>

namespace davit {

/// One thing that a task may not have.
struct violation {
  std::string rule;    ///< Stable name, such as `mounts.bind`: see docs/security.md.
  std::string field;   ///< Of the task spec.
  std::string message; ///< For people: what, why, what to do.
};

template <class Inspector>
bool inspect(Inspector& f, violation& x) {
  return f.object(x).fields(f.field("rule", x.rule), f.field("field", x.field), f.field("message", x.message));
}

/// One thing that the policy adds where the task says nothing.
struct addition {
  std::string rule;
  std::string field;
  std::string value;
};

template <class Inspector>
bool inspect(Inspector& f, addition& x) {
  return f.object(x).fields(f.field("rule", x.rule), f.field("field", x.field), f.field("value", x.value));
}

/// What the profile does not allow; and what no profile does, such as a mount of the engine's own socket or a value
/// that no engine would take.
std::vector<violation> check_profile(policy_profile profile, const task_spec& spec);

/// Fills in what the profile wants and the task leaves open, and tells what.
std::vector<addition> apply_profile(policy_profile profile, task_spec& spec);

/// The strictest profile that allows the task; none: no profile does.
std::optional<policy_profile> least_profile(const task_spec& spec);

/// The profiles as labels, which engines carry and tasks want beside their own: an engine carries those of the profiles
/// that it allows, a task wants that of the strictest one that allows it. No label of a user's begins like this.
std::vector<std::string> labels_of(policy_profile allowed);
std::string label_wanted(const task_spec& spec);
std::string label_of(policy_profile profile);

} // namespace davit
