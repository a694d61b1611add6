// The engine connection's part, played with a model of an engine: answers come late, or are lost before or after the
// effect, as chance has it.
#pragma once

#include "messages/actors.hpp"
#include "simulation/engine_model.hpp"

namespace davit::simulation {

/// How often something goes wrong with a call, and how long one takes at most.
struct call_faults {
  double lost_before = 0, lost_after = 0;
  nanoseconds most_delay{std::chrono::milliseconds{5}};
};

/// What the connections of all agents share.
struct engine_place {
  engine_model* model = nullptr;
  dice* chance = nullptr;
  engine_model::later at;
  const call_faults* faults = nullptr;
};

/// The way from one agent to one engine.
struct engine_link {
  bool cut = false;
  /// Looks at the engine and at the link. A stream that ends tells at once, and before what the next process answers.
  std::function<void()> look;
};

engine_actor spawn_model_connection(caf::actor_system& system, engine_settings settings, engine_place place,
                                    std::shared_ptr<engine_link> link, engine_handles handles);

} // namespace davit::simulation
