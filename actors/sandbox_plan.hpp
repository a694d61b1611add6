// Which tasks can be run in a sandbox that was made ahead, and what such a sandbox is. Pure.
#pragma once

#include "actors/agent_settings.hpp"
#include "messages/engine.hpp"

namespace davit {

/// How long a sandbox waits for a task before its init ends it. (Its keeper replaces it sooner.)
inline constexpr std::chrono::seconds sandbox_patience{3600};

/// Names of containers that are not, or not yet, a task's begin so.
inline constexpr std::string_view sandbox_prefix = "davit-sandbox-", network_prefix = "davit-network-",
                                  carrier_prefix = "davit-init-";

/// Behind the name of an attempt's container: the one whose network it has joined.
inline constexpr std::string_view network_suffix = "-net";

/// Why a task has to have a container made for it; empty if a sandbox would do as well.
std::string why_cold(const task_spec& spec, const engine_settings& settings, const engine_info& engine);

/// What two plans have in common if a sandbox for one does for the other: all that is fixed when a container is made.
std::string sandbox_kind(const container_plan& of_task);

/// The sandbox for tasks that want this container, with the nonce of its init, whose public half names it.
container_plan sandbox_plan(const agent_settings& settings, const container_plan& of_task, const std::string& nonce);

/// Whether the container could as well join a network that was made before it.
bool can_join(const container_plan& of_task);

/// The container, without its name, whose network such a task's container can join. It needs an image only to be one:
/// any will do.
container_plan network_plan(const container_plan& of_task);

/// The task's container in the network of another.
container_plan joined(container_plan of_task, const std::string& other);

/// Why the command of a task is its container's first process; empty: davit's init is.
std::string why_no_init(const task_spec& spec, const engine_info& engine);

/// Whether such a task has power over its container's first process, whoever's that is: it can read its memory, or
/// change it. Then the init's word is the task's own.
bool reaches_init(const task_spec& spec);

/// The task's container with davit's init as its first process; of an image that has been looked up, and has a command
/// if the plan has none.
container_plan with_init(container_plan plan, const image_info& image, const std::string& nonce);

/// Whether the kernel may find the container's arguments and variables too much for one program; how much it takes
/// depends on the stack's limit.
bool may_be_too_long(const container_plan& plan);

/// What is unpacked into a sandbox before its start: what its init can't write itself.
std::string sandbox_files(const container_plan& plan, const image_info& image);

/// Of a container with davit's init: where in `/` something is mounted that others can reach too. Such a mount may come
/// before the init's own. If the image has a link to `/` there, the init's folder is made in what is mounted, where
/// others see its name.
std::vector<std::string> targets_in_root(const container_plan& plan);

/// A container, never started, to look into an image by, or to carry something into a volume.
container_plan never_started(const agent_settings& settings, const std::string& image);

/// The container, never started, that the init is carried into its volume by: its only mount.
container_plan init_carrier(const agent_settings& settings, const std::string& volume, const std::string& image);

/// What the engine would execute: the image's own words fill in for those that the plan leaves out. Empty: there is no
/// command.
std::vector<std::string> arguments_of(const container_plan& of_task, const image_info& image);

} // namespace davit
