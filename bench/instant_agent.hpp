// An agent's own actors (store keeper, log keeper, scheduler, executors) in this process, and engines that are actors:
// what davit itself does, and nothing else.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"
#include "transport/io_runtime.hpp"

#include <caf/actor_system.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace davit::bench {

/// An engine where every container exits with 0, as long after it was started as `takes`, and prints nothing. `made`
/// hears of each container (by its name) as it is made.
engine_actor spawn_instant_engine(caf::actor_system& system, duration takes = duration{0},
                                  std::function<void(const container_plan&)> made = {});

class instant_agent {
public:
  /// The settings' engines are answered for by these actors, one for each. `listener` may be none. Agents of one system
  /// share its `counters`.
  instant_agent(caf::actor_system& system, transport::io_runtime& io, std::shared_ptr<metrics> counters,
                agent_settings settings, std::vector<engine_actor> engines, event_listener listener);

  /// They are ready from now on.
  void engines_come();

  /// Whom to tell of what was committed here.
  void join(fleet_actor fleet);

  /// Ends it as a kill would: it says nothing to anybody.
  void kill();

  const directory& addresses() const { return addresses_; }
  const event_listener& listener() const { return listener_; }

private:
  void wire();
  caf::actor_system& system_;
  context_ptr context_;
  directory addresses_;
  event_listener listener_;
};

/// A new folder in /tmp.
std::string make_folder();

/// A task that does nothing.
task_spec spec_of_true();

double seconds_since(std::chrono::steady_clock::time_point begun);

double quantile(std::vector<double> values, double q);

} // namespace davit::bench
