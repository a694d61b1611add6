// Removes named volumes that davit made and that were unused for long. A part of the reaper.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

#include <caf/scheduled_actor.hpp>

#include <chrono>
#include <map>
#include <string>

namespace davit {

class volume_reaping {
public:
  /// `self`: the actor that it belongs to. Both live as long as it does.
  volume_reaping(reaper_actor::pointer self, const context_ptr& context, const reaper_handles& handles)
    : self_(self), context_(context), handles_(handles) {}

  /// Looks at the ready engines whose time to be looked at has come.
  void look(const std::vector<engine_status>& engines);

private:
  /// One look at one engine.
  struct view {
    engine_actor actor;
    std::string engine, engine_id;
    duration age;
    std::map<std::string, volume_summary> volumes; ///< By name: those of this fleet.
    int left = 100;                                ///< Volumes that may still be removed.
  };
  using view_ptr = std::shared_ptr<view>;

  void look_at(view_ptr at);
  void next(const view_ptr& at, std::vector<volume_key> seen);
  void remove(const view_ptr& at, const volume_key& key);
  void ended(const view_ptr& at, const volume_key& key, bool gone);

  reaper_actor::pointer self_;
  const context_ptr& context_;
  const reaper_handles& handles_;
  std::map<std::string, std::chrono::steady_clock::time_point> looked_; ///< When, by engine.
};

} // namespace davit
