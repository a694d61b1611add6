#include "actors/supervisor.hpp"

#include "actors/engine_connection.hpp"
#include "actors/fleet.hpp"
#include "actors/image_fetcher.hpp"
#include "actors/log_keeper.hpp"
#include "actors/metrics.hpp"
#include "actors/reaper.hpp"
#include "actors/restart_budget.hpp"
#include "actors/sandbox_keeper.hpp"
#include "actors/scheduler.hpp"
#include "actors/sink.hpp"
#include "actors/store_keeper.hpp"

#include <caf/actor_system.hpp>
#include <caf/sec.hpp>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>

namespace davit {

namespace {

/// What becomes of the agent when a child fails again and again.
enum class part : std::uint8_t {
  core,   ///< It ends: without this one no promise can be kept.
  engine, ///< That engine is down, and is tried again for ever.
  other,  ///< It is tried again for ever.
};

/// Between the tries once the budget is spent.
constexpr duration long_wait{30'000};

struct child {
  std::string name; ///< Of an engine connection: with the engine's.
  part kind;
  std::function<caf::actor()> start;
  caf::actor actor;
  restart_budget budget;
};

struct supervisor_state {
  static inline const char* name = "supervisor";

  context_ptr context;
  std::vector<child> children; ///< In the order of their start.
  /// By name. Whatever ends the supervisor ends them. (A link would do it too, but would let a child that was killed kill the supervisor.)
  std::shared_ptr<std::map<std::string, caf::actor>> living = std::make_shared<std::map<std::string, caf::actor>>();
  wiring addresses;
  api_actor api;
  bool stopping = false;
  caf::error api_failure; ///< Why it ended, the last time that it did.
};

using self_pointer = supervisor_actor::stateful_pointer<supervisor_state>;

/// Everybody hears of everybody's addresses.
void wire(self_pointer self) {
  auto& state = self->state;
  auto& addresses = state.addresses;
  addresses.listeners.clear();
  if (addresses.scheduler)
    addresses.listeners.push_back(addresses.scheduler);
  if (state.api)
    addresses.listeners.push_back(state.api);
  if (addresses.store)
    self->send(addresses.store, wire_atom_v, addresses);
  for (auto& [name, engine] : addresses.engines)
    self->send(engine, wire_atom_v, addresses);
  for (auto& [name, keeper] : addresses.sandboxes)
    self->send(keeper, wire_atom_v, addresses);
  if (addresses.logs)
    self->send(addresses.logs, wire_atom_v, addresses);
  for (auto& [name, sink] : addresses.sinks)
    self->send(sink, wire_atom_v, addresses);
  if (addresses.fleet)
    self->send(addresses.fleet, wire_atom_v, addresses);
  if (addresses.scheduler)
    self->send(addresses.scheduler, wire_atom_v, addresses);
  if (addresses.reaper)
    self->send(addresses.reaper, wire_atom_v, addresses);
  if (addresses.fetcher)
    self->send(addresses.fetcher, wire_atom_v, addresses);
  if (state.api)
    self->send(state.api, wire_atom_v, addresses);
}

void start(self_pointer self, child& one) {
  one.actor = one.start();
  self->monitor(one.actor);
  (*self->state.living)[one.name] = one.actor;
}

/// Nothing is placed on an engine whose connection can't be kept alive; who asks is told why.
void declare_down(self_pointer self, const std::string& engine, std::string why) {
  const auto& all = self->state.context->settings.engines;
  auto settings = std::find_if(all.begin(), all.end(), [&](const engine_settings& one) { return one.name == engine; });
  if (settings == all.end())
    return;
  engine_status status;
  status.name = engine;
  status.state = engine_state::down;
  status.message = std::move(why);
  status.since = std::chrono::system_clock::now();
  status.labels = settings->labels;
  status.slots = settings->slots;
  status.grace = settings->grace;
  status.profile = settings->profile.value_or(self->state.context->settings.policy.profile);
  if (self->state.addresses.scheduler)
    self->send(self->state.addresses.scheduler, status);
}

void child_down(self_pointer self, const caf::down_msg& down) {
  auto& state = self->state;
  auto found = std::find_if(state.children.begin(), state.children.end(), [&](const child& one) { return one.actor && one.actor.address() == down.source; });
  if (found == state.children.end() || state.stopping)
    return;
  found->actor = nullptr;
  if (found->name == "api")
    state.api_failure = down.reason;
  auto space = found->name.find(' ');
  auto wait = found->budget.spend(std::chrono::steady_clock::now());
  if (!wait && found->kind == part::core) {
    spdlog::critical("{} fails again and again ({}); the agent ends", found->name, text_of(down.reason));
    self->quit(make_failure(caf::sec::runtime_error, found->name + " fails again and again: " + text_of(down.reason)));
    return;
  }
  state.context->metrics->actor_restarted(found->name.substr(0, space));
  if (wait) {
    spdlog::error("{} failed ({}); it is started again", found->name, text_of(down.reason));
  } else {
    wait = long_wait;
    spdlog::critical("{} fails again and again ({}); it is tried again in {}", found->name, text_of(down.reason), format_duration(*wait));
    if (found->kind == part::engine)
      declare_down(self, found->name.substr(space + 1), "its connection fails again and again: " + text_of(down.reason));
  }
  self->delayed_send(self, *wait, restart_atom_v, found->name);
}

/// No task comes any more: the containers that wait for one go, and those that an earlier crash has left, from the engines that answer soon.
void leave_nothing_behind(self_pointer self, caf::typed_response_promise<void> promise) {
  auto left = std::make_shared<std::size_t>(self->state.addresses.sandboxes.size() + 1);
  auto one_less = [left, promise]() mutable {
    if (--*left == 0)
      promise.deliver();
  };
  for (auto& [name, keeper] : self->state.addresses.sandboxes)
    self->request(keeper, std::chrono::seconds{10}, drain_atom_v).then(one_less, [one_less](const caf::error&) mutable { one_less(); });
  self->request(self->state.addresses.reaper, std::chrono::seconds{10}, reap_atom_v)
    .then([one_less](std::uint32_t) mutable { one_less(); }, [one_less](const caf::error&) mutable { one_less(); });
}

supervisor_actor::behavior_type supervisor(self_pointer self, context_ptr context, api_factory make_api) {
  auto& state = self->state;
  state.context = context;
  self->set_down_handler([self](const caf::down_msg& down) { child_down(self, down); });
  auto& system = self->system();
  self->attach_functor([living = state.living] {
    for (const auto& [name, one] : *living)
      caf::anon_send_exit(one, caf::exit_reason::user_shutdown);
  });
  auto add = [&](std::string name, std::function<caf::actor()> how, part kind = part::core) {
    state.children.push_back({std::move(name), kind, std::move(how), {}, restart_budget{}});
  };
  add("store_keeper", [self, context, &system] {
    self->state.addresses.store = spawn_store_keeper(system, context);
    return caf::actor_cast<caf::actor>(self->state.addresses.store);
  });
  add("log_keeper", [self, context, &system] {
    self->state.addresses.logs = spawn_log_keeper(system, context);
    return caf::actor_cast<caf::actor>(self->state.addresses.logs);
  });
  for (const auto& sink : context->settings.logs.sinks)
    add("sink " + sink.name, [self, context, sink, &system] {
      auto made = spawn_sink(system, context, sink, self->state.addresses);
      self->state.addresses.sinks[sink.name] = made;
      return caf::actor_cast<caf::actor>(made);
    }, part::other);
  for (const auto& engine : context->settings.engines)
    add("engine_connection " + engine.name, [self, context, engine, &system] {
      auto made = spawn_engine_connection(system, context, engine, self->state.addresses);
      self->state.addresses.engines[engine.name] = made;
      return caf::actor_cast<caf::actor>(made);
    }, part::engine);
  for (const auto& engine : context->settings.engines)
    add("sandbox_keeper " + engine.name, [self, context, engine, &system] {
      auto made = spawn_sandbox_keeper(system, context, engine, self->state.addresses);
      self->state.addresses.sandboxes[engine.name] = made;
      return caf::actor_cast<caf::actor>(made);
    }, part::other);
  add("scheduler", [self, context, &system] {
    self->state.addresses.scheduler = spawn_scheduler(system, context, self->state.addresses);
    return caf::actor_cast<caf::actor>(self->state.addresses.scheduler);
  });
  add("reaper", [self, context, &system] {
    self->state.addresses.reaper = spawn_reaper(system, context, self->state.addresses);
    return caf::actor_cast<caf::actor>(self->state.addresses.reaper);
  }, part::other);
  add("image_fetcher", [self, context, &system] {
    self->state.addresses.fetcher = spawn_image_fetcher(system, context, self->state.addresses);
    return caf::actor_cast<caf::actor>(self->state.addresses.fetcher);
  }, part::other);
  if (!context->settings.peers.listen.empty())
    add("fleet", [self, context, &system] {
      self->state.addresses.fleet = spawn_fleet(system, context, self->state.addresses);
      return caf::actor_cast<caf::actor>(self->state.addresses.fleet);
    });
  add("api", [self, context, make_api, &system] {
    self->state.api = make_api(system, context, self->state.addresses);
    return caf::actor_cast<caf::actor>(self->state.api);
  });
  return {
    [=](start_atom) -> caf::result<void> {
      for (auto& one : self->state.children)
        start(self, one);
      wire(self);
      // An API that could not listen has ended by now: its word is the answer.
      auto promise = self->make_response_promise<void>();
      self->request(self->state.api, caf::infinite, wire_atom_v, self->state.addresses)
        .then([promise]() mutable { promise.deliver(); },
              [self, promise](const caf::error& e) {
                // That it is gone is what CAF says; why, its end does, which may still be under way.
                self->run_delayed(std::chrono::milliseconds{50}, [self, promise, e]() mutable { promise.deliver(self->state.api_failure ? self->state.api_failure : e); });
              });
      return promise;
    },
    [=](drain_atom) -> caf::result<void> {
      auto promise = self->make_response_promise<void>();
      self->send(self->state.api, drain_atom_v);
      self->request(self->state.addresses.scheduler, caf::infinite, drain_atom_v)
        .then([self, promise]() mutable { leave_nothing_behind(self, promise); }, [promise](const caf::error& e) mutable { promise.deliver(e); });
      return promise;
    },
    [=](stop_atom) { self->send(self->state.addresses.scheduler, stop_atom_v); },
    [=](restart_atom, const std::string& name) {
      for (auto& one : self->state.children)
        if (one.name == name && !one.actor)
          start(self, one);
      wire(self);
    },
    [=](find_atom) -> caf::result<wiring> { return self->state.addresses; },
  };
}

} // namespace

supervisor_actor spawn_supervisor(caf::actor_system& system, context_ptr context, api_factory api) {
  return system.spawn(supervisor, std::move(context), std::move(api));
}

} // namespace davit
