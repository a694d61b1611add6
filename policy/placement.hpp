// Which engine takes a task, and why an engine does not. Pure.
#pragma once

#include "messages/attempt.hpp"
#include "messages/engine.hpp"
#include "messages/fleet.hpp"

#include <string>
#include <vector>

namespace davit {

/// Whether an engine carries all the labels that a task wants.
bool carries(const std::vector<std::string>& engine_labels, const std::vector<std::string>& wanted);

/// The offer that takes a task with these wishes: one of the engines that hold its image (by their ids) if any of them
/// can; among equals by the strategy, the first if it does not tell them apart; null if none can.
const engine_offer* choose_engine(const std::vector<engine_offer>& offers, const std::vector<std::string>& wanted,
                                  const std::vector<std::string>& holders = {},
                                  placement_strategy strategy = placement_strategy::spread);

/// Why a queued task is not on this engine: one sentence. Empty: nothing is in its way.
std::string why_not(const task_spec& spec, const engine_status& engine);

/// The same for an engine of another agent.
std::string why_not(const task_spec& spec, const agent_engine& engine);

/// The most that any engine which the task could go to lets it ask for; `otherwise` is for engines that name no
/// profile.
policy_profile
widest_profile(const std::vector<engine_settings>& engines, policy_profile otherwise, const task_spec& spec);

/// When the task is tried again after `number` attempts of which the last ended so; no value: it is not.
/// `draw` is a random number in [0, 1): the jitter takes up to half of the wait away, and never leaves the
/// policy's range.
std::optional<duration> retry_delay(const retry_policy& retry, std::int32_t number, outcome last, double draw);

} // namespace davit
