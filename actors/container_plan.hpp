// What container an attempt wants. Pure.
#pragma once

#include "actors/agent_settings.hpp"
#include "messages/attempt.hpp"

namespace davit {

/// The secret that is a docker config.json for the task's own image, as GitLab's runners have it.
inline const std::string registry_secret = "DOCKER_AUTH_CONFIG";

/// The name of an attempt's container.
std::string container_name(const attempt_key& key);

/// The attempt of a container with this name; none if the name is not an attempt's.
std::optional<attempt_key> key_of_name(std::string_view name);

/// The container that a task's attempt wants; `spec` has been judged, and its volumes and labels are the container's.
container_plan plan_container(const agent_settings& settings, const attempt_key& key, const task_spec& spec,
                              const std::string& owner, const std::map<std::string, secret>& secrets);

/// What the engine would mount as /etc/hosts, for a container of a bare network: a tar, to be unpacked before the
/// start. Empty for all others.
std::string network_files(const container_plan& plan);

} // namespace davit
