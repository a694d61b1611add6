#include "actors/engine_connection.hpp"

#include "actors/engine_continuity.hpp"
#include "actors/metrics.hpp"
#include "actors/sandbox_plan.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/message.hpp"
#include "sandbox/program.hpp"
#include "transport/engine_calls.hpp"
#include "transport/log_follower.hpp"
#include "transport/secret_masker.hpp"
#include "transport/spawn.hpp"

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <spdlog/spdlog.h>

#include <random>
#include <set>
#include <filesystem>

namespace davit {

namespace {

using transport::awaitable;
using transport::call_options;
using transport::engine_client;
using transport::result;
using transport::within;
using namespace std::chrono_literals;

using self_pointer = engine_actor::stateful_pointer<struct engine_connection_state>;

/// A call that is under way on the I/O threads.
struct pending_call {
  std::optional<attempt_key> owner; ///< Whose withdrawal ends it.
  std::shared_ptr<void> promise;    ///< Kept here, so that no I/O thread ever holds the last one.
  transport::control_ptr control = std::make_shared<transport::call_control>();
};

/// How long the log of a container that has ended may give nothing and still be followed.
constexpr duration quiet_end = 2s;

/// A log that is being read.
struct pending_log {
  std::uint64_t source = 0;
  std::shared_ptr<transport::log_follower> follower;
  caf::typed_response_promise<log_end> promise;
  bool ended = false;              ///< The follower has; acknowledgements may be missing.
  bool unclear = false;            ///< Whether its last line has ended.
  std::uint64_t batches = 0;       ///< That came so far.
  std::size_t unacknowledged = 0;  ///< Batches that the log keeper has not written yet.
  caf::error failure;
  std::unique_ptr<transport::secret_masker> masker; ///< If there is anything to be masked.
  std::unique_ptr<init::report_reader> reader;      ///< Of a sandbox.
  bool follows = false;
};

/// Whoever wants an image that is being pulled already.
struct waiting_pull {
  attempt_key key;
  caf::typed_response_promise<void> promise;
  std::chrono::steady_clock::time_point until;
};

/// One pull for all who want the same image with the same credentials. It ends early when the last of them has left.
struct shared_pull {
  std::uint64_t call = 0;
  std::vector<waiting_pull> waiting;
};

struct engine_connection_state {
  static inline const char* name = "engine_connection";

  explicit engine_connection_state(self_pointer) {}
  ~engine_connection_state() {
    // Coroutines keep what they need alive; here they are told to end.
    for (auto& [id, call] : calls)
      call.control->cancel();
    for (auto& [key, log] : logs)
      log.follower->cancel();
    if (events)
      events->cancel();
  }

  context_ptr context;
  engine_settings settings;
  health_settings health;
  wiring addresses;
  std::shared_ptr<engine_client> client;
  engine_status status;
  std::uint64_t tick = 0;         ///< The one timer that counts; older ones are stale.
  int misses = 0;                 ///< Pings in a row without an answer.
  duration backoff{0};
  bool checking = false;          ///< A ping or a connect is under way.
  transport::control_ptr events;  ///< Ends the event stream that is open.
  engine_continuity continuity;
  bool place_to_save = false;     ///< Soon: it was seen to go on.

  std::filesystem::path place_file() const { return context->settings.data_dir / "engines" / (settings.name + ".json"); }
  std::uint64_t last_call = 0;
  std::map<std::uint64_t, pending_call> calls;
  std::map<attempt_key, pending_log> logs;
  bool told_of_files = false; ///< That a log could not be read where `log_files` says.
  std::map<std::string, shared_pull> pulls; ///< By image and credentials.
  std::map<std::string, std::shared_ptr<transport::byte_stream>> lines; ///< To the inits of sandboxes that wait, by their containers.
  std::minstd_rand random{std::random_device{}()};
};

caf::error to_caf(const transport::error& e) {
  return make_failure(e.code, e.message);
}

/// Runs `work` among the actor's messages, whatever thread this is.
void resume(const caf::weak_actor_ptr& actor, std::function<void()> work) {
  if (auto strong = actor.lock())
    caf::anon_send(caf::actor_cast<engine_actor>(strong), continuation{std::move(work)});
}

caf::weak_actor_ptr weak(self_pointer self) {
  return caf::actor_cast<caf::weak_actor_ptr>(engine_actor{self});
}

/// Starts a coroutine and gives its result to `done`, which runs among the actor's messages.
template <class T>
void spawn_call(self_pointer self, awaitable<result<T>> work, std::function<void(result<T>)> done) {
  // The client lives in the coroutine's frame until it ends: cancelled calls finish after the actor is gone.
  boost::asio::co_spawn(self->state.client->executor(), std::move(work),
                        [actor = weak(self), client = self->state.client, done = std::move(done)](std::exception_ptr failed, result<T> value) {
                          transport::log_escaped("a call of an engine", failed);
                          if (failed)
                            value = transport::error{engine_errc::protocol, 0, "an internal error ended the call"};
                          auto shared = std::make_shared<result<T>>(std::move(value));
                          resume(actor, [done, shared] { done(std::move(*shared)); });
                        });
}

/// A container that is not there may be there on the engine that was meant: whoever says so must still be the same.
template <class T>
awaitable<result<T>> from_the_same(std::shared_ptr<engine_client> client, std::string engine_id, call_options options, awaitable<result<T>> work) {
  auto value = co_await std::move(work);
  if (value || value.error().code != engine_errc::not_found || engine_id.empty())
    co_return value;
  auto info = co_await client->info(std::move(options));
  if (!info)
    co_return info.error();
  if (info->id != engine_id)
    co_return transport::error{engine_errc::lost, 0, "another engine answers at the address now"};
  co_return value;
}

/// What a call is about, and so what `not found` is said of.
enum class subject { container, image };

/// A request of an executor's: calls the engine and answers with what it says. Without a limit, the engine's health alone ends it. `make` gets the call's deadline and control; `keep` is run with a
/// good answer before it is given.
template <class T, class Make>
caf::result<T> call(self_pointer self, const char* what, std::optional<duration> limit, std::optional<attempt_key> owner, Make make, subject about = subject::container,
                    std::function<void()> keep = {}) {
  auto& state = self->state;
  using promise_type = caf::typed_response_promise<T>;
  auto promise = self->make_response_promise<T>();
  auto id = ++state.last_call;
  auto& entry = state.calls[id];
  entry.owner = owner;
  entry.promise = std::make_shared<promise_type>(promise);
  call_options options;
  if (limit)
    options.until = within(*limit);
  options.control = entry.control;
  auto begun = std::chrono::steady_clock::now();
  auto work = about == subject::container ? from_the_same<T>(state.client, state.status.info.id, options, make(options)) : make(options);
  spawn_call<T>(self, std::move(work), [=](result<T> value) {
    auto& state = self->state;
    auto found = state.calls.find(id);
    auto promise = *std::static_pointer_cast<promise_type>(found->second.promise);
    state.calls.erase(found);
    auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    state.context->metrics->engine_request(state.settings.name, what, seconds);
    if (value && keep)
      keep();
    if (!value)
      promise.deliver(to_caf(value.error()));
    else if constexpr (std::is_void_v<T>)
      promise.deliver();
    else
      promise.deliver(std::move(*value));
  });
  return promise;
}

// -- pulls -----------------------------------------------------------------------------------------------------------

/// Those whose time is over, or who have withdrawn, have their answer; a pull that nobody waits for is ended.
template <class Over>
void leave_pulls(self_pointer self, engine_errc code, const char* text, Over over) {
  auto& state = self->state;
  for (auto pull = state.pulls.begin(); pull != state.pulls.end();) {
    auto& all = pull->second.waiting;
    for (auto waiting = all.begin(); waiting != all.end();) {
      if (!over(*waiting)) {
        ++waiting;
        continue;
      }
      waiting->promise.deliver(make_failure(code, text));
      waiting = all.erase(waiting);
    }
    if (!all.empty()) {
      ++pull;
      continue;
    }
    if (auto call = state.calls.find(pull->second.call); call != state.calls.end())
      call->second.control->cancel();
    pull = state.pulls.erase(pull); // whoever wants it next begins anew
  }
}

void expire_pulls(self_pointer self) {
  leave_pulls(self, engine_errc::timed_out, "the pull took too long", [now = std::chrono::steady_clock::now()](const waiting_pull& one) { return one.until <= now; });
}

caf::result<void> pull_image(self_pointer self, const attempt_key& key, const std::string& image, duration limit, const secret& credentials) {
  auto& state = self->state;
  auto promise = self->make_response_promise<void>();
  auto name = image + '\0' + credentials.value;
  auto& shared = state.pulls[name];
  shared.waiting.push_back({key, promise, std::chrono::steady_clock::now() + limit});
  self->run_delayed(limit, [self] { expire_pulls(self); });
  if (shared.waiting.size() > 1 || shared.call != 0)
    return promise;
  auto id = shared.call = ++state.last_call;
  auto& entry = state.calls[id];
  auto progress = [actor = weak(self), self, name](const pull_progress& now) {
    resume(actor, [=] {
      auto found = self->state.pulls.find(name);
      if (found != self->state.pulls.end() && self->state.addresses.scheduler)
        for (const auto& one : found->second.waiting)
          self->send(self->state.addresses.scheduler, progress_atom_v, one.key, now);
    });
  };
  call_options options;
  options.control = entry.control;
  auto begun = std::chrono::steady_clock::now();
  spawn_call<void>(self, transport::pull_with(state.client, state.context->settings.docker_config, credentials.value, image, progress, options), [=](result<void> value) {
    auto& state = self->state;
    state.calls.erase(id);
    std::vector<waiting_pull> waiting;
    if (auto mine = state.pulls.find(name); mine != state.pulls.end() && mine->second.call == id) {
      waiting = std::move(mine->second.waiting);
      state.pulls.erase(mine);
    }
    state.context->metrics->engine_request(state.settings.name, "pull", std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
    for (auto& one : waiting)
      if (value)
        one.promise.deliver();
      else
        one.promise.deliver(to_caf(value.error()));
  });
  return promise;
}

// -- health ----------------------------------------------------------------------------------------------------------

void tell(self_pointer self) {
  auto& state = self->state;
  state.status.epoch = state.continuity.epoch();
  state.status.same_since = state.continuity.same_since();
  state.context->metrics->engine_state(state.settings.name, state.status.state == engine_state::ready);
  if (state.addresses.scheduler)
    self->send(state.addresses.scheduler, state.status);
  if (auto keeper = state.addresses.sandboxes.find(state.settings.name); keeper != state.addresses.sandboxes.end() && keeper->second)
    self->send(keeper->second, state.status);
}

void come_into(self_pointer self, engine_state now, std::string message) {
  auto& status = self->state.status;
  if (status.state == now && status.message == message)
    return;
  if (status.state != now) {
    status.since = std::chrono::system_clock::now();
    spdlog::log(now == engine_state::ready ? spdlog::level::info : spdlog::level::warn, "engine {} is {}{}{}", status.name, to_string(now),
                message.empty() ? "" : ": ", message);
  }
  status.state = now;
  status.message = std::move(message);
  tell(self);
}

void tick_after(self_pointer self, duration wait) {
  self->delayed_send(self, wait, tick_atom_v, ++self->state.tick);
}

void schedule_reconnect(self_pointer self) {
  auto& state = self->state;
  auto& backoff = state.backoff;
  backoff = std::clamp(backoff * 2, state.health.least_backoff, state.health.most_backoff);
  std::uniform_int_distribution<duration::rep> jitter{0, backoff.count() / 2};
  tick_after(self, backoff - duration{jitter(state.random)});
}

void watch_events(self_pointer self);
void come_to_be_ready(self_pointer self);

/// Missed once more; or, when `certain`, there is nothing to be missed: the engine is away.
void missed(self_pointer self, const transport::error& e, bool certain) {
  auto& state = self->state;
  ++state.misses;
  auto down = certain || state.misses >= state.health.misses_until_down;
  if (!down) {
    come_into(self, state.status.state == engine_state::connecting ? engine_state::connecting : engine_state::degraded, e.message);
    tick_after(self, state.health.ping_interval);
    return;
  }
  if (certain && state.status.state != engine_state::down) // another process may be behind the address when it comes back
    state.continuity.doubt();
  come_into(self, engine_state::down, e.message);
  // What is under way would wait for its own deadline; its askers know better what to do with an early no.
  for (auto& [id, call] : state.calls)
    call.control->cancel();
  for (auto& [key, log] : state.logs)
    log.follower->cancel();
  state.client->drop_idle();
  schedule_reconnect(self);
}

awaitable<result<engine_info>> connect_client(std::shared_ptr<engine_client> client, call_options options) {
  co_return co_await client->connect(std::move(options));
}

awaitable<result<void>> ping_client(std::shared_ptr<engine_client> client, call_options options) {
  co_return co_await client->ping(std::move(options));
}

/// True if the error tells that no engine serves the address now, or none that will talk to us.
bool certain(engine_errc code) {
  return code != engine_errc::timed_out && code != engine_errc::cancelled && code != engine_errc::lost;
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

void come_to_be_ready(self_pointer self) {
  auto& state = self->state;
  state.misses = 0;
  state.backoff = duration{0};
  come_into(self, engine_state::ready, "");
  tick_after(self, state.health.ping_interval);
}

void save_place(self_pointer self) {
  auto& state = self->state;
  state.place_to_save = false;
  if (!state.continuity.save(state.place_file()))
    spdlog::warn("engine {}: {} can't be written: an agent that starts again may not know that the engine was not restarted", state.settings.name,
                 state.place_file().string());
}

/// The event stream is open: if the engine is restarted from now on, the stream ends. Was it before?
void prove_continuity(self_pointer self) {
  auto& state = self->state;
  state.checking = false;
  auto engine_now = state.status.info.system_time.value_or(std::chrono::system_clock::now());
  auto prove = [self, engine_now](const std::vector<engine_event>& remembered) {
    auto& state = self->state;
    auto before = state.status.epoch;
    state.continuity.prove(state.status.info.id, state.status.info.reported_id, remembered, engine_now);
    save_place(self);
    if (before != state.continuity.epoch() && state.status.state == engine_state::ready)
      tell(self);
    come_to_be_ready(self);
  };
  auto since = state.continuity.asks_since(state.status.info.id);
  if (!since) {
    prove({});
    return;
  }
  state.checking = true;
  call_options options;
  options.until = within(state.health.ping_deadline * 2);
  spawn_call<std::vector<engine_event>>(self, transport::read_creations(state.client, *since, engine_now, options), [self, prove](result<std::vector<engine_event>> remembered) {
    self->state.checking = false;
    if (!remembered)
      missed(self, remembered.error(), true);
    else
      prove(*remembered);
  });
}

void connect(self_pointer self) {
  auto& state = self->state;
  state.checking = true;
  call_options options;
  options.until = within(state.health.ping_deadline * 2);
  spawn_call<engine_info>(self, connect_client(state.client, options), [self](result<engine_info> info) {
    auto& state = self->state;
    state.checking = false;
    if (!info) {
      // Before it was ever ready, and while it is down, there is no point in waiting for further misses.
      missed(self, info.error(), true);
      return;
    }
    if (!state.status.info.id.empty() && state.status.info.id != info->id)
      spdlog::warn("engine {}: another engine answers at {} now ({}, it was {})", state.settings.name, state.settings.endpoint, info->id,
                   state.status.info.id);
    state.context->metrics->engine_reconnected(state.settings.name);
    state.status.info = std::move(*info);
    look_at_disk(self);
    if (!state.events)
      watch_events(self); // and what follows when they come
    else if (state.continuity.in_doubt())
      prove_continuity(self);
    else
      come_to_be_ready(self);
  });
}

void ping(self_pointer self) {
  auto& state = self->state;
  state.checking = true;
  call_options options;
  options.until = within(state.health.ping_deadline);
  spawn_call<void>(self, ping_client(state.client, options), [self](result<void> answer) {
    auto& state = self->state;
    state.checking = false;
    if (!answer) {
      missed(self, answer.error(), certain(answer.error().code));
      return;
    }
    state.misses = 0;
    look_at_disk(self);
    if (state.status.state == engine_state::degraded)
      come_into(self, engine_state::ready, "");
    tick_after(self, state.health.ping_interval);
  });
}

void check(self_pointer self) {
  auto& state = self->state;
  if (state.checking)
    return;
  if (state.status.state == engine_state::ready || state.status.state == engine_state::degraded)
    ping(self);
  else
    connect(self);
}

void watch_events(self_pointer self) {
  auto& state = self->state;
  call_options options;
  options.control = state.events = std::make_shared<transport::call_control>();
  auto begun = std::chrono::steady_clock::now();
  auto actor = weak(self);
  auto opened = [=] { resume(actor, [=] { prove_continuity(self); }); };
  auto created = [=](const engine_event& event) {
    resume(actor, [=] {
      auto& state = self->state;
      state.continuity.saw(event);
      if (!std::exchange(state.place_to_save, true))
        self->run_delayed(1s, [self] { save_place(self); });
    });
  };
  state.checking = true; // until it is open
  auto is_open = std::make_shared<bool>(false);
  spawn_call<void>(self, transport::watch_creations(state.client, [=] { *is_open = true; opened(); }, created, options), [self, begun, is_open](result<void> ended) {
    auto& state = self->state;
    state.events.reset();
    if (!ended && ended.error().code == engine_errc::cancelled)
      return;
    if (!*is_open) {
      state.checking = false;
      missed(self, ended ? transport::error{engine_errc::lost, 0, "its event stream has ended at once"} : ended.error(), true);
      return;
    }
    state.continuity.doubt();
    tell(self);
    if (state.status.state != engine_state::ready && state.status.state != engine_state::degraded)
      return;
    // Asks at once instead of at the next ping; but an engine that gives no stream at all is not asked in a circle.
    come_into(self, engine_state::connecting, "its event stream has ended");
    if (std::chrono::steady_clock::now() - begun < 1s)
      schedule_reconnect(self);
    else if (!state.checking)
      connect(self);
  });
}

// -- logs ------------------------------------------------------------------------------------------------------------

void settle_log(self_pointer self, const attempt_key& key) {
  auto& logs = self->state.logs;
  auto found = logs.find(key);
  if (found == logs.end() || !found->second.ended || found->second.unacknowledged != 0)
    return;
  auto entry = std::move(found->second);
  logs.erase(found);
  log_end end;
  end.complete = !entry.unclear && !(entry.masker && entry.masker->keeps()) && !(entry.reader && entry.reader->keeps());
  if (entry.reader && (entry.reader->whole() || !entry.follows))
    end.report = entry.reader->report();
  if (entry.failure)
    entry.promise.deliver(entry.failure);
  else
    entry.promise.deliver(end);
}

/// The entry of a follower, unless it was replaced.
pending_log* find_log(self_pointer self, const attempt_key& key, std::uint64_t source) {
  auto found = self->state.logs.find(key);
  return found != self->state.logs.end() && found->second.source == source ? &found->second : nullptr;
}

/// Takes out what is not the task's own, and masks.
void sift(pending_log& entry, std::vector<log_record>& records) {
  std::vector<log_record> decided;
  if (entry.reader) {
    for (auto& record : records)
      entry.reader->add(std::move(record), decided);
    records = std::exchange(decided, {});
  }
  if (entry.masker) {
    for (auto& record : records)
      entry.masker->add(std::move(record), decided);
    records = std::move(decided);
  }
}

/// Nothing comes after these records: what was kept back is given too.
void finish_sifting(pending_log& entry, std::vector<log_record>& records) {
  std::vector<log_record> rest;
  if (entry.reader) {
    entry.reader->finish(rest);
    for (auto& record : rest)
      if (entry.masker)
        entry.masker->add(std::move(record), records);
      else
        records.push_back(std::move(record));
  }
  if (entry.masker) {
    entry.masker->finish(records);
    entry.masker.reset();
  }
}

void pass_on(self_pointer self, log_batch batch) {
  auto key = batch.key;
  auto source = batch.source;
  auto wire_bytes = batch.wire_bytes;
  auto entry = find_log(self, key, source);
  if (!entry)
    return;
  ++entry->batches;
  sift(*entry, batch.records);
  if (entry->reader && entry->reader->whole() && !entry->ended) { // the container will take a while to end, but has no more to say
    entry->ended = true;
    entry->follower->cancel();
    finish_sifting(*entry, batch.records);
  }
  if (batch.records.empty()) {
    entry->follower->grant(wire_bytes);
    settle_log(self, key);
    return;
  }
  ++entry->unacknowledged;
  self->request(self->state.addresses.logs, caf::infinite, std::move(batch))
    .then(
      [=] {
        if (auto entry = find_log(self, key, source)) {
          --entry->unacknowledged;
          entry->follower->grant(wire_bytes);
          settle_log(self, key);
        }
      },
      [=](const caf::error& e) {
        if (auto entry = find_log(self, key, source)) {
          --entry->unacknowledged;
          entry->failure = e;
          entry->follower->cancel();
          settle_log(self, key);
        }
      });
}

/// Where the engine keeps a log that is to be followed; empty: not known, or not to be read here.
std::string log_file(const engine_settings& settings, const log_request& request) {
  auto is_id = request.container.size() == 64 && request.container.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (settings.log_files.empty() || !request.follow || request.tty || !is_id)
    return {};
  return settings.log_files + '/' + request.container + "/local-logs/container.log";
}

caf::result<log_end> follow_log(self_pointer self, const log_request& request) {
  auto& state = self->state;
  if (auto old = state.logs.find(request.key); old != state.logs.end()) {
    old->second.follower->cancel();
    old->second.promise.deliver(make_failure(log_errc::stale, "the log is read anew"));
    state.logs.erase(old);
  }
  auto key = request.key;
  auto source = request.lease.source;
  auto actor = weak(self);
  auto follow = request.follow;
  transport::follow_options options{request.container, request.tty, request.follow, request.tail, log_file(self->state.settings, request), request.lease.cursor};
  auto on_records = [=](std::vector<log_record> records, std::uint64_t wire_bytes) {
    auto batch = std::make_shared<log_batch>(log_batch{key, source, wire_bytes, std::move(records)});
    resume(actor, [=] { pass_on(self, std::move(*batch)); });
  };
  auto on_end = [=](result<void> outcome, transport::log_ending ending) {
    resume(actor, [=] {
      if (!ending.file_trouble.empty() && !std::exchange(self->state.told_of_files, true))
        spdlog::warn("engine {}: {}; the engine is asked for its logs", self->state.settings.name, ending.file_trouble);
      auto entry = find_log(self, key, source);
      if (!entry || entry->ended)
        return;
      // Nothing comes after this; but whoever followed is read after, and what was kept back here is read again then.
      if (outcome && !follow && !entry->failure) {
        log_batch rest{key, source, 0, {}};
        finish_sifting(*entry, rest.records);
        for (auto stream : ending.unclear)
          if (!entry->reader || !entry->reader->reported(stream)) // else that line is the init's
            rest.records.push_back({log_stream::note, std::chrono::system_clock::now(),
                                    "the engine does not tell whether the last line of " + to_string(stream) + ", which it has cut, ended with a newline\n"});
        pass_on(self, std::move(rest));
      }
      entry->ended = true;
      entry->unclear = !ending.unclear.empty();
      if (!outcome && !entry->failure)
        entry->failure = to_caf(outcome.error());
      settle_log(self, key);
    });
  };
  auto follower = std::make_shared<transport::log_follower>(state.client, std::move(options), std::move(on_records), std::move(on_end));
  auto promise = self->make_response_promise<log_end>();
  auto& entry = state.logs[key];
  entry.source = source;
  entry.follower = follower;
  entry.promise = promise;
  entry.follows = follow;
  if (!request.nonce.empty())
    entry.reader = std::make_unique<init::report_reader>(request.nonce, request.says_begun && request.lease.cursor.empty());
  std::vector<std::string> hidden;
  for (const auto& one : request.secrets)
    hidden.push_back(one.value);
  if (!hidden.empty())
    entry.masker = std::make_unique<transport::secret_masker>(hidden);
  follower->start();
  return promise;
}

/// A follower that waits for a connection that has died would wait long; but this log's container has ended, and the engine ends the log
/// when it has given all of it.
void hurry_log(self_pointer self, const attempt_key& key, std::uint64_t source, std::uint64_t batches) {
  auto entry = find_log(self, key, source);
  if (!entry || entry->ended || !entry->follows)
    return;
  if (entry->batches == batches && entry->unacknowledged == 0)
    entry->follower->cancel();
  else
    self->run_delayed(quiet_end, [self, key, source, batches = entry->batches] { hurry_log(self, key, source, batches); });
}

// -- sandboxes ---------------------------------------------------------------------------------------------------------

/// make_sandbox, with the line left in `kept` for the actor.
awaitable<result<std::string>> make_and_keep(std::shared_ptr<engine_client> client, container_plan plan, std::string tar, call_options options,
                                             std::shared_ptr<transport::made_sandbox> kept) {
  auto made = co_await transport::make_sandbox(std::move(client), std::move(plan), std::move(tar), std::move(options));
  if (!made)
    co_return made.error();
  *kept = std::move(*made);
  co_return kept->id;
}

caf::result<std::string> make_sandbox(self_pointer self, const container_plan& plan, const std::string& tar) {
  auto kept = std::make_shared<transport::made_sandbox>();
  return call<std::string>(
    self, "sandbox", 120s, {}, [=, client = self->state.client](call_options options) { return make_and_keep(client, plan, tar, options, kept); }, subject::image,
    [=] { self->state.lines[kept->id] = std::move(kept->line); });
}

awaitable<result<void>> write_message(std::shared_ptr<transport::byte_stream> line, std::string message, call_options options) {
  if (!line->idle_and_alive())
    co_return transport::error{engine_errc::not_found, 0, "the engine has closed the line to the sandbox's init"};
  auto written = co_await line->write(message, options.until);
  if (!written)
    co_return written.error();
  co_return result<void>{};
}

caf::result<void> hand_over(self_pointer self, const std::string& id, const std::string& message, bool more) {
  auto& state = self->state;
  auto found = state.lines.find(id);
  if (found == state.lines.end())
    return make_failure(engine_errc::not_found, "there is no line to the sandbox's init any more");
  auto line = found->second;
  if (!more)
    state.lines.erase(found);
  auto after = [=] {
    if (!more) // closed in good order, whenever the engine comes to it
      spawn_call<void>(self, transport::write_to_end(self->state.client, line, {}, {}), [](result<void>) {});
  };
  return call<void>(self, "hand_over", 30s, {}, [=](call_options options) { return write_message(line, message, options); }, subject::container, after);
}

// -- behavior --------------------------------------------------------------------------------------------------------

engine_actor::behavior_type engine_connection(self_pointer self, context_ptr context, engine_settings settings, wiring addresses,
                                              health_settings health) {
  auto& state = self->state;
  state.context = context;
  state.settings = settings;
  state.health = health;
  state.addresses = std::move(addresses);
  state.status.name = settings.name;
  state.status.labels = settings.labels;
  state.status.slots = settings.slots;
  state.status.grace = settings.grace;
  state.status.profile = settings.profile.value_or(context->settings.policy.profile);
  state.status.since = std::chrono::system_clock::now();
  auto where = transport::endpoint_of(settings);
  if (!where) { // the configuration was checked before
    self->quit(to_caf(where.error()));
    return engine_actor::behavior_type::make_empty_behavior();
  }
  auto client = state.client = std::make_shared<engine_client>(context->io.context(), *where);
  state.continuity.load(state.place_file());
  if (auto place = state.continuity.place())
    client->remember(place->reported, place->engine);
  tell(self);
  connect(self);
  return {
    [=](ping_atom) { return self->state.status; },
    [=](pull_atom, const attempt_key& key, const std::string& image, duration limit, const secret& credentials) { return pull_image(self, key, image, limit, credentials); },
    [=](find_atom, const std::string& image) {
      return call<image_info>(self, "image", 30s, {}, [=](call_options options) { return client->inspect_image(image, options); }, subject::image);
    },
    [=](images_atom, remove_atom, const std::string& image) {
      return call<bool>(self, "remove_image", 60s, {}, [=](call_options options) { return client->remove_image(image, options); }, subject::image);
    },
    [=](create_atom, const container_plan& plan) {
      return call<std::string>(self, "create", 60s, {}, [=](call_options options) { return client->create_container(plan, options); }, subject::image);
    },
    [=](start_atom, const std::string& id, const std::string& tar) {
      return call<bool>(self, "start", 120s, {}, [=](call_options options) { return transport::start_with(client, id, tar, options); });
    },
    [=](init_atom, const std::string& volume, const std::string& image) {
      auto helper = init_carrier(self->state.context->settings, volume, image);
      return call<void>(self, "init", 60s, {}, [=](call_options options) {
        return transport::install_init(client, helper, std::string{init::folder}, std::string{init::program_bytes()}, options);
      }, subject::image);
    },
    [=](init_atom, const container_plan& plan, const std::string& tar) { return make_sandbox(self, plan, tar); },
    [=](init_atom, const std::string& id, const std::string& message, bool more) { return hand_over(self, id, message, more); },
    [=](rename_atom, const std::string& id, const std::string& name) {
      return call<void>(self, "rename", 30s, {}, [=](call_options options) { return client->rename_container(id, name, options); });
    },
    [=](count_atom, const std::string& id) {
      return call<std::uint32_t>(self, "stats", 15s, {}, [=](call_options options) { return client->count_processes(id, options); });
    },
    [=](wait_atom, const attempt_key& key, const std::string& id) {
      return call<std::int64_t>(self, "wait", {}, key, [=](call_options options) { return client->wait_container(id, options); });
    },
    [=](inspect_atom, const std::string& id) {
      return call<container_status>(self, "inspect", 30s, {}, [=](call_options options) { return client->inspect_container(id, options); });
    },
    [=](stop_atom, const std::string& id, duration grace) {
      return call<bool>(self, "stop", grace + 30s, {}, [=](call_options options) { return client->stop_container(id, grace, options); });
    },
    [=](remove_atom, const std::string& id) {
      self->state.lines.erase(id);
      return call<void>(self, "remove", 60s, {}, [=](call_options options) { return client->remove_container(id, options); });
    },
    [=](list_atom, const std::vector<std::string>& labels) {
      return call<std::vector<container_summary>>(self, "list", 60s, {},
                                                  [=](call_options options) { return client->list_containers(labels, options); });
    },
    [=](attach_atom, const attempt_key& key, const std::string& id, const std::string& bytes) {
      auto line = self->state.lines.extract(id); // to a sandbox; its task's input comes behind the task
      if (!line.empty())
        return call<void>(self, "attach", 30s, key, [=, stream = line.mapped()](call_options options) { return transport::write_to_end(client, stream, bytes, options); });
      return call<void>(self, "attach", 30s, key, [=](call_options options) { return transport::write_stdin(client, id, bytes, options); });
    },
    [=](files_atom, const std::string& id, const std::string& path, std::uint64_t most) {
      return call<std::string>(self, "archive", 60s, {}, [=](call_options options) {
        options.max_body = most;
        return client->download_archive(id, path, options);
      });
    },
    [=](history_atom, const std::string& id, timestamp since) {
      return call<std::vector<engine_event>>(self, "events", 15s, {},
                                             [=](call_options options) { return transport::read_history(client, id, since, options); });
    },
    [=](log_atom, start_atom, const std::string& id) {
      return call<std::string>(self, "logs", 30s, {}, [=](call_options options) { return transport::read_first_output(client, id, options); });
    },
    [=](log_atom, const log_request& request) { return follow_log(self, request); },
    [=](log_atom, ended_atom, const attempt_key& key) {
      if (auto found = self->state.logs.find(key); found != self->state.logs.end()) {
        found->second.follower->ended();
        hurry_log(self, key, found->second.source, ~0ull);
      }
    },
    [=](withdraw_atom, const attempt_key& key) {
      leave_pulls(self, engine_errc::cancelled, "the pull was withdrawn", [&](const waiting_pull& one) { return one.key == key; });
      for (auto& [id, call] : self->state.calls)
        if (call.owner == key)
          call.control->cancel();
      if (auto log = self->state.logs.find(key); log != self->state.logs.end())
        log->second.follower->cancel();
    },
    [](const continuation& work) { work.run(); },
    [=](tick_atom, std::uint64_t number) {
      if (number == self->state.tick)
        check(self);
    },
    [=](wire_atom, const wiring& now) {
      self->state.addresses = now;
      tell(self);
    },
  };
}

} // namespace

engine_actor spawn_engine_connection(caf::actor_system& system, context_ptr context, engine_settings settings, wiring addresses,
                                     health_settings health) {
  return system.spawn(engine_connection, std::move(context), std::move(settings), std::move(addresses), health);
}

} // namespace davit
