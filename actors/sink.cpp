#include "actors/sink.hpp"

#include "actors/metrics.hpp"
#include "json/read.hpp"
#include "json/write.hpp"
#include "store/attempt_log.hpp"
#include "transport/io_runtime.hpp"
#include "shipping/log_service.hpp"

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/strand.hpp>

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/spdlog.h>

#include <deque>
#include <fstream>
#include <iostream>
#include <limits>
#include <random>
#include <set>

namespace davit {

namespace {

using namespace std::chrono_literals;
using transport::awaitable;
using shipping::delivery;
using shipping::log_names;
using steady = std::chrono::steady_clock;

constexpr duration save_interval = 1s;
constexpr duration least_backoff = 500ms, most_backoff = 30s;
constexpr duration delivery_deadline = 30s;
constexpr std::uint32_t page_bytes = 128 * 1024;
constexpr std::size_t most_reads = 64;     ///< At once: with page_bytes, what a sink may hold in memory.
constexpr std::size_t most_deliveries = 8; ///< At once; of one log they go one after the other.
constexpr duration forgotten_after = 10s;  ///< How far back the logs are looked through after a crash: more than a save takes.

/// How far a log has been sent, as it is kept on disk.
struct kept_position {
  task_id task;
  std::int32_t attempt = 0;
  std::uint64_t offset = 0;
};
template <class Inspector>
bool inspect(Inspector& f, kept_position& x) {
  return f.object(x).fields(f.field("task", x.task), f.field("attempt", x.attempt), f.field("offset", x.offset));
}

struct kept_state {
  timestamp at;
  std::vector<kept_position> open;
  std::vector<kept_position> done; ///< Lately.
};
template <class Inspector>
bool inspect(Inspector& f, kept_state& x) {
  return f.object(x).fields(f.field("at", x.at), f.field("open", x.open), f.field("done", x.done));
}

struct shipped_log {
  std::uint64_t offset = 0;
  std::shared_ptr<const log_names> names; ///< Known once the store has told.
  bool busy = false;                      ///< Being read, or sent.
};

/// The offset of a log that is not sent any further.
constexpr std::uint64_t given_up = std::numeric_limits<std::int64_t>::max();

struct finished_log {
  std::uint64_t offset = 0;
  steady::time_point at;
};

struct sink_state {
  static inline const char* name = "sink";

  context_ptr context;
  sink_settings settings;
  sink_handles addresses;
  sink_status status;
  std::map<attempt_key, shipped_log> logs;
  std::map<attempt_key, finished_log> done;
  std::deque<attempt_key> idle; ///< Whose turn it is to be read.
  std::size_t reads = 0, deliveries = 0;
  std::deque<std::pair<attempt_key, log_page>> pages; ///< Read, and not yet being sent.
  std::shared_ptr<shipping::log_service> service;
  std::shared_ptr<spdlog::sinks::rotating_file_sink_mt> file;
  duration backoff{0};
  std::optional<steady::time_point> not_before; ///< The place does not take anything until then.
  bool dirty = true;
  steady::time_point saved_at{};
  std::minstd_rand random{std::random_device{}()};
  boost::asio::any_io_executor strand;

  explicit sink_state(sink_actor::stateful_pointer<sink_state>) {}
  ~sink_state() {
    if (context && dirty)
      keep();
  }

  /// Writes down how far each log has come.
  void keep();
  std::filesystem::path kept_file() const { return context->settings.data_dir / "sinks" / (settings.name + ".json"); }
};

using self_pointer = sink_actor::stateful_pointer<sink_state>;

void sink_state::keep() {
  kept_state kept;
  kept.at = std::chrono::system_clock::now();
  for (const auto& [key, one] : logs)
    kept.open.push_back({key.task, key.number, one.offset});
  for (const auto& [key, one] : done)
    kept.done.push_back({key.task, key.number, one.offset});
  auto path = kept_file(), fresh = path;
  fresh += ".new";
  std::error_code ec;
  std::filesystem::create_directories(path.parent_path(), ec);
  {
    std::ofstream out{fresh, std::ios::trunc};
    out << json::write(kept);
    if (!out.flush()) {
      spdlog::warn("sink {}: {} can't be written: after a restart, more is sent twice", settings.name, fresh.string());
      return;
    }
  }
  std::filesystem::rename(fresh, path, ec);
  dirty = bool{ec};
  saved_at = steady::now();
}

void pump(self_pointer self);

void add(self_pointer self, const attempt_key& key, std::uint64_t offset) {
  auto& state = self->state;
  if (auto over = state.done.find(key); over != state.done.end()) { // gone on with, by an agent that has started again
    if (over->second.offset == given_up)
      return;
    offset = over->second.offset;
    state.done.erase(over);
  }
  auto [entry, added] = state.logs.try_emplace(key);
  if (!added)
    return;
  entry->second.offset = offset;
  state.idle.push_back(key);
  state.dirty = true;
}

/// What was under way when the agent ended last, and what was begun since the last save. A sink that is new begins with what comes.
void remember(self_pointer self) {
  auto& state = self->state;
  std::ifstream in{state.kept_file()};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  if (text.empty())
    return;
  auto kept = json::read<kept_state>(std::string_view{text}, json::unknown_fields::ignore);
  if (!kept) {
    spdlog::warn("sink {}: {} can't be read; logs are sent from now on", state.settings.name, state.kept_file().string());
    return;
  }
  for (const auto& one : kept->done)
    state.done[{one.task, one.attempt}] = {one.offset, steady::now()};
  for (const auto& one : kept->open)
    add(self, {one.task, one.attempt}, one.offset);
  for (const auto& key : store::logs_since(state.context->settings.log_folder(), kept->at - forgotten_after))
    if (!state.logs.contains(key) && !state.done.contains(key))
      add(self, key, 0);
}

void drop_log(self_pointer self, const attempt_key& key, std::uint64_t offset) {
  auto& state = self->state;
  state.logs.erase(key);
  state.done[key] = {offset, steady::now()};
  state.dirty = true;
}

std::uint64_t bytes_of(const log_page& page) {
  std::uint64_t bytes = 0;
  for (const auto& one : page.records)
    bytes += one.bytes.size();
  return bytes;
}

/// A page is where it should be, or will never be.
void page_over(self_pointer self, const attempt_key& key, const log_page& page) {
  auto& state = self->state;
  auto found = state.logs.find(key);
  if (found == state.logs.end())
    return;
  found->second.offset = page.next;
  found->second.busy = false;
  state.dirty = true;
  if (page.finished)
    drop_log(self, key, page.next);
  else
    state.idle.push_back(key);
}

void sent(self_pointer self, const attempt_key& key, log_page page, const delivery& done) {
  auto& state = self->state;
  const auto& name = state.settings.name;
  auto& metrics = *state.context->metrics;
  auto bytes = bytes_of(page);
  if (done.how == delivery::verdict::again) {
    ++state.status.failures;
    metrics.sink_failed(name);
    if (state.status.message != done.message)
      spdlog::warn("sink {}: {}; it is tried again", name, done.message);
    state.status.message = done.message;
    state.backoff = std::clamp(state.backoff * 2, least_backoff, most_backoff);
    std::uniform_int_distribution<duration::rep> jitter{0, state.backoff.count() / 2};
    auto wait = std::max(done.wait, state.backoff - duration{jitter(state.random)});
    state.not_before = steady::now() + wait;
    state.pages.emplace_front(key, std::move(page));
    self->delayed_send(self, wait, tick_atom_v);
    return;
  }
  if (done.how == delivery::verdict::never) {
    ++state.status.failures;
    metrics.sink_failed(name);
    state.status.message = done.message;
    state.status.dropped += bytes;
    metrics.sink_dropped(name, bytes);
    spdlog::error("sink {}: {} bytes of the log of task {} are dropped: {}", name, bytes, to_string(key.task), done.message);
  } else {
    if (!state.status.message.empty())
      spdlog::info("sink {} takes logs again", name);
    state.status.message = done.message; // empty, or what it has thrown away
    state.backoff = duration{0};
    state.not_before.reset();
    state.status.bytes += bytes;
    state.status.records += page.records.size();
    metrics.sink_sent(name, bytes);
    if (done.refused != 0)
      spdlog::warn("sink {}: of the log of task {}, {}", name, to_string(key.task), done.message);
  }
  page_over(self, key, page);
}

/// Writes lines here and now.
delivery write_lines(sink_state& state, const log_names& names, const std::vector<log_record>& records) {
  std::string lines;
  for (const auto& one : records)
    lines += shipping::json_line(names, one);
  try {
    if (state.settings.type == sink_type::console) {
      std::cout.write(lines.data(), static_cast<std::streamsize>(lines.size()));
      if (!std::cout.flush()) {
        std::cout.clear();
        return {delivery::verdict::again, "standard output can't be written", duration{0}, 0, {}};
      }
      return {};
    }
    if (!state.file) {
      state.file = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(state.settings.path, state.settings.max_size.bytes, state.settings.max_files);
      state.file->set_pattern("%v");
    }
    lines.pop_back(); // the sink's own newline takes its place
    state.file->log(spdlog::details::log_msg{"", spdlog::level::info, lines});
    state.file->flush();
    return {};
  } catch (const std::exception& e) {
    state.file.reset();
    return {delivery::verdict::again, e.what(), duration{0}, 0, {}};
  }
}

void deliver(self_pointer self) {
  auto& state = self->state;
  if (state.not_before && *state.not_before > steady::now())
    return;
  while (!state.pages.empty() && state.deliveries < most_deliveries) {
    auto [key, page] = std::move(state.pages.front());
    state.pages.pop_front();
    auto found = state.logs.find(key);
    if (found == state.logs.end())
      continue;
    auto names = found->second.names;
    if (!state.service) {
      auto done = write_lines(state, *names, page.records);
      sent(self, key, std::move(page), done);
      if (state.not_before)
        return;
      continue;
    }
    ++state.deliveries;
    auto shared = std::make_shared<log_page>(std::move(page));
    std::shared_ptr<const std::vector<log_record>> records{shared, &shared->records};
    transport::call_options options;
    options.until = transport::within(delivery_deadline);
    boost::asio::co_spawn(state.strand, state.service->send(names, records, options),
                          [actor = caf::actor_cast<caf::weak_actor_ptr>(sink_actor{self}), self, key, shared, service = state.service](std::exception_ptr failed, delivery done) {
                            if (failed)
                              done = {delivery::verdict::again, "an internal error ended the delivery", duration{0}, 0, {}};
                            if (auto strong = actor.lock())
                              caf::anon_send(caf::actor_cast<sink_actor>(strong), continuation{[=] {
                                               --self->state.deliveries;
                                               sent(self, key, std::move(*shared), done);
                                               pump(self);
                                             }});
                          });
  }
}

/// Puts the log at the end of those that are to be read, a little later.
void read_later(self_pointer self, const attempt_key& key) {
  self->run_delayed(1s, [self, key] {
    auto found = self->state.logs.find(key);
    if (found == self->state.logs.end())
      return;
    found->second.busy = false;
    self->state.idle.push_back(key);
    pump(self);
  });
}

void read_page(self_pointer self, const attempt_key& key) {
  auto& state = self->state;
  ++state.reads;
  log_query query{key, state.logs[key].offset, page_bytes, state.logs.size() > most_reads ? duration{200} : duration{5000}, false};
  self->request(state.addresses.logs, caf::infinite, read_atom_v, std::move(query))
    .then(
      [=](log_page& page) {
        auto& state = self->state;
        --state.reads;
        if (!page.records.empty())
          state.pages.emplace_back(key, std::move(page));
        else if (page.finished || store::log_exists(store::log_path(state.context->settings.log_folder(), key)))
          page_over(self, key, page);
        else // its task was forgotten
          drop_log(self, key, page.next);
        pump(self);
      },
      [=](const caf::error& e) {
        --self->state.reads;
        spdlog::warn("sink {}: the log of task {} can't be read: {}", self->state.settings.name, to_string(key.task), text_of(e));
        read_later(self, key);
      });
}

/// Finds out whose log it is, and reads it.
void read(self_pointer self, const attempt_key& key) {
  auto& state = self->state;
  auto& one = state.logs[key];
  one.busy = true;
  if (one.names)
    return read_page(self, key);
  self->request(state.addresses.store, 30s, find_atom_v, key.task)
    .then(
      [=](const task& whose) {
        auto found = self->state.logs.find(key);
        if (found == self->state.logs.end())
          return;
        auto names = std::make_shared<log_names>();
        const auto& settings = self->state.context->settings;
        names->fleet = settings.fleet;
        names->agent = settings.name;
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
        found->second.names = std::move(names);
        read_page(self, key);
      },
      [=](const caf::error& e) {
        if (e == store_errc::not_found)
          drop_log(self, key, 0);
        else
          read_later(self, key);
      });
}

void pump(self_pointer self) {
  auto& state = self->state;
  deliver(self);
  if (!state.addresses.logs || !state.addresses.store)
    return;
  // What waits to be sent is not added to while the place takes nothing.
  for (auto turns = state.idle.size(); turns > 0 && state.reads < most_reads && state.pages.size() + state.deliveries < most_deliveries; --turns) {
    auto key = state.idle.front();
    state.idle.pop_front();
    if (auto found = state.logs.find(key); found != state.logs.end() && !found->second.busy)
      read(self, key);
  }
}

/// What waits for a place that takes nothing is bounded: the oldest goes first.
void bound_backlog(self_pointer self) {
  auto& state = self->state;
  std::uint64_t backlog = 0;
  std::map<attempt_key, std::uint64_t> sizes;
  for (const auto& [key, one] : state.logs) {
    auto size = store::log_size(store::log_path(state.context->settings.log_folder(), key));
    sizes[key] = size > one.offset ? size - one.offset : 0;
    backlog += sizes[key];
  }
  state.status.backlog = state.logs.size();
  state.context->metrics->sink_backlog(state.settings.name, static_cast<std::int64_t>(backlog));
  if (!state.not_before)
    return;
  for (const auto& [key, size] : sizes) { // ids begin with the time
    if (backlog <= state.settings.max_backlog.bytes)
      return;
    backlog -= size;
    state.status.dropped += size;
    state.context->metrics->sink_dropped(state.settings.name, size);
    spdlog::error("sink {}: more than max-backlog waits to be sent; {} bytes of the log of task {} are dropped", state.settings.name, size, to_string(key.task));
    std::erase_if(state.pages, [&key = key](const auto& page) { return page.first == key; });
    drop_log(self, key, given_up); // with what it still prints
  }
}

sink_actor::behavior_type sink(self_pointer self, context_ptr context, sink_settings settings, sink_handles addresses) {
  auto& state = self->state;
  state.context = context;
  state.settings = settings;
  state.addresses = std::move(addresses);
  state.status.name = settings.name;
  state.status.type = to_string(settings.type);
  if (settings.type != sink_type::file && settings.type != sink_type::console) {
    state.strand = boost::asio::make_strand(context->io.context());
    auto made = shipping::make_log_service(state.strand, settings, [](const char* name) -> const char* { return std::getenv(name); });
    if (!made) { // the configuration was checked before, but not the environment
      spdlog::critical("{}", made.error().message);
      self->quit(make_failure(made.error().code, made.error().message));
      return sink_actor::behavior_type::make_empty_behavior();
    }
    state.service = std::move(*made);
  }
  context->metrics->sink_sent(settings.name, 0);
  remember(self);
  state.keep();
  self->delayed_send(self, save_interval, tick_atom_v);
  return {
    [=](open_atom, const attempt_key& key) {
      add(self, key, 0);
      pump(self);
    },
    [=](ping_atom) {
      auto& state = self->state;
      state.status.backlog = state.logs.size();
      return state.status;
    },
    [](const continuation& work) { work.run(); },
    [=](tick_atom) {
      auto& state = self->state;
      if (steady::now() - state.saved_at >= save_interval) {
        std::erase_if(state.done, [now = steady::now()](const auto& one) { return now - one.second.at > 2 * forgotten_after; });
        bound_backlog(self);
        if (state.dirty)
          state.keep();
        state.saved_at = steady::now();
        self->delayed_send(self, save_interval, tick_atom_v);
      }
      pump(self);
    },
    [=](wire_atom, const sink_handles& now) {
      self->state.addresses = now;
      pump(self);
    },
  };
}

} // namespace

sink_actor spawn_sink(caf::actor_system& system, context_ptr context, sink_settings settings, sink_handles addresses) {
  return system.spawn<caf::detached>(sink, std::move(context), std::move(settings), std::move(addresses));
}

} // namespace davit
