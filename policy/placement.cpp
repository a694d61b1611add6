#include "policy/placement.hpp"

#include "policy/profiles.hpp"

#include <algorithm>

namespace davit {

bool carries(const std::vector<std::string>& engine_labels, const std::vector<std::string>& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const std::string& label) {
    return std::find(engine_labels.begin(), engine_labels.end(), label) != engine_labels.end();
  });
}

const engine_offer* choose_engine(const std::vector<engine_offer>& offers, const std::vector<std::string>& wanted,
                                  const std::vector<std::string>& holders, placement_strategy strategy) {
  const engine_offer* best = nullptr;
  auto holds
    = [&](const engine_offer& one) { return std::find(holders.begin(), holders.end(), one.id) != holders.end(); };
  auto better = [&](const engine_offer& one) {
    if (!best || holds(one) != holds(*best))
      return !best || holds(one);
    // free/slots compared without dividing
    auto share = std::uint64_t{one.free} * best->slots, best_share = std::uint64_t{best->free} * one.slots;
    return strategy == placement_strategy::spread ? share > best_share : share < best_share;
  };
  for (const auto& one : offers)
    if (one.free != 0 && carries(one.labels, wanted) && better(one))
      best = &one;
  return best;
}

std::string why_not(const task_spec& spec, const engine_status& engine) {
  for (const auto& label : spec.engine.labels)
    if (!carries(engine.labels, {label}))
      return "does not have the label \"" + label + "\"";
  if (auto least = least_profile(spec); !least || *least > engine.profile)
    return "accepts only what the profile " + to_string(engine.profile) + " allows";
  if (engine.state != engine_state::ready)
    return "is " + to_string(engine.state) + (engine.message.empty() ? "" : ": " + engine.message);
  if (!engine.blocked.empty())
    return "takes no tasks: " + engine.blocked;
  if (engine.busy >= engine.slots)
    return "all its " + std::to_string(engine.slots) + " slots are taken";
  return {};
}

std::string why_not(const task_spec& spec, const agent_engine& engine) {
  engine_status status;
  status.name = engine.name;
  status.state = engine.state;
  status.message = engine.message;
  status.labels = engine.labels;
  status.slots = engine.slots;
  status.busy = engine.busy;
  status.blocked = engine.blocked;
  status.profile = engine.profile;
  return why_not(spec, status);
}

policy_profile
widest_profile(const std::vector<engine_settings>& engines, policy_profile otherwise, const task_spec& spec) {
  std::optional<policy_profile> widest;
  for (const auto& engine : engines)
    if (carries(engine.labels, spec.engine.labels))
      widest = std::max(widest.value_or(policy_profile::restricted), engine.profile.value_or(otherwise));
  return widest.value_or(otherwise);
}

std::optional<duration> retry_delay(const retry_policy& retry, std::int32_t number, outcome last, double draw) {
  if (number >= retry.attempts || std::find(retry.on.begin(), retry.on.end(), last) == retry.on.end())
    return std::nullopt;
  const std::int64_t least = retry.backoff.least.count();
  auto wait = least;
  for (std::int32_t i = 1; i < number && wait < retry.backoff.most.count(); ++i)
    wait *= 2;
  wait = std::min<std::int64_t>(wait, retry.backoff.most.count());
  // What was written holds: nobody waits less than the least. So the first wait has its jitter above itself.
  auto longest = std::min<std::int64_t>(std::max(wait, least + least / 2), retry.backoff.most.count());
  auto shortest = std::max(least, wait / 2);
  return duration{
    longest - static_cast<std::int64_t>(static_cast<double>(std::max<std::int64_t>(0, longest - shortest)) * draw)};
}

} // namespace davit
