// The handles that each actor uses. A part of actors.hpp, whose types they are of: include that.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace davit {

/// The live executors, by attempt.
struct live_executors {
  std::map<attempt_key, executor_actor> executors;
};

struct store_handles {
  std::vector<event_listener> listeners;
  fleet_actor fleet; ///< None where there are no peers.
  bool operator==(const store_handles&) const = default;
};

struct log_handles {
  store_actor store;
  std::map<std::string, sink_actor> sinks; ///< By name.
  bool operator==(const log_handles&) const = default;
};

struct sink_handles {
  store_actor store;
  log_actor logs;
  bool operator==(const sink_handles&) const = default;
};

struct engine_handles {
  scheduler_actor scheduler;
  sandbox_actor sandboxes; ///< Of the same engine.
  log_actor logs;
  bool operator==(const engine_handles&) const = default;
};

struct sandbox_handles {
  engine_actor engine; ///< The one that it keeps sandboxes on.
  bool operator==(const sandbox_handles&) const = default;
};

struct files_handles {
  store_actor store;
  std::map<std::string, engine_actor> engines; ///< By name.
  bool operator==(const files_handles&) const = default;
};

struct executor_handles {
  store_actor store;
  log_actor logs;
  scheduler_actor scheduler;
  files_actor files;
  std::map<std::string, engine_actor> engines; ///< By name, as the next.
  std::map<std::string, sandbox_actor> sandboxes;
  bool operator==(const executor_handles&) const = default;
};

/// How far an agent's end has come; it never goes back.
enum class drain_stage : std::uint8_t {
  none,
  draining, ///< It claims nothing more.
  stopping, ///< It stops what still runs.
};

/// What it uses, and gives to its executors.
struct scheduler_handles : executor_handles {
  drain_stage stage = drain_stage::none;
  bool operator==(const scheduler_handles&) const = default;
};

struct fetcher_handles {
  store_actor store;
  scheduler_actor scheduler;
  std::map<std::string, engine_actor> engines; ///< By name.
  bool operator==(const fetcher_handles&) const = default;
};

struct reaper_handles {
  store_actor store;
  log_actor logs;
  scheduler_actor scheduler;
  std::map<std::string, engine_actor> engines; ///< By name.
  bool operator==(const reaper_handles&) const = default;
};

/// For the fleet, and for the peer that speaks for it.
struct fleet_handles {
  store_actor store;
  log_actor logs;
  supervisor_actor supervisor; ///< Whom to ask for a drain.
  bool operator==(const fleet_handles&) const = default;
};

struct api_handles {
  store_actor store;
  log_actor logs;
  scheduler_actor scheduler;
  files_actor files;
  fleet_actor fleet;                           ///< None where there are no peers.
  supervisor_actor supervisor;                 ///< Whom to ask for a drain.
  std::map<std::string, engine_actor> engines; ///< By name, as the next.
  std::map<std::string, sink_actor> sinks;
  std::map<std::string, std::string> suspended; ///< The reason for each suspended subtree ("sink s").
  bool draining = false;
  bool operator==(const api_handles&) const = default;
};

/// All actors of an agent that live as long as it does, for the supervisor and for the process; no actor is given this.
struct directory {
  store_actor store;
  log_actor logs;
  std::map<std::string, sink_actor> sinks; ///< By name, as the next two.
  std::map<std::string, engine_actor> engines;
  std::map<std::string, sandbox_actor> sandboxes;
  scheduler_actor scheduler;
  reaper_actor reaper;
  fetcher_actor fetcher;
  files_actor files;
  fleet_actor fleet; ///< None where there are no peers.
  api_actor api;
  supervisor_actor supervisor;
  std::map<std::string, std::string> suspended; ///< Why, by subtree.
  drain_stage stage = drain_stage::none;
};

} // namespace davit
