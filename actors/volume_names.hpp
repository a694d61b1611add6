// The names that an owner's volumes have on the engine. Pure.
#pragma once

#include "messages/engine.hpp"
#include "policy/policy.hpp"

#include <map>
#include <optional>
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

/// The owner's volume that a volume of an engine is: davit has made it for this fleet, as its name and its labels say
/// alike. None: it is another's, or its name is a digest, which says neither owner nor name.
std::optional<volume_key> key_of_volume(const volume_summary& volume, const std::string& fleet);

/// Whether a volume of an engine is this owner's: davit has made it, under the name that it gives such a volume.
bool is_volume_of(const volume_summary& volume, const std::string& fleet, const volume_key& key);

/// The labels of an owner's volume, for the engine that makes it.
std::map<std::string, std::string> volume_labels(const std::string& fleet, const std::string& owner);

} // namespace davit
