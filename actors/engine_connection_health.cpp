#include "actors/engine_connection_state.hpp"
#include "sandbox/program.hpp"

namespace davit::connection {

namespace {

awaitable<result<engine_info>> connect_client(std::shared_ptr<engine_client> client, call_options options) {
  co_return co_await client->connect(std::move(options));
}

awaitable<result<void>> ping_client(std::shared_ptr<engine_client> client, call_options options) {
  co_return co_await client->ping(std::move(options));
}

heard::failure failure_of(const transport::error& e) {
  return {e.message, is_certain(e.code)};
}

/// The engine's disk, if it is this host's.
void look_at_disk(self_pointer self) {
  auto& state = self->state;
  auto before = std::exchange(state.status.disk_free, std::nullopt);
  std::error_code ec;
  if (state.settings.endpoint.starts_with("unix:") && !state.status.info.data_root.empty())
    if (auto space = std::filesystem::space(state.status.info.data_root, ec); !ec)
      state.status.disk_free = space.available;
  // Told when it matters to somebody: to the scheduler, or to the collection of images.
  auto below = [](std::optional<std::uint64_t> free, byte_size limit) { return free && *free < limit.bytes; };
  for (auto limit : {state.settings.min_free_disk, state.settings.image_gc_below})
    if (below(before, limit) != below(state.status.disk_free, limit)) {
      tell(self);
      break;
    }
}

void save_place(self_pointer self) {
  auto& state = self->state;
  state.place_to_save = false;
  if (!state.continuity.save(state.place_file()))
    spdlog::warn(
      "engine {}: {} can't be written: an agent that starts again may not know that the engine was not restarted",
      state.settings.name, state.place_file().string());
}

/// The event stream is open: if the engine is restarted from now on, the stream ends. Was it before?
void prove(self_pointer self) {
  auto& state = self->state;
  auto engine_now = state.status.info.system_time.value_or(std::chrono::system_clock::now());
  auto proven = [self, engine_now](const std::vector<engine_event>& remembered) {
    auto& state = self->state;
    auto before = state.status.epoch;
    state.continuity.prove(state.status.info.id, state.status.info.reported_id, remembered, engine_now);
    save_place(self);
    if (before != state.continuity.epoch() && state.status.state == engine_state::ready)
      tell(self);
    hear(self, heard::proof{});
  };
  auto since = state.continuity.asks_since(state.status.info.id);
  if (!since)
    return proven({});
  call_options options;
  options.until = within(state.limits.ping_deadline * 2);
  spawn_call<std::vector<engine_event>>(self, transport::read_creations(state.client, *since, engine_now, options),
                                        [self, proven](result<std::vector<engine_event>> remembered) {
                                          if (remembered)
                                            proven(*remembered);
                                          else
                                            hear(self, heard::failure{remembered.error().message, true});
                                        });
}

void connect(self_pointer self) {
  auto& state = self->state;
  call_options options;
  options.until = within(state.limits.ping_deadline * 2);
  spawn_call<engine_info>(self, connect_client(state.client, options), [self](result<engine_info> info) {
    auto& state = self->state;
    if (!info) // before it was ever ready, and while it is down, there is no point in waiting for further misses
      return hear(self, heard::failure{info.error().message, true});
    if (!state.status.info.id.empty() && state.status.info.id != info->id)
      spdlog::warn("engine {}: another engine answers at {} now ({}, it was {})", state.settings.name,
                   state.settings.endpoint, info->id, state.status.info.id);
    state.context->metrics->engine_reconnected(state.settings.name);
    state.status.info = std::move(*info);
    look_at_disk(self);
    hear(self, heard::identity{state.continuity.in_doubt()});
  });
}

void ping(self_pointer self) {
  call_options options;
  options.until = within(self->state.limits.ping_deadline);
  spawn_call<void>(self, ping_client(self->state.client, options), [self](result<void> answer) {
    if (!answer)
      return hear(self, failure_of(answer.error()));
    look_at_disk(self);
    hear(self, heard::answer{});
  });
}

void open_events(self_pointer self) {
  auto& state = self->state;
  call_options options;
  options.control = state.events = std::make_shared<transport::call_control>();
  auto begun = std::chrono::steady_clock::now();
  auto actor = weak(self);
  auto is_open = std::make_shared<bool>(false);
  auto opened = [=] {
    *is_open = true;
    resume(actor, [=] { hear(self, heard::events_open{}); });
  };
  auto heard_of = [=](const engine_event& event) {
    resume(actor, [=] {
      auto& state = self->state;
      if (event.type == "volume") {
        // Whoever makes the init's volume anew, what is in it is compared before it is used.
        auto gone = event.action == "prune" || (event.action != "create" && event.id == init::volume_name());
        if (gone && state.handles.sandboxes)
          self->send(state.handles.sandboxes, ended_atom_v);
        return;
      }
      if (event.action != "create")
        return;
      state.continuity.saw(event);
      if (!std::exchange(state.place_to_save, true))
        self->run_delayed(1s, [self] { save_place(self); });
    });
  };
  spawn_call<void>(
    self, transport::watch_events(state.client, opened, heard_of, options), [self, begun, is_open](result<void> ended) {
      self->state.events.reset();
      if (!ended && ended.error().code == engine_errc::cancelled)
        return;
      if (*is_open)
        hear(self, heard::events_ended{std::chrono::duration_cast<duration>(std::chrono::steady_clock::now() - begun)});
      else
        hear(self, heard::events_refused{ended ? "its event stream has ended at once"
                                               : "it did not open its event stream: " + ended.error().message});
    });
}

/// Whoever waits for an answer is told that there will be none.
void drop_calls(self_pointer self) {
  auto& state = self->state;
  for (auto& [id, call] : state.calls)
    call.control->cancel();
  for (auto& [key, log] : state.logs)
    log.follower->cancel();
  state.client->drop_idle();
}

/// The engine's state, as it is told to others.
void adopt_state(self_pointer self) {
  auto& status = self->state.status;
  const auto& fares = self->state.fares;
  if (status.state != fares.state) {
    status.since = std::chrono::system_clock::now();
    spdlog::log(fares.state == engine_state::ready ? spdlog::level::info : spdlog::level::warn, "engine {} is {}{}{}",
                status.name, to_string(fares.state), fares.message.empty() ? "" : ": ", fares.message);
  }
  status.state = fares.state;
  status.message = fares.message;
}

void act(self_pointer self, health_action what) {
  switch (what) {
    case health_action::connect:
      return connect(self);
    case health_action::ping:
      return ping(self);
    case health_action::open_events:
      return open_events(self);
    case health_action::prove:
      return prove(self);
    case health_action::doubt:
      return self->state.continuity.doubt();
    case health_action::announce:
      return tell(self);
    case health_action::drop_calls:
      return drop_calls(self);
  }
}

} // namespace

void tell(self_pointer self) {
  auto& state = self->state;
  state.status.epoch = state.continuity.epoch();
  state.status.same_since = state.continuity.same_since();
  state.context->metrics->engine_state(state.settings.name, state.status.state == engine_state::ready);
  if (state.handles.scheduler)
    self->send(state.handles.scheduler, state.status);
  if (state.handles.sandboxes)
    self->send(state.handles.sandboxes, state.status);
}

void hear(self_pointer self, const health_event& event) {
  auto& state = self->state;
  auto step = next_health(state.fares, event, state.limits, std::uniform_real_distribution{0.0, 1.0}(state.random));
  state.fares = std::move(step.next);
  adopt_state(self);
  if (step.tick)
    self->delayed_send(self, *step.tick, tick_atom_v, ++state.tick);
  for (auto what : step.actions)
    act(self, what);
}

} // namespace davit::connection
