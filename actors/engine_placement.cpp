#include "actors/engine_placement.hpp"

#include <algorithm>
#include <tuple>

namespace davit {

namespace {

constexpr std::string_view stand_in_words = "no engine with the id ";

bool answers(const engine_status& one) {
  return one.state == engine_state::ready || one.state == engine_state::degraded;
}

engine_status
stand_in(const std::map<std::string, engine_status>& engines, const std::string& name, const std::string& id) {
  engine_status none;
  none.name = name;
  std::string silent;
  for (const auto& [other, one] : engines) {
    if (answers(one))
      continue;
    none.grace = std::max(none.grace, one.grace);
    silent += (silent.empty() ? "" : ", ") + other;
  }
  none.message = std::string{stand_in_words} + id;
  if (silent.empty())
    none.message += " is configured; the attempt was made on it when it was called " + name;
  else
    none.message += " has answered; the attempt was made on it when it was called " + name
                  + " (what has not answered: " + silent + ")";
  return none;
}

} // namespace

bool may_be(const engine_status& engine, const std::string& id) {
  // An older davit took the id that the engine reports.
  return id.empty() || engine.info.id.empty() || id == engine.info.id || id == engine.info.reported_id;
}

engine_status
engine_for(const std::map<std::string, engine_status>& engines, const std::string& name, const std::string& id) {
  auto own = engines.find(name);
  // Clones report one id, and two names may lead to one engine.
  auto rank = [&](const engine_status& one) {
    return std::tuple{one.info.id == id, one.state == engine_state::ready, one.name == name};
  };
  const engine_status* best = nullptr;
  for (const auto& [other, one] : engines)
    if (!one.info.id.empty() && may_be(one, id) && (!best || rank(one) > rank(*best)))
      best = &one;
  if (best)
    return *best;
  if (own != engines.end() && own->second.info.id.empty())
    return own->second;
  auto all_answer = std::all_of(engines.begin(), engines.end(), [](const auto& one) { return answers(one.second); });
  return own != engines.end() && all_answer ? own->second : stand_in(engines, name, id);
}

bool is_stand_in(const engine_status& engine) {
  return engine.info.id.empty() && engine.message.starts_with(stand_in_words);
}

} // namespace davit
