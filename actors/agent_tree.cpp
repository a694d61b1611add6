#include "actors/agent_tree.hpp"

#include "actors/engine_connection.hpp"
#include "actors/file_keeper.hpp"
#include "actors/fleet.hpp"
#include "actors/image_fetcher.hpp"
#include "actors/log_keeper.hpp"
#include "actors/metrics.hpp"
#include "actors/reaper.hpp"
#include "actors/sandbox_keeper.hpp"
#include "actors/scheduler.hpp"
#include "actors/sink.hpp"
#include "actors/store_keeper.hpp"

#include <caf/send.hpp>

namespace davit {

namespace {

/// `slot` gives the place of the actor's handle in the directory, `uses` the handles that it uses, and `spawn` starts
/// it with them.
template <class Slot, class Uses, class Spawn>
child_plan child_of(std::string name, std::string subtree, Slot slot, Uses uses, Spawn spawn) {
  using handles = std::invoke_result_t<Uses, const directory&>;
  auto told = std::make_shared<std::optional<handles>>();
  auto start = [=](directory& all) {
    told->reset();
    auto made = spawn(uses(all));
    slot(all) = made;
    return caf::actor_cast<caf::actor>(made);
  };
  auto news = [=](const directory& all) -> std::optional<caf::message> {
    auto now = uses(all);
    if (*told == now)
      return std::nullopt;
    *told = now;
    return caf::make_message(wire_atom_v, std::move(now));
  };
  return {std::move(name), std::move(subtree), start, news};
}

/// Nothing is placed on an engine whose subtree is suspended; whoever asks is told why.
void declare_down(const context_ptr& context, const engine_settings& engine, const directory& all,
                  const std::string& why, timestamp since) {
  engine_status status;
  status.name = engine.name;
  status.state = engine_state::down;
  status.message = why;
  status.since = since;
  status.labels = engine.labels;
  status.slots = engine.slots;
  status.grace = engine.grace;
  status.profile = engine.profile.value_or(context->settings.policy.profile);
  context->metrics->engine_state(engine.name, false);
  if (all.scheduler)
    caf::anon_send(all.scheduler, status);
}

template <class Handle>
Handle found_in(const std::map<std::string, Handle>& handles, const std::string& name) {
  auto found = handles.find(name);
  return found == handles.end() ? Handle{} : found->second;
}

} // namespace

store_handles handles_of_store(const directory& all) {
  store_handles mine;
  if (all.scheduler)
    mine.listeners.push_back(all.scheduler);
  if (all.api)
    mine.listeners.push_back(all.api);
  mine.fleet = all.fleet;
  return mine;
}

log_handles handles_of_logs(const directory& all) {
  return {all.store, all.sinks};
}

sink_handles handles_of_sink(const directory& all) {
  return {all.store, all.logs};
}

engine_handles handles_of_engine(const directory& all, const std::string& name) {
  return {all.scheduler, found_in(all.sandboxes, name), all.logs};
}

sandbox_handles handles_of_sandboxes(const directory& all, const std::string& engine) {
  return {found_in(all.engines, engine)};
}

scheduler_handles handles_of_scheduler(const directory& all) {
  return {{all.store, all.logs, all.scheduler, all.files, all.engines, all.sandboxes}, all.stage};
}

reaper_handles handles_of_reaper(const directory& all) {
  return {all.store, all.logs, all.scheduler, all.engines};
}

fetcher_handles handles_of_fetcher(const directory& all) {
  return {all.store, all.scheduler, all.engines};
}

files_handles handles_of_files(const directory& all) {
  return {all.store, all.engines};
}

fleet_handles handles_of_fleet(const directory& all) {
  return {all.store, all.logs, all.supervisor};
}

api_handles handles_of_api(const directory& all) {
  return {all.store,      all.logs,    all.scheduler, all.files,     all.fleet,
          all.supervisor, all.engines, all.sinks,     all.suspended, all.stage != drain_stage::none};
}

agent_spawns real_spawns(caf::actor_system& system, context_ptr context, api_factory api) {
  return {
    [=, &system, files = std::make_shared<const data_files>(context->settings)] {
      return spawn_store_keeper(
        system, context, [](const std::string& url) { return store::task_store::open(url); }, files);
    },
    [=, &system] { return spawn_log_keeper(system, context); },
    [=, &system](sink_settings sink, sink_handles handles) {
      return spawn_sink(system, context, std::move(sink), std::move(handles));
    },
    [=, &system](engine_settings engine, engine_handles handles) {
      return spawn_engine_connection(system, context, std::move(engine), std::move(handles));
    },
    [=, &system](engine_settings engine, sandbox_handles handles) {
      return spawn_sandbox_keeper(system, context, std::move(engine), std::move(handles));
    },
    [=, &system](scheduler_handles handles) { return spawn_scheduler(system, context, std::move(handles)); },
    [=, &system](reaper_handles handles) { return spawn_reaper(system, context, std::move(handles)); },
    [=, &system](fetcher_handles handles) { return spawn_image_fetcher(system, context, std::move(handles)); },
    [=, &system](files_handles handles) { return spawn_file_keeper(system, context, std::move(handles)); },
    [=, &system](fleet_handles handles) { return spawn_fleet(system, context, std::move(handles)); },
    [=, &system](api_handles handles) { return api(system, context, std::move(handles)); },
  };
}

supervision_plan plan_agent(context_ptr context, agent_spawns spawns) {
  supervision_plan plan;
  const auto& settings = context->settings;
  auto add = [&](auto... child) { plan.children.push_back(child_of(std::move(child)...)); };
  plan.subtrees.push_back({"core", true, {}});
  add(
    "store_keeper", "core", [](directory & all) -> auto& { return all.store; }, handles_of_store,
    [=](store_handles) { return spawns.store(); });
  add(
    "log_keeper", "core", [](directory & all) -> auto& { return all.logs; }, handles_of_logs,
    [=](log_handles) { return spawns.logs(); });
  for (const auto& sink : settings.logs.sinks) {
    plan.subtrees.push_back({"sink " + sink.name, false, {}});
    add(
      "sink " + sink.name,
      "sink " + sink.name, [name = sink.name](directory & all) -> auto& { return all.sinks[name]; }, handles_of_sink,
      [=](sink_handles handles) { return spawns.sink(sink, std::move(handles)); });
  }
  for (const auto& engine : settings.engines) {
    auto subtree = "engine " + engine.name;
    plan.subtrees.push_back({subtree, false, [=](const directory& all, const std::string& why, timestamp since) {
                               declare_down(context, engine, all, why, since);
                             }});
    add(
      "engine_connection " + engine.name,
      subtree, [name = engine.name](directory & all) -> auto& { return all.engines[name]; },
      [name = engine.name](const directory& all) { return handles_of_engine(all, name); },
      [=](engine_handles handles) { return spawns.engine(engine, std::move(handles)); });
    add(
      "sandbox_keeper " + engine.name,
      subtree, [name = engine.name](directory & all) -> auto& { return all.sandboxes[name]; },
      [name = engine.name](const directory& all) { return handles_of_sandboxes(all, name); },
      [=](sandbox_handles handles) { return spawns.sandboxes(engine, std::move(handles)); });
  }
  plan.subtrees.push_back({"file_keeper", false, {}});
  add(
    "file_keeper", "file_keeper", [](directory & all) -> auto& { return all.files; }, handles_of_files, spawns.files);
  add(
    "scheduler", "core", [](directory & all) -> auto& { return all.scheduler; }, handles_of_scheduler,
    spawns.scheduler);
  plan.subtrees.push_back({"reaper", false, {}});
  add(
    "reaper", "reaper", [](directory & all) -> auto& { return all.reaper; }, handles_of_reaper, spawns.reaper);
  plan.subtrees.push_back({"image_fetcher", false, {}});
  add(
    "image_fetcher", "image_fetcher", [](directory & all) -> auto& { return all.fetcher; }, handles_of_fetcher,
    spawns.fetcher);
  if (!settings.peers.listen.empty()) {
    plan.subtrees.push_back({"fleet", false, {}});
    add(
      "fleet", "fleet", [](directory & all) -> auto& { return all.fleet; }, handles_of_fleet, spawns.fleet);
  }
  add(
    "api", "core", [](directory & all) -> auto& { return all.api; }, handles_of_api, spawns.api);
  return plan;
}

} // namespace davit
