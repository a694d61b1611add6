// On which engine an attempt goes on: the one that has its engine's id, whatever the configuration calls it now. Pure.
#pragma once

#include "messages/engine.hpp"

#include <map>
#include <string>

namespace davit {

/// Whether the engine may be the one with this id: it has not told its own yet, or there is none to compare.
bool may_be(const engine_status& engine, const std::string& id);

/// What an attempt that was made on the engine `name` with this id is to know of its engine. If no engine has told that
/// it has this id, and `name` has told another or is not configured, that is a stand-in: it has the attempt's name for
/// the engine and no id, never answers, and has as much grace as the engines that have not answered; none if all have.
engine_status
engine_for(const std::map<std::string, engine_status>& engines, const std::string& name, const std::string& id);

/// Its message says which engine it stands for, and why it does.
bool is_stand_in(const engine_status& engine);

} // namespace davit
