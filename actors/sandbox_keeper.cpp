#include "actors/sandbox_keeper.hpp"

#include "actors/metrics.hpp"
#include "actors/sandbox_keeper_state.hpp"

namespace davit {

namespace keeper {

namespace {

constexpr duration look_interval = 1000ms;

void engine_changed(self_pointer self, const engine_status& now) {
  auto& state = self->state;
  auto before = std::exchange(state.engine, now);
  auto was_ready = before.state == engine_state::ready;
  auto another = before.epoch != now.epoch || before.info.id != now.info.id;
  if (another) {
    // Whoever started again has ended them, or at least our lines to them.
    empty_all(self);
    doubt_volume(state);
  }
  if (now.state == engine_state::ready && (!was_ready || another)) {
    clean(self);
    fill(self);
  }
}

sandbox_actor::behavior_type
sandbox_keeper(self_pointer self, context_ptr context, engine_settings settings, sandbox_handles handles) {
  auto& state = self->state;
  state.context = std::move(context);
  state.settings = std::move(settings);
  state.handles = std::move(handles);
  tell(self);
  return {
    [=](take_atom, const container_plan& plan, bool insists) { return take(self, plan, insists); },
    [=](take_atom, network_atom, const container_plan& plan) { return take_network(self, plan); },
    [=](init_atom, const std::string& image) -> caf::result<void> {
      auto promise = self->make_response_promise<void>();
      if (!engine_of(self)) {
        promise.deliver(make_failure(engine_errc::lost, "the engine's connection is being restarted"));
        return promise;
      }
      install_init(self, image, [promise](const caf::error& e) mutable {
        if (e)
          promise.deliver(e);
        else
          promise.deliver();
      });
      return promise;
    },
    [=](const engine_status& now) { engine_changed(self, now); },
    [=](ended_atom) { doubt_volume(self->state); },
    [=](count_atom) { return ready_count(self->state); },
    [=](drain_atom) -> caf::result<void> {
      auto& state = self->state;
      state.draining = true;
      for (auto& [name, kind] : state.kinds)
        for (auto& one : std::exchange(kind.waiting, {}))
          answer(one, "the agent is draining");
      empty_all(self);
      if (state.engine.state == engine_state::ready)
        clean(self); // an engine may have made one for the process before this one, after it was looked at last
      auto promise = self->make_response_promise<void>();
      state.drained.push_back(promise);
      answer_if_drained(self);
      return promise;
    },
    [=](tick_atom) {
      auto& state = self->state;
      auto now = steady::now();
      for (auto& [name, kind] : state.kinds)
        while (!kind.waiting.empty() && kind.waiting.front().until <= now) {
          answer(kind.waiting.front(), "none was made in time");
          kind.waiting.pop_front();
        }
      fill(self);
      state.ticking = !state.kinds.empty() && !state.draining;
      if (state.ticking)
        self->delayed_send(self, look_interval, tick_atom_v);
    },
    [=](wire_atom, const sandbox_handles& now) { self->state.handles = now; },
  };
}

} // namespace

std::uint32_t ready_count(const sandbox_keeper_state& state) {
  std::uint32_t count = 0;
  for (const auto& [name, kind] : state.kinds)
    count += kind.network ? 0 : static_cast<std::uint32_t>(kind.ready.size());
  return count;
}

void tell(self_pointer self) {
  self->state.context->metrics->sandboxes(self->state.settings.name, ready_count(self->state));
}

void answer_if_drained(self_pointer self) {
  auto& state = self->state;
  if (!state.draining || state.removing != 0 || !state.making.empty())
    return;
  for (auto& promise : std::exchange(state.drained, {}))
    promise.deliver();
}

void remove(self_pointer self, const std::string& container) {
  auto engine = engine_of(self);
  if (!engine)
    return;
  ++self->state.removing;
  auto done = [self] {
    --self->state.removing;
    answer_if_drained(self);
  };
  self->request(engine, caf::infinite, remove_atom_v, container)
    .then(done, [self, done, container](const caf::error& e) {
      spdlog::debug("the sandbox {} was not removed: {}", container, text_of(e));
      done();
      self->run_delayed(10s, [self] { clean_if_ready(self); });
    });
}

void clean_if_ready(self_pointer self) {
  if (self->state.engine.state == engine_state::ready && !self->state.draining)
    clean(self);
}

void answer(waiting_task& task, std::string why) {
  sandbox none;
  none.why = std::move(why);
  task.promise.deliver(std::move(none));
}

void empty(self_pointer self, sandbox_kind_state& kind) {
  for (auto& one : std::exchange(kind.ready, {}))
    remove(self, one.container);
}

void empty_all(self_pointer self) {
  for (auto& [name, kind] : self->state.kinds)
    empty(self, kind);
  tell(self);
}

void clean(self_pointer self) {
  auto& state = self->state;
  if (!engine_of(self))
    return;
  const auto& settings = state.context->settings;
  ++state.removing; // until it is known what there is to remove
  self
    ->request(engine_of(self), 30s, list_atom_v,
              std::vector<std::string>{"davit.sandbox", "davit.fleet=" + settings.fleet})
    .then(
      [self](const std::vector<container_summary>& containers) {
        auto& state = self->state;
        --state.removing;
        // Those of this process, wherever they are on their way: the list may be older than what happened meanwhile.
        auto known = state.making;
        known.insert(state.giving.begin(), state.giving.end());
        for (const auto& [name, kind] : state.kinds)
          for (const auto& one : kind.ready)
            known.insert(one.name);
        for (const auto& one : containers) {
          auto waits = one.name.starts_with(sandbox_prefix) || one.name.starts_with(network_prefix);
          if ((!waits && !one.name.starts_with(carrier_prefix)) || known.contains(one.name))
            continue;
          // Another agent's may be in use; when it has gone, they end by themselves.
          auto agent = one.labels.find("davit.agent");
          auto own = agent != one.labels.end() && agent->second == state.context->settings.name
                  && (waits || !is_filling(state.volume));
          if (own || one.state == "exited" || one.state == "dead")
            remove(self, one.name);
        }
        answer_if_drained(self);
      },
      [self](const caf::error& e) {
        spdlog::debug("sandboxes that were left can't be listed: {}", text_of(e));
        --self->state.removing;
        answer_if_drained(self);
      });
}

void keep_looking(self_pointer self) {
  fill(self);
  if (!std::exchange(self->state.ticking, true))
    self->delayed_send(self, look_interval, tick_atom_v);
}

} // namespace keeper

sandbox_actor spawn_sandbox_keeper(caf::actor_system& system, context_ptr context, engine_settings settings,
                                   sandbox_handles handles) {
  return system.spawn(keeper::sandbox_keeper, std::move(context), std::move(settings), std::move(handles));
}

} // namespace davit
