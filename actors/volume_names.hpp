// The names that an owner's volumes have on the engine. Pure.
#pragma once

#include "policy/policy.hpp"

#include <map>
#include <string>
#include <string_view>

namespace davit {

/// The volume on the engine that is an owner's volume `name`: `davit-FLEET-OWNER-NAME`. No two owners, fleets or names
/// share one, whatever characters they have: in FLEET and OWNER all but a-z and 0-9 are escaped, as `_` and two
/// hexadecimal digits. A name that is too long for an engine is `davit-` and a digest instead. davit's other volumes,
/// and all names that a task may write, are different.
std::string owned_volume(std::string_view fleet, std::string_view owner, std::string_view name);

/// Gives the volumes of a spec that was judged their names on the engine, but for those that all owners share
/// (`policy.volumes.allow`).
void own_volumes(task_spec& spec, const std::string& fleet, const std::string& owner, const policy& rules);

/// Whether a volume of a spec that went through `own_volumes` is its owner's.
bool is_owned(const mount& one);

/// The labels of an owner's volume, for the engine that makes it.
std::map<std::string, std::string> volume_labels(const std::string& fleet, const std::string& owner);

} // namespace davit
