#include "policy/placement.hpp"

#include <algorithm>

namespace davit {

bool carries(const std::vector<std::string>& engine_labels, const std::vector<std::string>& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const std::string& label) {
    return std::find(engine_labels.begin(), engine_labels.end(), label) != engine_labels.end();
  });
}

const engine_offer* choose_engine(const std::vector<engine_offer>& offers, const std::vector<std::string>& wanted) {
  const engine_offer* best = nullptr;
  for (const auto& one : offers) {
    if (one.free == 0 || !carries(one.labels, wanted))
      continue;
    // free/slots compared without dividing
    if (!best || std::uint64_t{one.free} * best->slots > std::uint64_t{best->free} * one.slots)
      best = &one;
  }
  return best;
}

std::string why_not(const task_spec& spec, const engine_status& engine) {
  for (const auto& label : spec.engine.labels)
    if (!carries(engine.labels, {label}))
      return "does not carry the label \"" + label + "\"";
  if (engine.state != engine_state::ready)
    return "is " + to_string(engine.state) + (engine.message.empty() ? "" : ": " + engine.message);
  if (!engine.blocked.empty())
    return "is given nothing: " + engine.blocked;
  if (engine.busy >= engine.slots)
    return "all its " + std::to_string(engine.slots) + " slots are taken";
  return {};
}

std::optional<duration> retry_delay(const retry_policy& retry, std::int32_t number, outcome last, double draw) {
  if (number >= retry.attempts || std::find(retry.on.begin(), retry.on.end(), last) == retry.on.end())
    return std::nullopt;
  auto wait = retry.backoff.least.count();
  for (std::int32_t i = 1; i < number && wait < retry.backoff.most.count(); ++i)
    wait *= 2;
  wait = std::min<std::int64_t>(wait, retry.backoff.most.count());
  return duration{wait - static_cast<std::int64_t>(static_cast<double>(wait) / 2 * draw)};
}

} // namespace davit
