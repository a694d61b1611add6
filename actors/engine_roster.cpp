#include "actors/engine_roster.hpp"

#include "policy/profiles.hpp"
#include "transport/engine_client.hpp"

#include <algorithm>

namespace davit {

engine_roster::engine_roster(const std::vector<engine_settings>& configured) {
  for (const auto& one : configured) {
    auto& status = engines_[one.name];
    status.name = one.name;
    status.labels = one.labels;
    status.slots = one.slots;
    status.grace = one.grace;
    status.since = std::chrono::system_clock::now();
    min_free_disk_[one.name] = one.min_free_disk;
  }
}

engine_status engine_roster::status_of(const std::string& name) const {
  if (auto found = engines_.find(name); found != engines_.end())
    return found->second;
  engine_status unknown;
  unknown.name = name;
  unknown.state = engine_state::down;
  unknown.message = "it is not in the configuration";
  unknown.grace = std::chrono::seconds{10};
  return unknown;
}

std::vector<std::string> engine_roster::doubles_of(const engine_status& now) const {
  std::vector<std::string> sentences;
  auto known = engines_.find(now.name);
  if (now.info.id.empty() || (known != engines_.end() && known->second.info.id == now.info.id))
    return sentences;
  for (const auto& [name, other] : engines_) {
    if (name == now.name || other.info.id.empty())
      continue;
    auto both = "engines " + name + " and " + now.name;
    if (other.info.id == now.info.id)
      sentences.push_back(
        both + " are one and the same (" + now.info.id
        + "): its slots are counted twice. If they are two machines, one was cloned with its engine's data:"
          " remove the volume "
        + std::string{transport::engine_volume} + " from one of them");
    else if (other.info.reported_id == now.info.reported_id)
      sentences.push_back(
        both + " report the same id " + now.info.reported_id
        + " (machines that were cloned share /etc/docker/key.json); davit tells them apart by their volume "
        + std::string{transport::engine_volume});
  }
  return sentences;
}

std::string engine_roster::full_disk(const engine_status& engine) const {
  auto least = min_free_disk_.find(engine.name);
  if (least == min_free_disk_.end() || !engine.disk_free || *engine.disk_free >= least->second.bytes)
    return {};
  return "its disk (" + engine.info.data_root + ") has " + std::to_string(*engine.disk_free >> 20)
       + "m free, less than min-free-disk (" + to_string(least->second) + ")";
}

bool engine_roster::knows(const std::string& id) const {
  return std::any_of(engines_.begin(), engines_.end(),
                     [&](const auto& one) { return one.second.info.id == id || one.second.info.reported_id == id; });
}

std::vector<std::string> engine_roster::reached() const {
  std::vector<std::string> ids;
  for (const auto& [name, engine] : engines_)
    if (engine.state == engine_state::ready)
      ids.insert(ids.end(), {engine.info.id, engine.info.reported_id});
  return ids;
}

std::vector<engine_offer> engine_roster::offers(const busy_slots& busy, const reason& blocked) const {
  std::vector<engine_offer> list;
  for (const auto& [name, engine] : engines_) {
    auto taken = busy(name);
    if (engine.state != engine_state::ready || taken >= engine.slots || !blocked(engine).empty())
      continue;
    auto labels = labels_of(engine.profile);
    labels.insert(labels.end(), engine.labels.begin(), engine.labels.end());
    list.push_back({name, engine.info.id, std::move(labels), engine.slots, engine.slots - taken});
  }
  return list;
}

std::vector<agent_engine> engine_roster::described(const busy_slots& busy, const reason& blocked) const {
  std::vector<agent_engine> list;
  for (const auto& [name, engine] : engines_)
    list.push_back({name, engine.info.id, engine.state, engine.slots, busy(name), engine.labels, engine.profile,
                    engine.message, blocked(engine)});
  return list;
}

} // namespace davit
