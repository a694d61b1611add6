#include "actors/volume_reaping.hpp"

#include "actors/metrics.hpp"
#include "actors/volume_names.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace davit {

using namespace std::chrono_literals;

void volume_reaping::look(const std::vector<engine_status>& engines) {
  if (context_->settings.private_tasks) // its store sees little of what uses the engine
    return;
  auto now = std::chrono::steady_clock::now();
  for (const auto& settings : context_->settings.engines) {
    auto status
      = std::find_if(engines.begin(), engines.end(), [&](const auto& one) { return one.name == settings.name; });
    auto actor = handles_.engines.find(settings.name);
    if (settings.volume_gc_age.count() == 0 || status == engines.end() || status->state != engine_state::ready
        || actor == handles_.engines.end())
      continue;
    auto [looked, first] = looked_.try_emplace(settings.name, now);
    if (!first && now - looked->second < std::min<duration>(settings.volume_gc_age / 10, 10min))
      continue;
    looked->second = now;
    auto at = std::make_shared<view>();
    at->actor = actor->second;
    at->engine = settings.name;
    at->engine_id = status->info.id;
    at->age = settings.volume_gc_age;
    look_at(at);
  }
}

void volume_reaping::look_at(view_ptr at) {
  const auto& fleet = context_->settings.fleet;
  self_->request(at->actor, caf::infinite, volumes_atom_v, list_atom_v, std::vector{"davit.fleet=" + fleet})
    .then(
      [this, at, fleet](const std::vector<volume_summary>& volumes) {
        std::vector<volume_key> seen;
        for (const auto& one : volumes) {
          if (context_->policy->shares_volume(one.name))
            continue;
          at->volumes.emplace(one.name, one);
          if (auto key = key_of_volume(one, fleet))
            seen.push_back(std::move(*key));
        }
        next(at, std::move(seen));
      },
      [at](const caf::error& e) { spdlog::debug("engine {} does not list its volumes: {}", at->engine, text_of(e)); });
}

/// The store says which: it knows what uses them, whichever agent it was.
void volume_reaping::next(const view_ptr& at, std::vector<volume_key> seen) {
  if (at->left-- == 0 || !handles_.store)
    return;
  self_->request(handles_.store, caf::infinite, volumes_atom_v, at->engine_id, at->age, std::move(seen))
    .then(
      [this, at](const std::vector<volume_key>& unused) {
        for (const auto& key : unused)
          remove(at, key);
      },
      [](const caf::error& e) { spdlog::debug("the store does not say which volumes are unused: {}", text_of(e)); });
}

void volume_reaping::remove(const view_ptr& at, const volume_key& key) {
  const auto& fleet = context_->settings.fleet;
  auto name = owned_volume(fleet, key.owner, key.name);
  auto there = at->volumes.find(name);
  if (there == at->volumes.end()) // it was removed, or all owners share it: it needs no row
    return ended(at, key, true);
  if (!is_volume_of(there->second, fleet, key)) // somebody has made another under its name
    return ended(at, key, false);
  self_->request(at->actor, caf::infinite, volumes_atom_v, remove_atom_v, name)
    .then(
      [this, at, key, name](bool removed) {
        if (removed) {
          spdlog::info("removed the volume {} of {} from engine {}: it was unused for {}", name, key.owner, at->engine,
                       format_duration(at->age));
          context_->metrics->volume_removed();
        }
        ended(at, key, true);
      },
      [this, at, key, name](const caf::error& e) {
        if (engine_code(e) == engine_errc::conflict) // a container uses it
          ended(at, key, false);
        else // whether it was done is not known: the mark in the store runs out, and it is asked again
          spdlog::warn("the volume {} on engine {} could not be removed: {}", name, at->engine, text_of(e));
      });
}

void volume_reaping::ended(const view_ptr& at, const volume_key& key, bool gone) {
  self_->request(handles_.store, caf::infinite, volumes_atom_v, at->engine_id, key, gone)
    .then([this, at] { next(at, {}); },
          [](const caf::error& e) { spdlog::debug("the end of a volume was not stored: {}", text_of(e)); });
}

} // namespace davit
