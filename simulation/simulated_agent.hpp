// One agent of a simulation: an actor system, whose scheduler and clock are run by hand.
#pragma once

#include "actors/agent_context.hpp"
#include "configuration/configuration.hpp"
#include "messages/actors.hpp"
#include "simulation/model_connection.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include <map>
#include <memory>
#include <string>

namespace davit::simulation {

struct by_hand : caf::actor_system_config {
  by_hand() {
    static caf_configuration knows_types; // the first one tells CAF of davit's messages
    set("caf.scheduler.policy", "testing");
  }
};

/// A process: what it has in memory goes with it.
struct simulated_agent {
  std::size_t number = 0;
  by_hand config;
  caf::actor_system system{config};
  caf::scheduler::test_coordinator& coordinator = dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  context_ptr context;
  supervisor_actor supervisor;
  store_actor store;
  log_actor logs;
  std::map<std::string, caf::actor> actors; ///< By name.
  std::map<std::string, std::shared_ptr<engine_link>> links;
  bool frozen = false, ended = false;

  bool runs() const { return !frozen && !ended; }
  auto& clock() { return coordinator.clock(); }
};

} // namespace davit::simulation
