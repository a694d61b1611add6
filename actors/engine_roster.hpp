// The engines of an agent as its scheduler knows them, and what it offers of them. No CAF.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/attempt.hpp"
#include "messages/fleet.hpp"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace davit {

class engine_roster {
public:
  using busy_slots = std::function<std::uint32_t(const std::string& engine)>;
  using reason
    = std::function<std::string(const engine_status& engine)>; ///< Why it is given nothing; empty: it is not.

  /// Until a connection has told of itself, its engine is connecting.
  explicit engine_roster(const std::vector<engine_settings>& configured);

  const std::map<std::string, engine_status>& all() const { return engines_; }

  /// Of an engine that is not configured: `down`, with that reason.
  engine_status status_of(const std::string& name) const;

  /// What an operator should know before `now` is taken: other engines that are one with it, or have its id.
  std::vector<std::string> doubles_of(const engine_status& now) const;

  void update(const engine_status& now) { engines_[now.name] = now; }

  /// Its own disk is full; empty: it is not.
  std::string full_disk(const engine_status& engine) const;

  /// Whether the engine with this id has told of itself under some name.
  bool knows(const std::string& id) const;

  /// The ids of those that are ready.
  std::vector<std::string> reached() const;

  /// Those that are ready and have a free slot.
  std::vector<engine_offer> offers(const busy_slots& busy, const reason& blocked) const;

  /// As other agents are told.
  std::vector<agent_engine> described(const busy_slots& busy, const reason& blocked) const;

private:
  std::map<std::string, engine_status> engines_;
  std::map<std::string, byte_size> min_free_disk_;
};

} // namespace davit
