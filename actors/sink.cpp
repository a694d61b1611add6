#include "actors/sink.hpp"

#include "actors/metrics.hpp"
#include "actors/sink_logs.hpp"
#include "actors/sink_outlet.hpp"

#include <caf/actor_clock.hpp>
#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <deque>
#include <random>

namespace davit {

namespace {

using namespace std::chrono_literals;
using shipping::delivery;
using shipping::log_names;
using moment = caf::actor_clock::time_point;

constexpr duration save_interval = 1s;
constexpr duration answer_patience = 5s; ///< A place that answers nothing for so long takes nothing.
constexpr duration least_backoff = 500ms, most_backoff = 30s;
constexpr std::uint32_t page_bytes = 128 * 1024;
constexpr std::size_t most_reads = 64;        ///< At once: with page_bytes, what a sink may hold in memory.
constexpr std::size_t most_deliveries = 8;    ///< At once; of one log they go one after the other.
constexpr std::size_t most_measured = 10'000; ///< Logs whose sizes are asked for at once.
constexpr duration forgotten_after
  = 10s; ///< How far back the logs are looked through after a crash: more than a save takes.

/// Read, and not yet sent.
struct read_page {
  sink_turn turn;
  std::shared_ptr<log_page> page;
};

struct sink_state {
  static inline const char* name = "sink";

  sink_actor::stateful_pointer<sink_state> self;
  context_ptr context;
  sink_settings settings;
  sink_handles addresses;
  sink_status status;
  sink_logs logs;
  std::size_t reads = 0, deliveries = 0;
  std::deque<read_page> pages;
  std::shared_ptr<sink_outlet> outlet;
  duration backoff{0};
  std::optional<moment> not_before;    ///< The place does not take anything until then.
  std::optional<moment> unanswered;    ///< Since when deliveries are under way and none is answered.
  std::optional<timestamp> unsearched; ///< What was begun since may not be known here: the last save before a restart.
  bool searching = false, measuring = false;
  bool dirty = true;
  bool unkept = false; ///< The last try to write down how far the logs have come has failed.
  moment saved_at{};
  std::minstd_rand random{std::random_device{}()};

  explicit sink_state(sink_actor::stateful_pointer<sink_state> itself) : self(itself) {}
  ~sink_state() {
    if (context && dirty)
      keep();
  }

  moment now() const { return self->clock().now(); }
  std::filesystem::path kept_file() const { return context->settings.data_dir / "sinks" / (settings.name + ".json"); }

  // -- what is to be sent
  // ------------------------------------------------------------------------------------------------

  /// Writes down how far each log has come.
  void keep();

  /// What was under way when the agent ended last. A sink that is new begins with what comes.
  void remember();

  /// Finds what was begun since the last save before a restart.
  void search();

  void opened(const attempt_key& key, std::uint64_t size);
  void drop(const attempt_key& key, std::uint64_t offset);

  /// Asks how long the logs are that may have grown.
  void measure();

  /// What waits for a place that takes nothing is bounded: the oldest goes first.
  void bound_backlog();

  // -- sending
  // -----------------------------------------------------------------------------------------------------------

  /// Reads and sends as much as the bounds allow.
  void pump();

  /// Finds out whose log it is, and reads it.
  void read(const sink_turn& turn);
  void read_from_keeper(const sink_turn& turn, const shipped_log& log);
  void take_page(const sink_turn& turn, log_page& page);
  void read_failed(const sink_turn& turn, const caf::error& e);

  void deliver();
  void sent(const read_page& one, const delivery& outcome);

  /// A page is where it should be, or will never be.
  void page_over(const read_page& one);

  void tick();
};

using self_pointer = sink_actor::stateful_pointer<sink_state>;

// -- what is to be sent
// --------------------------------------------------------------------------------------------------

void sink_state::keep() {
  auto positions = logs.positions();
  positions.at = unsearched.value_or(std::chrono::system_clock::now());
  dirty = !save_positions(kept_file(), positions);
  if (dirty == unkept)
    return;
  unkept = dirty;
  if (unkept)
    spdlog::warn("sink {}: {} can't be written: after a restart, more is sent twice", settings.name,
                 kept_file().string());
  else
    spdlog::info("sink {}: {} is written again", settings.name, kept_file().string());
}

void sink_state::remember() {
  std::string error;
  auto kept = load_positions(kept_file(), error);
  if (!kept) {
    if (!error.empty())
      spdlog::warn("sink {}: {}; logs are sent from now on", settings.name, error);
    return;
  }
  logs.restore(*kept, now());
  unsearched = kept->at;
}

void sink_state::search() {
  if (!unsearched || searching || !addresses.logs)
    return;
  searching = true;
  self->request(addresses.logs, caf::infinite, since_atom_v, *unsearched - forgotten_after)
    .then(
      [this](const std::vector<attempt_key>& found) {
        searching = false;
        unsearched.reset();
        dirty = true;
        for (const auto& key : found)
          logs.found(key);
        pump();
      },
      [this](const caf::error& e) {
        spdlog::warn("sink {}: the logs since the last start can't be found yet: {}", settings.name, text_of(e));
        self->run_delayed(1s, [this] {
          searching = false;
          search();
        });
      });
}

void sink_state::opened(const attempt_key& key, std::uint64_t size) {
  dirty = true;
  if (logs.opened(key, size) && std::erase_if(pages, [&](const read_page& one) { return one.turn.key == key; }) != 0)
    logs.requeue(key);
  pump();
}

void sink_state::drop(const attempt_key& key, std::uint64_t offset) {
  logs.drop(key, offset, now());
  dirty = true;
}

void sink_state::measure() {
  if (measuring || !addresses.logs)
    return;
  auto keys = logs.unmeasured(most_measured);
  if (keys.empty())
    return;
  measuring = true;
  self->request(addresses.logs, caf::infinite, size_atom_v, keys)
    .then(
      [this, keys](const std::vector<log_extent>& sizes) {
        measuring = false;
        logs.measured(keys, sizes);
      },
      [this](const caf::error&) { measuring = false; });
}

void sink_state::bound_backlog() {
  auto backlog = logs.backlog();
  status.backlog = logs.count();
  context->metrics->sink_backlog(settings.name, static_cast<std::int64_t>(backlog));
  auto takes_nothing = not_before || (unanswered && now() - *unanswered >= answer_patience);
  if (!takes_nothing)
    return;
  while (backlog > settings.max_backlog.bytes) {
    auto oldest = logs.skip_oldest(now());
    if (!oldest)
      return;
    auto [key, size] = *oldest;
    backlog -= size;
    dirty = true;
    status.dropped += size;
    context->metrics->sink_dropped(settings.name, size);
    spdlog::error("sink {}: more than max-backlog waits to be sent; {} bytes of the log of task {} are dropped",
                  settings.name, size, to_string(key.task));
  }
}

// -- sending
// -------------------------------------------------------------------------------------------------------------

void sink_state::pump() {
  search();
  deliver();
  if (!addresses.logs || !addresses.store)
    return;
  // What waits to be sent is not added to while the place takes nothing.
  auto has_room = [this] { return reads < most_reads && pages.size() + deliveries < most_deliveries; };
  for (auto turns = logs.waiting(); turns > 0 && has_room(); --turns)
    if (auto next = logs.next())
      read(*next);
}

std::shared_ptr<const log_names> names_of(const agent_settings& agent, const attempt_key& key, const task& whose) {
  auto names = std::make_shared<log_names>();
  names->fleet = agent.fleet;
  names->agent = agent.name;
  names->task = to_string(key.task);
  names->attempt = std::to_string(key.number);
  names->name = whose.spec.name;
  names->owner = whose.owner;
  names->image = whose.spec.image;
  names->labels = whose.spec.labels;
  names->traceparent = whose.spec.traceparent;
  for (const auto& attempt : whose.attempts)
    if (attempt.number == key.number)
      names->engine = attempt.engine;
  return names;
}

void sink_state::read(const sink_turn& turn) {
  ++reads;
  auto& log = *logs.still(turn);
  if (log.names)
    return read_from_keeper(turn, log);
  self->request(addresses.store, 30s, find_atom_v, turn.key.task)
    .then(
      [this, turn](const task& whose) {
        if (auto log = logs.still(turn)) {
          log->names = names_of(context->settings, turn.key, whose);
          return read_from_keeper(turn, *log);
        }
        --reads;
        pump();
      },
      [this, turn](const caf::error& e) {
        --reads;
        read_failed(turn, e);
        pump();
      });
}

void sink_state::read_from_keeper(const sink_turn& turn, const shipped_log& log) {
  log_query query{turn.key, log.offset, page_bytes, logs.count() > most_reads ? duration{200} : duration{5000}, false};
  self->request(addresses.logs, caf::infinite, ship_atom_v, settings.name, query)
    .then(
      [this, turn](log_page& page) {
        --reads;
        take_page(turn, page);
        pump();
      },
      [this, turn](const caf::error& e) {
        --reads;
        read_failed(turn, e);
        pump();
      });
}

void sink_state::take_page(const sink_turn& turn, log_page& page) {
  auto log = logs.still(turn);
  if (!log)
    return;
  log->size = std::max(log->size, page.next);
  read_page one{turn, std::make_shared<log_page>(std::move(page))};
  if (one.page->records.empty())
    page_over(one);
  else
    pages.push_back(std::move(one));
}

void sink_state::read_failed(const sink_turn& turn, const caf::error& e) {
  auto log = logs.still(turn);
  if (!log)
    return;
  if (e == log_errc::missing || e == store_errc::not_found) // its task was forgotten, or it was never written
    return drop(turn.key, log->offset);
  spdlog::warn("sink {}: the log of task {} can't be read: {}", settings.name, to_string(turn.key.task), text_of(e));
  if (e != log_errc::damaged) {
    self->run_delayed(1s, [this, turn] {
      if (logs.still(turn))
        logs.requeue(turn.key);
      pump();
    });
  } else if (log->offset == 0 || log->begun_again) {
    spdlog::error("sink {}: the rest of the log of task {} is not sent", settings.name, to_string(turn.key.task));
    drop(turn.key, log->offset);
  } else { // it may have been written anew
    log->begun_again = true;
    log->offset = 0;
    logs.requeue(turn.key);
  }
}

void sink_state::deliver() {
  if (not_before && *not_before > now())
    return;
  while (!pages.empty() && deliveries < most_deliveries) {
    auto one = std::move(pages.front());
    pages.pop_front();
    auto log = logs.still(one.turn);
    if (!log)
      continue;
    if (deliveries++ == 0)
      unanswered = now();
    sink_outlet::records_ptr records{one.page, &one.page->records};
    outlet->send(log->names, records,
                 [this, one, actor = caf::actor_cast<caf::weak_actor_ptr>(sink_actor{self})](delivery outcome) {
                   if (auto strong = actor.lock()) // `this` is looked at in its own messages alone
                     caf::anon_send(caf::actor_cast<sink_actor>(strong), continuation{[this, one, outcome] {
                                      unanswered = --deliveries == 0 ? std::nullopt : std::optional{now()};
                                      sent(one, outcome);
                                      pump();
                                    }});
                 });
  }
}

void sink_state::sent(const read_page& one, const delivery& outcome) {
  std::uint64_t bytes = 0;
  for (const auto& record : one.page->records)
    bytes += record.bytes.size();
  const auto& name = settings.name;
  auto& metrics = *context->metrics;
  if (outcome.how == delivery::verdict::again) {
    ++status.failures;
    metrics.sink_failed(name);
    if (status.message != outcome.message)
      spdlog::warn("sink {}: {}; davit retries", name, outcome.message);
    status.message = outcome.message;
    if (!not_before || *not_before <= now()) // what was under way beside it fails for the same reason
      backoff = std::clamp(backoff * 2, least_backoff, most_backoff);
    std::uniform_int_distribution<duration::rep> jitter{0, backoff.count() / 2};
    auto wait = std::max(outcome.wait, backoff - duration{jitter(random)});
    not_before = std::max(not_before.value_or(moment{}), now() + wait);
    if (logs.still(one.turn))
      pages.push_front(one);
    self->delayed_send(self, wait, tick_atom_v);
    return;
  }
  if (outcome.how == delivery::verdict::never) {
    ++status.failures;
    metrics.sink_failed(name);
    status.message = outcome.message;
    status.dropped += bytes;
    metrics.sink_dropped(name, bytes);
    spdlog::error("sink {}: {} bytes of the log of task {} are dropped: {}", name, bytes, to_string(one.turn.key.task),
                  outcome.message);
  } else {
    if (!status.message.empty())
      spdlog::info("sink {} takes logs again", name);
    status.message = outcome.message; // empty, or what it has thrown away
    backoff = duration{0};
    not_before.reset();
    status.bytes += bytes;
    status.records += one.page->records.size();
    metrics.sink_sent(name, bytes);
    if (outcome.refused != 0)
      spdlog::warn("sink {}: of the log of task {}, {}", name, to_string(one.turn.key.task), outcome.message);
  }
  page_over(one);
}

void sink_state::page_over(const read_page& one) {
  auto log = logs.still(one.turn);
  if (!log)
    return;
  log->offset = one.page->next;
  dirty = true;
  if (one.page->finished)
    drop(one.turn.key, one.page->next);
  else
    logs.requeue(one.turn.key);
}

void sink_state::tick() {
  if (now() - saved_at >= save_interval) {
    if (!unsearched)
      logs.forget(now() - 2 * forgotten_after);
    bound_backlog();
    measure();
    if (dirty)
      keep();
    saved_at = now();
    self->delayed_send(self, save_interval, tick_atom_v);
  }
  pump();
}

sink_actor::behavior_type sink(self_pointer self, context_ptr context, sink_settings settings, sink_handles addresses,
                               std::shared_ptr<sink_outlet> outlet) {
  auto& state = self->state;
  if (!outlet) {
    auto made = make_sink_outlet(*context, settings);
    if (!made) {
      spdlog::critical("{}", made.error().message);
      self->quit(make_failure(made.error().code, made.error().message));
      return sink_actor::behavior_type::make_empty_behavior();
    }
    outlet = std::move(*made);
  }
  state.context = context;
  state.outlet = std::move(outlet);
  state.settings = settings;
  state.addresses = std::move(addresses);
  state.status.name = settings.name;
  state.status.type = to_string(settings.type);
  context->metrics->sink_sent(settings.name, 0);
  state.remember();
  state.keep();
  state.saved_at = state.now();
  state.search();
  self->delayed_send(self, save_interval, tick_atom_v);
  return {
    [&state](open_atom, const attempt_key& key, std::uint64_t size) { state.opened(key, size); },
    [&state](ping_atom) {
      state.status.backlog = state.logs.count();
      return state.status;
    },
    [](const continuation& work) { work.run(); },
    [&state](tick_atom) { state.tick(); },
    [&state](wire_atom, const sink_handles& now) {
      state.addresses = now;
      state.pump();
    },
  };
}

} // namespace

sink_actor spawn_sink(caf::actor_system& system, context_ptr context, sink_settings settings, sink_handles addresses) {
  return system.spawn<caf::detached>(sink, std::move(context), std::move(settings), std::move(addresses), nullptr);
}

sink_actor spawn_sink(caf::actor_system& system, context_ptr context, sink_settings settings, sink_handles addresses,
                      std::shared_ptr<sink_outlet> outlet) {
  return system.spawn(sink, std::move(context), std::move(settings), std::move(addresses), std::move(outlet));
}

} // namespace davit
