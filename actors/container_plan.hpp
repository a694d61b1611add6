// What container an attempt wants. Pure.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/attempt.hpp"

namespace davit {

/// The name of an attempt's container.
std::string container_name(const attempt_key& key);

/// The container that a task's attempt wants; `spec` has been judged.
container_plan plan_container(const agent_settings& settings, const attempt_key& key, const task_spec& spec, const std::map<std::string, secret>& secrets);

} // namespace davit
