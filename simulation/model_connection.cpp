#include "simulation/model_connection.hpp"

#include "actors/agent_context.hpp"

#include <caf/actor_system.hpp>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

namespace davit::simulation {

using namespace std::chrono_literals;

namespace {

constexpr nanoseconds ping_interval = 3s, missed = 6s, given_up = 12s;

caf::error to_caf(const engine_failure& e) {
  return make_failure(e.code, e.text);
}

const engine_failure connection_lost{engine_errc::lost, "the connection ended before the answer did"};

struct pending_call {
  std::optional<attempt_key> of;
  std::function<void(const caf::error&)> fail;
  bool reads_log = false;
};

struct connection_state {
  static inline const char* name = "engine_connection";

  engine_place place;
  std::shared_ptr<engine_link> link;
  engine_handles handles;
  engine_status status;
  std::map<std::uint64_t, pending_call> pending;
  std::uint64_t calls = 0;
  std::optional<nanoseconds> silent_since;

  bool reaches() const { return place.model->up() && !link->cut; }
};

using self_pointer = engine_actor::stateful_pointer<connection_state>;

/// Runs among the actor's messages.
void resume(const engine_actor& actor, std::function<void()> what) {
  caf::anon_send(actor, continuation{std::move(what)});
}

engine_actor handle_of(self_pointer self) {
  return caf::actor_cast<engine_actor>(self);
}

void tell(self_pointer self) {
  auto& state = self->state;
  if (state.handles.scheduler)
    self->send(state.handles.scheduler, state.status);
  if (state.handles.sandboxes)
    self->send(state.handles.sandboxes, state.status);
}

void become(self_pointer self, engine_state next, std::string why) {
  auto& state = self->state;
  auto& status = state.status;
  auto& model = *state.place.model;
  auto epoch = next == engine_state::ready ? model.epoch() : status.epoch;
  if (status.state == next && status.epoch == epoch)
    return;
  status.state = next;
  status.message = std::move(why);
  status.since = std::chrono::system_clock::now();
  status.epoch = epoch;
  if (next == engine_state::ready) {
    status.same_since = std::chrono::time_point_cast<timestamp::duration>(beginning() + model.up_since());
    status.info.id = model.name();
    status.info.live_restore = model.live_restore();
  } else if (next == engine_state::down) {
    status.same_since.reset();
  }
  tell(self);
}

void look(self_pointer self) {
  auto& state = self->state;
  if (!state.reaches()) {
    state.silent_since.reset();
    for (auto& [id, one] : std::exchange(state.pending, {}))
      one.fail(to_caf(connection_lost));
    become(self, engine_state::down, "connection refused");
  } else if (state.place.model->frozen()) {
    if (!state.silent_since)
      state.silent_since = now();
    auto silence = now() - *state.silent_since;
    if (silence >= given_up)
      become(self, engine_state::down, "no answer");
    else if (silence >= missed)
      become(self, engine_state::degraded, "a ping was missed");
  } else {
    state.silent_since.reset();
    become(self, engine_state::ready, {});
  }
}

std::uint64_t open(self_pointer self, std::optional<attempt_key> of, std::optional<duration> deadline,
                   std::function<void(const caf::error&)> fail) {
  auto& state = self->state;
  auto id = ++state.calls;
  state.pending[id] = {of, std::move(fail)};
  if (deadline)
    self->run_delayed(*deadline, [self, id] {
      if (auto late = self->state.pending.extract(id); !late.empty())
        late.mapped().fail(make_failure(engine_errc::timed_out, "no answer"));
    });
  return id;
}

void fail(self_pointer self, std::uint64_t id, const engine_failure& why) {
  if (auto one = self->state.pending.extract(id); !one.empty())
    one.mapped().fail(to_caf(why));
}

/// `effect` happens at the engine, and says then or later what the answer is.
template <class T>
caf::result<T> call(self_pointer self, std::optional<attempt_key> of, std::optional<duration> deadline,
                    std::function<void(std::function<void(answer<T>)>)> effect) {
  auto& state = self->state;
  auto promise = self->make_response_promise<T>();
  auto id = open(self, of, deadline, [promise](const caf::error& e) mutable { promise.deliver(e); });
  auto actor = handle_of(self);
  auto& place = state.place;
  auto& faults = *place.faults;
  auto before = place.chance->chance(faults.lost_before), after = place.chance->chance(faults.lost_after);
  auto there = place.chance->between(50us, faults.most_delay), back = place.chance->between(50us, faults.most_delay);
  auto link = state.link;
  auto lose = [=] { resume(actor, [=] { fail(self, id, connection_lost); }); };
  auto answered = [=, at = place.at](answer<T> result) {
    if (after)
      return lose();
    at(now() + back, [=] {
      if (link->cut)
        return lose();
      resume(actor, [=]() mutable {
        if (self->state.pending.erase(id) == 0)
          return;
        if (!result)
          promise.deliver(to_caf(result.error()));
        else if constexpr (std::is_void_v<T>)
          promise.deliver();
        else
          promise.deliver(std::move(*result));
      });
    });
  };
  place.at(now() + there, [=, model = place.model] {
    if (before || link->cut || !model->up())
      return lose();
    model->when_thawed([=] {
      if (model->up())
        effect(answered);
      else
        lose();
    });
  });
  return promise;
}

template <class T, class Ask>
caf::result<T> ask(self_pointer self, duration deadline, Ask what) {
  return call<T>(self, {}, deadline, [what](const std::function<void(answer<T>)>& then) { then(what()); });
}

/// Answers when it does not run any more.
void wait_for(engine_model* model, const std::string& which, const std::function<void(answer<std::int64_t>)>& then) {
  if (!model->up())
    return then(connection_lost);
  auto one = model->find(which);
  if (!one)
    return then(engine_failure{engine_errc::not_found, "No such container: " + which});
  if (one->is != container::state::running && !model->frozen())
    return then(one->is == container::state::ended ? one->code : 0);
  model->on_change(one->id, [=] { wait_for(model, which, then); });
}

// -- logs ------------------------------------------------------------------------------------------------------------

struct log_reading {
  std::uint64_t call = 0;
  log_request what;
  caf::typed_response_promise<log_end> promise;
};

void read_on(self_pointer self, const std::shared_ptr<log_reading>& reading);

void deliver_batch(self_pointer self, const std::shared_ptr<log_reading>& reading, log_batch batch) {
  auto records = std::make_shared<std::vector<log_record>>(batch.records);
  self->request(self->state.handles.logs, caf::infinite, std::move(batch))
    .then(
      [=] {
        for (const auto& one : *records) {
          auto& cursor = reading->what.lease.cursor.of(one.stream);
          cursor.at = one.at;
          cursor.ordinal = 1;
        }
        read_on(self, reading);
      },
      [=](const caf::error& e) {
        if (auto one = self->state.pending.extract(reading->call); !one.empty())
          one.mapped().fail(e);
      });
}

void read_on(self_pointer self, const std::shared_ptr<log_reading>& reading) {
  auto& state = self->state;
  if (!state.pending.contains(reading->call))
    return;
  auto model = state.place.model;
  auto actor = handle_of(self);
  auto again = [=] { resume(actor, [=] { read_on(self, reading); }); };
  if (!state.reaches())
    return fail(self, reading->call, connection_lost);
  if (model->frozen())
    return model->when_thawed(again);
  auto one = model->find(reading->what.container);
  if (!one)
    return fail(self, reading->call, {engine_errc::not_found, "No such container: " + reading->what.container});
  log_batch batch{reading->what.key, reading->what.lease.source, 0, {}};
  auto most = 1 + state.place.chance->pick(4);
  for (const auto& line : one->kept) {
    const auto& cursor = reading->what.lease.cursor.of(line.stream);
    if ((cursor.ordinal == 0 || line.at > cursor.at) && batch.records.size() < most) {
      batch.records.push_back(line);
      batch.wire_bytes += line.bytes.size();
    }
  }
  if (!batch.records.empty())
    return deliver_batch(self, reading, std::move(batch));
  if (one->is != container::state::running || !reading->what.follow) {
    state.pending.erase(reading->call);
    reading->promise.deliver(log_end{true, {}});
    return;
  }
  model->on_change(one->id, again);
}

caf::result<log_end> read_log(self_pointer self, const log_request& request) {
  auto& state = self->state;
  for (auto one = state.pending.begin(); one != state.pending.end();)
    if (one->second.reads_log && one->second.of == request.key) {
      auto old = std::move(one->second);
      one = state.pending.erase(one);
      old.fail(make_failure(log_errc::stale, "the log is read anew"));
    } else {
      ++one;
    }
  auto reading = std::make_shared<log_reading>();
  reading->what = request;
  reading->promise = self->make_response_promise<log_end>();
  reading->call = open(self, request.key, {}, [reading](const caf::error& e) { reading->promise.deliver(e); });
  state.pending[reading->call].reads_log = true;
  auto actor = handle_of(self);
  state.place.at(now() + state.place.chance->between(50us, state.place.faults->most_delay),
                 [=] { resume(actor, [=] { read_on(self, reading); }); });
  return reading->promise;
}

// -- the actor -------------------------------------------------------------------------------------------------------

engine_failure not_modelled() {
  return {engine_errc::refused, "the model has no such thing"};
}

engine_actor::behavior_type connection(self_pointer self, engine_settings settings, engine_place place,
                                       std::shared_ptr<engine_link> link, engine_handles handles) {
  auto& state = self->state;
  state.place = place;
  state.link = link;
  state.handles = std::move(handles);
  state.status.name = settings.name;
  state.status.labels = settings.labels;
  state.status.slots = settings.slots;
  state.status.grace = settings.grace;
  state.status.since = std::chrono::system_clock::now();
  auto actor = handle_of(self);
  link->look = [=] { resume(actor, [=] { look(self); }); };
  auto model = place.model;
  self->delayed_send(self, std::chrono::milliseconds{1}, tick_atom_v, std::uint64_t{0});
  return {
    [=](ping_atom) { return self->state.status; },
    [](pull_atom, const attempt_key&, const std::string&, duration, const secret&) {},
    [=](find_atom, const std::string&) {
      return ask<image_info>(self, 30s, []() -> answer<image_info> {
        image_info image;
        image.id = "sha256:1";
        return image;
      });
    },
    [](images_atom, remove_atom, const std::string&) { return false; },
    [=](create_atom, const container_plan& plan) {
      return ask<std::string>(self, 60s, [=] { return model->create(plan); });
    },
    [=](start_atom, const std::string& which, const std::string&) {
      return ask<bool>(self, 120s, [=] { return model->start(which); });
    },
    [](init_atom, const std::string&, const std::string&) -> caf::result<void> { return to_caf(not_modelled()); },
    [](init_atom, const container_plan&, const std::string&) -> caf::result<std::string> {
      return to_caf(not_modelled());
    },
    [](init_atom, const std::string&, const std::string&, bool) -> caf::result<void> { return to_caf(not_modelled()); },
    [=](rename_atom, const std::string& which, const std::string& name) {
      return call<void>(self, {}, duration{30s}, [=](const std::function<void(answer<void>)>& then) {
        auto done = model->rename(which, name);
        then(done ? answer<void>{} : answer<void>{done.error()});
      });
    },
    [=](wait_atom, const attempt_key& key, const std::string& which) {
      return call<std::int64_t>(
        self, key, {}, [=](const std::function<void(answer<std::int64_t>)>& then) { wait_for(model, which, then); });
    },
    [=](inspect_atom, const std::string& which) {
      return ask<container_status>(self, 30s, [=] { return model->inspect(which); });
    },
    [=](stop_atom, const std::string& which, duration grace) {
      return call<bool>(self, {}, grace + 30s, [=](const std::function<void(answer<bool>)>& then) {
        auto was = std::make_shared<bool>(false);
        auto asked = model->stop(which, grace, [=] { then(*was); });
        if (asked)
          *was = *asked;
        else
          then(asked);
      });
    },
    [=](remove_atom, const std::string& which) {
      return call<void>(self, {}, duration{60s}, [=](const std::function<void(answer<void>)>& then) {
        model->remove(which); // that there is none is well, too
        then({});
      });
    },
    [](count_atom, const std::string&) { return std::uint32_t{1}; },
    [=](list_atom, const std::vector<std::string>& labels) {
      return ask<std::vector<container_summary>>(
        self, 60s, [=]() -> answer<std::vector<container_summary>> { return model->list(labels); });
    },
    [](volumes_atom, list_atom, const std::vector<std::string>&) { return std::vector<volume_summary>{}; },
    [](volumes_atom, create_atom, const volume_plan&) -> caf::result<volume_summary> { return to_caf(not_modelled()); },
    [](volumes_atom, remove_atom, const std::string&) { return false; },
    [](attach_atom, const attempt_key&, const std::string&, const std::string&) -> caf::result<void> {
      return to_caf(not_modelled());
    },
    [](files_atom, const std::string&, const std::string&, std::uint64_t) -> caf::result<std::string> {
      return to_caf(not_modelled());
    },
    [](files_atom, fill_atom, const attempt_key&, const std::string&, const std::string&,
       const file_stream&) -> caf::result<void> { return to_caf(not_modelled()); },
    [](files_atom, collect_atom, const attempt_key&, const std::string&, const std::string&,
       const file_stream&) -> caf::result<void> { return to_caf(not_modelled()); },
    [=](history_atom, const std::string& which, timestamp since) {
      return ask<std::vector<engine_event>>(
        self, 30s, [=]() -> answer<std::vector<engine_event>> { return model->history(which, since); });
    },
    [](log_atom, start_atom, const std::string&) { return std::string{}; },
    [=](log_atom, const log_request& request) { return read_log(self, request); },
    [](log_atom, ended_atom, const attempt_key&) {}, // the model knows the end
    [=](withdraw_atom, const attempt_key& key) {
      auto& pending = self->state.pending;
      for (auto one = pending.begin(); one != pending.end();)
        if (one->second.of == key) {
          auto withdrawn = std::move(one->second);
          one = pending.erase(one);
          withdrawn.fail(make_failure(engine_errc::cancelled, "it was withdrawn"));
        } else {
          ++one;
        }
    },
    [](const continuation& work) { work.run(); },
    [=](tick_atom, std::uint64_t) {
      look(self);
      self->delayed_send(self, ping_interval, tick_atom_v, std::uint64_t{0});
    },
    [=](wire_atom, const engine_handles& now_known) {
      self->state.handles = now_known;
      tell(self);
    },
  };
}

} // namespace

engine_actor spawn_model_connection(caf::actor_system& system, engine_settings settings, engine_place place,
                                    std::shared_ptr<engine_link> link, engine_handles handles) {
  return system.spawn(connection, std::move(settings), std::move(place), std::move(link), std::move(handles));
}

} // namespace davit::simulation
