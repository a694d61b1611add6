#include "actors/log_keeper.hpp"

#include "actors/blocking_actor.hpp"
#include "actors/crash_point.hpp"
#include "actors/log_keeper_state.hpp"
#include "actors/metrics.hpp"
#include "encoding/base64.hpp"

#include <caf/actor_system.hpp>

#include <spdlog/spdlog.h>

namespace davit {

namespace log_keeping {

state::~state() {
  for (auto& [key, log] : open)
    if (auto written = log.writer->to_file(); !written)
      spdlog::error("a log is lost here, and must be read from its engine again: {}", written.error().message);
}

bool state::is_here(const attempt_key& key) const {
  return open.contains(key) || unsent.find(key) || store::log_exists(path_of(key));
}

caf::error to_caf(const store::log_error& e) {
  return make_failure(e.code, e.message);
}

void keep_ticking(self_pointer self) {
  auto& state = self->state;
  auto now = !state.to_compress.empty() || !state.scans.empty();
  if (state.ticking || (!now && state.readers.empty() && state.in_memory.empty()))
    return;
  state.ticking = true;
  if (now)
    self->send(self, tick_atom_v);
  else
    self->delayed_send(self, std::chrono::milliseconds{250}, tick_atom_v);
}

namespace {

constexpr std::uint64_t least_to_compress = 64 * 1024;

/// The open log of `key`, opened if it is not.
store::log_result<open_log*> open(self_pointer self, const attempt_key& key) {
  auto& open = self->state.open;
  if (auto found = open.find(key); found != open.end())
    return &found->second;
  const auto& settings = self->state.context->settings.logs;
  auto writer = store::log_writer::open(self->state.path_of(key), settings.max_bytes.bytes, store::log_place::memory);
  if (!writer)
    return writer.error();
  if ((*writer)->in_memory()) {
    self->state.in_memory.emplace_back(key, std::chrono::steady_clock::now() + settings.in_memory);
    keep_ticking(self);
  }
  return &open.emplace(key, open_log{std::move(*writer)}).first->second;
}

/// Gives files to the logs that are in memory for too long.
void write_out(self_pointer self) {
  auto& state = self->state;
  auto now = std::chrono::steady_clock::now();
  while (!state.in_memory.empty() && state.in_memory.front().second <= now) {
    auto key = state.in_memory.front().first;
    state.in_memory.pop_front();
    auto found = state.open.find(key);
    if (found == state.open.end() || !found->second.writer->in_memory())
      continue;
    if (auto written = found->second.writer->to_file(); !written) {
      spdlog::error("a log stays in memory: {}", written.error().message);
      state.in_memory.emplace_back(key, now + state.context->settings.logs.in_memory);
    } else if (found->second.writer->closed()) {
      state.open.erase(found);
    }
  }
}

void tick(self_pointer self) {
  auto& state = self->state;
  state.ticking = false;
  write_out(self);
  scan_step(self);
  if (!state.to_compress.empty()) {
    auto& [key, compressor] = state.to_compress.front();
    auto done = compressor.step();
    if (!done)
      spdlog::warn("a log stays uncompressed: {}", done.error().message);
    else if (*done && state.context->settings.shared_store)
      state.to_ship.push_back(key);
    if (!done || *done)
      state.to_compress.pop_front();
    ship(self);
  }
  let_go(self);
  keep_ticking(self);
}

/// Ends a log. A small one is made durable together with all others that end in the meantime.
caf::result<log_summary> close(self_pointer self, const attempt_key& key, bool with_tail) {
  auto& state = self->state;
  auto log = open(self, key);
  if (!log)
    return to_caf(log.error());
  auto& writer = *(*log)->writer;
  if (auto ended = writer.end(); !ended)
    return to_caf(ended.error());
  auto totals = writer.summary();
  if (with_tail)
    totals.tail = writer.tail(store::longest_tail);
  std::string bytes;
  if (auto whole = writer.whole(store::small_log); whole)
    bytes = std::move(*whole);
  if (!bytes.empty() && (writer.in_memory() || state.context->settings.shared_store)) {
    auto packed = store::pack_bytes(bytes);
    if (!packed)
      return to_caf(packed.error());
    totals.packed = encoding::base64_encode(*packed);
  }
  if (writer.in_memory()) { // until the outcome is stored
    serve(self, key);
    return totals;
  }
  if (bytes.empty() || !state.journal) {
    if (auto synced = writer.sync(); !synced)
      return to_caf(synced.error());
    bytes.clear();
  }
  state.open.erase(key);
  serve(self, key);
  if (totals.out.bytes + totals.err.bytes >= least_to_compress) {
    state.to_compress.emplace_back(key, store::log_compressor{state.path_of(key)});
  } else if (state.context->settings.shared_store && totals.packed.empty()) {
    state.to_ship.push_back(key);
    ship(self);
  }
  keep_ticking(self);
  if (bytes.empty())
    return totals;
  state.journal->add(key, bytes);
  auto promise = self->make_response_promise<log_summary>();
  state.ended.emplace_back(promise, std::move(totals));
  if (state.ended.size() == 1)
    self->send(self, commit_atom_v); // comes after what is in the mailbox by now
  return promise;
}

/// Whoever has ended the log may have lost the attempt before its end was stored: then the attempt goes on, and its
/// log.
store::log_result<void> go_on(self_pointer self, const attempt_key& key, open_log& log) {
  if (!log.writer->closed())
    return {};
  std::erase_if(self->state.to_compress, [&](const auto& one) { return one.first == key; });
  log.read_by.clear();
  return log.writer->go_on();
}

/// A disk that is full is full for all logs, and for each of their batches: it is said once, and when it is over for
/// all of them.
void tell_of_writing(self_pointer self, const attempt_key& key, const store::log_result<void>& written) {
  auto& failing = self->state.unwritable;
  if (!written) {
    if (failing.empty())
      spdlog::error("logs can't be written, and wait at their engines: {}", written.error().message);
    failing.insert(key);
  } else if (failing.erase(key) > 0 && failing.empty()) {
    spdlog::info("logs can be written again");
  }
}

void commit(self_pointer self) {
  auto ended = std::exchange(self->state.ended, {});
  auto synced = self->state.journal->sync();
  for (auto& [promise, totals] : ended)
    if (synced)
      promise.deliver(std::move(totals));
    else
      promise.deliver(to_caf(synced.error()));
}

log_actor::behavior_type log_keeper(self_pointer self, context_ptr context) {
  self->state.context = context;
  // Several processes may keep private tasks in one folder: they have no journal, and sync each log by itself.
  if (!context->settings.private_tasks) {
    auto journal = store::log_journal::open(context->settings.log_folder());
    if (!journal) {
      spdlog::critical("{}", journal.error().message);
      self->quit(to_caf(journal.error()));
      return log_actor::behavior_type::make_empty_behavior();
    }
    self->state.journal = std::move(*journal);
  }
  return {
    [=](open_atom, const attempt_key& key) -> caf::result<log_lease> {
      auto log = open(self, key);
      if (!log)
        return to_caf(log.error());
      if (auto goes_on = go_on(self, key, **log); !goes_on)
        return to_caf(goes_on.error());
      (*log)->source = ++self->state.last_source;
      for (const auto& [name, sink] : self->state.sinks)
        self->send(sink, open_atom_v, key, (*log)->writer->size());
      return log_lease{(*log)->source, (*log)->writer->cursor()};
    },
    [=](const log_batch& batch) -> caf::result<void> {
      auto& logs = self->state.open;
      auto found = logs.find(batch.key);
      if (found == logs.end() || found->second.source != batch.source)
        return make_failure(log_errc::stale, "another writer has the log now");
      auto& writer = *found->second.writer;
      auto dropped = writer.summary().dropped;
      auto written = writer.append(batch.records);
      tell_of_writing(self, batch.key, written);
      if (!written) {
        found->second.source = 0; // what its reader has sent behind this batch would leave a gap
        return to_caf(written.error());
      }
      std::uint64_t bytes = 0;
      for (const auto& record : batch.records)
        bytes += record.bytes.size();
      auto newly_dropped = writer.summary().dropped - dropped;
      context->metrics->log_written(bytes - newly_dropped);
      if (newly_dropped != 0)
        context->metrics->log_dropped(newly_dropped);
      crash_point("log written");
      serve(self, batch.key);
      return caf::unit;
    },
    [=](note_atom, const attempt_key& key, const std::string& text) -> caf::result<void> {
      auto log = open(self, key);
      if (!log)
        return to_caf(log.error());
      if (auto written = (*log)->writer->append({{log_stream::note, std::chrono::system_clock::now(), text + '\n'}});
          !written)
        return to_caf(written.error());
      serve(self, key);
      return caf::unit;
    },
    [=](close_atom, const attempt_key& key, bool with_tail) { return close(self, key, with_tail); },
    [=](finish_atom, const attempt_key& key) { release(self, key); },
    [=](commit_atom) { commit(self); },
    [=](remove_atom, task_id task) -> caf::result<void> {
      auto& open = self->state.open;
      std::erase_if(self->state.unwritable, [&](const attempt_key& one) { return one.task == task; });
      for (auto one = open.lower_bound({task, 0}); one != open.end() && one->first.task == task;)
        one = open.erase(one);
      self->state.unsent.remove(task);
      if (auto removed = store::remove_logs(context->settings.log_folder(), task); !removed)
        return to_caf(removed.error());
      if (self->state.journal)
        self->state.journal->remove(task);
      return caf::unit;
    },
    [=](read_atom, const log_query& query) -> caf::result<log_page> {
      auto promise = self->make_response_promise<log_page>();
      read(self, {query, promise, {}});
      return promise;
    },
    [=](ship_atom, const std::string& sink, const log_query& query) -> caf::result<log_page> {
      auto promise = self->make_response_promise<log_page>();
      read(self, {query, promise, sink});
      return promise;
    },
    [=](since_atom, timestamp since) { return find_since(self, since); },
    [=](size_atom, const std::vector<attempt_key>& keys) { return sizes_of(self, keys); },
    [=](tick_atom) { tick(self); },
    [=](wire_atom, const log_handles& addresses) {
      self->state.store = addresses.store;
      self->state.sinks = addresses.sinks;
      ship(self);
    },
  };
}

} // namespace

} // namespace log_keeping

log_actor spawn_log_keeper(caf::actor_system& system, context_ptr context) {
  return spawn_blocking(system, context, log_keeping::log_keeper);
}

} // namespace davit
