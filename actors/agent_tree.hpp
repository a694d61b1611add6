// The actors of an agent: who is started in which order, in which subtree, and which handles each one uses.
#pragma once

#include "actors/supervisor.hpp"

namespace davit {

/// Starts the API's actor; given from above, as actors/ does not know api/.
using api_factory = std::function<api_actor(caf::actor_system&, context_ptr, api_handles)>;

/// How each actor is started. Tests put others in their places.
struct agent_spawns {
  std::function<store_actor()> store;
  std::function<log_actor()> logs;
  std::function<sink_actor(sink_settings, sink_handles)> sink;
  std::function<engine_actor(engine_settings, engine_handles)> engine;
  std::function<sandbox_actor(engine_settings, sandbox_handles)> sandboxes;
  std::function<scheduler_actor(scheduler_handles)> scheduler;
  std::function<reaper_actor(reaper_handles)> reaper;
  std::function<fetcher_actor(fetcher_handles)> fetcher;
  std::function<files_actor(files_handles)> files;
  std::function<fleet_actor(fleet_handles)> fleet;
  std::function<api_actor(api_handles)> api;
};

/// The actors of davit.
agent_spawns real_spawns(caf::actor_system& system, context_ptr context, api_factory api);

/// All actors of an agent with this context's settings:
/// - core: store_keeper, log_keeper, scheduler, api
/// - a subtree for each engine: engine_connection, sandbox_keeper. While it is suspended the engine is `down`, with the
/// reason.
/// - a subtree each for every sink, for the fleet, the file_keeper, the reaper and the image_fetcher
supervision_plan plan_agent(context_ptr context, agent_spawns spawns);

// What each actor uses of all that there are.
store_handles handles_of_store(const directory& all);
log_handles handles_of_logs(const directory& all);
sink_handles handles_of_sink(const directory& all);
engine_handles handles_of_engine(const directory& all, const std::string& name);
sandbox_handles handles_of_sandboxes(const directory& all, const std::string& engine);
scheduler_handles handles_of_scheduler(const directory& all);
reaper_handles handles_of_reaper(const directory& all);
fetcher_handles handles_of_fetcher(const directory& all);
files_handles handles_of_files(const directory& all);
fleet_handles handles_of_fleet(const directory& all);
api_handles handles_of_api(const directory& all);

} // namespace davit
