#include "actors/log_keeper.hpp"

#include "actors/crash_point.hpp"
#include "actors/metrics.hpp"
#include "store/attempt_log.hpp"
#include "store/log_journal.hpp"
#include "encoding/base64.hpp"

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <deque>
#include <map>

namespace davit {

namespace {

constexpr std::uint64_t least_to_compress = 64 * 1024;
constexpr std::uint32_t most_shipped = 256;          // blocks of 1 MiB, compressed
constexpr std::size_t tail_bytes = 1024 * 1024; // what a validator sees

/// A reader that has seen all there is and waits for more.
struct waiting_reader {
  log_query query;
  caf::typed_response_promise<log_page> promise;
  std::chrono::steady_clock::time_point until;
};

/// A reader of a log that is being fetched.
struct pending_page {
  log_query query;
  caf::typed_response_promise<log_page> promise;
};

struct open_log {
  std::unique_ptr<store::log_writer> writer;
  std::uint64_t source = 0; ///< The one whose batches are taken.
};

struct log_keeper_state {
  static inline const char* name = "log_keeper";

  std::map<attempt_key, open_log> open;
  std::deque<std::pair<attempt_key, std::chrono::steady_clock::time_point>> in_memory; ///< Of those, and until when; also some that are gone.
  std::multimap<attempt_key, waiting_reader> readers;
  std::deque<std::pair<attempt_key, store::log_compressor>> to_compress;
  std::deque<attempt_key> to_ship;  ///< To the store that all agents share.
  bool shipping = false;
  std::map<attempt_key, std::vector<pending_page>> fetching; ///< From there; who waits for what.
  store_actor store;
  std::map<std::string, sink_actor> sinks;
  std::uint64_t last_source = 0;
  std::unique_ptr<store::log_journal> journal;
  std::vector<std::pair<caf::typed_response_promise<log_summary>, log_summary>> ended; ///< Durable with the next commit.
  bool ticking = false;

  explicit log_keeper_state(log_actor::stateful_pointer<log_keeper_state>) {}
  ~log_keeper_state() {
    for (auto& [key, log] : open)
      if (auto written = log.writer->to_file(); !written)
        spdlog::error("a log is lost here, and must be read from its engine again: {}", written.error().message);
  }
};

using self_pointer = log_actor::stateful_pointer<log_keeper_state>;

caf::error to_caf(const store::log_error& e) {
  return make_failure(e.code, e.message);
}

void ship_block(self_pointer self, const context_ptr& context, attempt_key key, std::uint32_t index);

void keep_ticking(self_pointer self) {
  auto& state = self->state;
  if (state.ticking || (state.readers.empty() && state.to_compress.empty() && state.in_memory.empty()))
    return;
  state.ticking = true;
  if (state.to_compress.empty())
    self->delayed_send(self, std::chrono::milliseconds{250}, tick_atom_v);
  else
    self->send(self, tick_atom_v);
}

/// A page of what is here of a log.
store::log_result<log_page> page_of(self_pointer self, const context_ptr& context, const log_query& query) {
  if (auto found = self->state.open.find(query.key); found != self->state.open.end())
    return found->second.writer->read(query.offset, query.max_bytes);
  return store::read_log(store::log_path(context->settings.log_folder(), query.key), query.offset, query.max_bytes);
}

bool is_here(self_pointer self, const context_ptr& context, const attempt_key& key) {
  return self->state.open.contains(key) || store::log_exists(store::log_path(context->settings.log_folder(), key));
}

/// Gives the log's readers what has come.
void serve(self_pointer self, const context_ptr& context, const attempt_key& key) {
  auto& readers = self->state.readers;
  auto [begin, end] = readers.equal_range(key);
  for (auto reader = begin; reader != end;) {
    auto page = page_of(self, context, reader->second.query);
    if (!page)
      reader->second.promise.deliver(to_caf(page.error()));
    else if (!page->records.empty() || page->finished)
      reader->second.promise.deliver(std::move(*page));
    else {
      ++reader;
      continue;
    }
    reader = readers.erase(reader);
  }
}

/// The open log of `key`, opened if it is not.
store::log_result<open_log*> open(self_pointer self, const context_ptr& context, const attempt_key& key) {
  auto& open = self->state.open;
  if (auto found = open.find(key); found != open.end())
    return &found->second;
  // Sinks go by the files.
  auto place = context->settings.logs.sinks.empty() ? store::log_place::memory : store::log_place::file;
  auto writer = store::log_writer::open(store::log_path(context->settings.log_folder(), key), context->settings.logs.max_bytes.bytes, place);
  if (!writer)
    return writer.error();
  if ((*writer)->in_memory()) {
    self->state.in_memory.emplace_back(key, std::chrono::steady_clock::now() + context->settings.logs.in_memory);
    keep_ticking(self);
  }
  return &open.emplace(key, open_log{std::move(*writer), 0}).first->second;
}

/// Puts finished logs into the store, one after the other, where every agent can serve them.
void ship(self_pointer self, const context_ptr& context) {
  auto& state = self->state;
  if (state.shipping || state.to_ship.empty() || !state.store)
    return;
  state.shipping = true;
  ship_block(self, context, state.to_ship.front(), 0);
}

void ship_block(self_pointer self, const context_ptr& context, attempt_key key, std::uint32_t index) {
  auto path = store::log_path(context->settings.log_folder(), key);
  auto count = store::packed_blocks(path);
  auto small = count == 0 && store::log_exists(path); // it is not compressed here
  if (small)
    count = 1;
  auto next = [self, context] {
    self->state.shipping = false;
    self->state.to_ship.pop_front();
    ship(self, context);
  };
  if (index >= count || count > most_shipped) {
    if (count > most_shipped)
      spdlog::warn("the log of task {} is too large for the store: it is kept here alone", to_string(key.task));
    return next();
  }
  auto bytes = small ? store::pack_small(path) : store::read_packed(path, index);
  if (!bytes) {
    spdlog::warn("a log was not put into the store: {}", bytes.error().message);
    return next();
  }
  self->request(self->state.store, caf::infinite, log_atom_v, key, index, count, encoding::base64_encode(*bytes))
    .then([=] { ship_block(self, context, key, index + 1); },
          [=](const caf::error& e) {
            spdlog::warn("a log was not put into the store yet: {}", text_of(e));
            self->run_delayed(std::chrono::seconds{2}, [=] { ship_block(self, context, key, index); });
          });
}

void wait_for_more(self_pointer self, const log_query& query, caf::typed_response_promise<log_page> promise) {
  self->state.readers.emplace(query.key, waiting_reader{query, std::move(promise), std::chrono::steady_clock::now() + query.wait});
  keep_ticking(self);
}

/// Gives those who wait for a log what there is of it now: in `packed`, or here.
void end_fetch(self_pointer self, const context_ptr& context, const attempt_key& key, std::string_view packed = {}) {
  for (auto& one : std::exchange(self->state.fetching[key], {})) {
    auto page = packed.empty() ? page_of(self, context, one.query) : store::read_packed_log(packed, one.query.offset, one.query.max_bytes);
    if (!page)
      one.promise.deliver(to_caf(page.error()));
    else if (page->records.empty() && !page->finished && one.query.wait.count() != 0)
      wait_for_more(self, one.query, one.promise);
    else
      one.promise.deliver(std::move(*page));
  }
  self->state.fetching.erase(key);
}

void fetch_block(self_pointer self, const context_ptr& context, attempt_key key, std::shared_ptr<store::packed_writer> to, std::uint32_t index) {
  self->request(self->state.store, caf::infinite, log_atom_v, key, index)
    .then(
      [=](const log_block& block) {
        auto bytes = block.count == 0 ? std::nullopt : encoding::base64_decode(block.bytes);
        if (bytes && block.count == 1)
          return end_fetch(self, context, key, *bytes);
        if (!bytes || !to->add(*bytes))
          return end_fetch(self, context, key);
        if (index + 1 < block.count)
          return fetch_block(self, context, key, to, index + 1);
        if (auto done = to->finish(); !done)
          spdlog::warn("a log from the store was not kept: {}", done.error().message);
        end_fetch(self, context, key);
      },
      [=](const caf::error&) { end_fetch(self, context, key); });
}

/// Reads a log that is not on this disk: it may be in the store.
caf::result<log_page> fetch(self_pointer self, const context_ptr& context, const log_query& query) {
  auto promise = self->make_response_promise<log_page>();
  auto& waiting = self->state.fetching[query.key];
  waiting.push_back({query, promise});
  if (waiting.size() == 1)
    fetch_block(self, context, query.key, std::make_shared<store::packed_writer>(store::log_path(context->settings.log_folder(), query.key)), 0);
  return promise;
}

/// The outcome is stored, and with it the log. A file that it has got by then may never have reached the disk.
void release(self_pointer self, const context_ptr& context, const attempt_key& key) {
  if (!context->settings.logs.sinks.empty())
    return;
  auto& open = self->state.open;
  if (auto found = open.find(key); found == open.end())
    store::remove_log(store::log_path(context->settings.log_folder(), key));
  else if (found->second.writer->closed())
    open.erase(found);
}

/// Gives files to the logs that are in memory for too long.
void write_out(self_pointer self, const context_ptr& context) {
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
      state.in_memory.emplace_back(key, now + context->settings.logs.in_memory);
    } else if (found->second.writer->closed()) {
      state.open.erase(found);
    }
  }
}

void tick(self_pointer self, const context_ptr& context) {
  auto& state = self->state;
  state.ticking = false;
  write_out(self, context);
  if (!state.to_compress.empty()) {
    auto& [key, compressor] = state.to_compress.front();
    auto done = compressor.step();
    if (!done)
      spdlog::warn("a log stays uncompressed: {}", done.error().message);
    else if (*done && context->settings.shared_store)
      state.to_ship.push_back(key);
    if (!done || *done)
      state.to_compress.pop_front();
    ship(self, context);
  }
  auto now = std::chrono::steady_clock::now();
  for (auto reader = state.readers.begin(); reader != state.readers.end();) {
    if (reader->second.until > now) {
      ++reader;
      continue;
    }
    log_page nothing;
    nothing.next = reader->second.query.offset;
    reader->second.promise.deliver(std::move(nothing));
    reader = state.readers.erase(reader);
  }
  keep_ticking(self);
}

/// Ends a log. A small one is made durable together with all others that end in the meantime.
caf::result<log_summary> close(self_pointer self, const context_ptr& context, const attempt_key& key, bool with_tail) {
  auto& state = self->state;
  auto log = open(self, context, key);
  if (!log)
    return to_caf(log.error());
  auto& writer = *(*log)->writer;
  if (auto ended = writer.end(); !ended)
    return to_caf(ended.error());
  auto totals = writer.summary();
  if (with_tail)
    totals.tail = writer.tail(tail_bytes);
  std::string bytes;
  if (auto whole = writer.whole(store::small_log); whole)
    bytes = std::move(*whole);
  if (!bytes.empty() && (writer.in_memory() || context->settings.shared_store)) {
    auto packed = store::pack_bytes(bytes);
    if (!packed)
      return to_caf(packed.error());
    totals.packed = encoding::base64_encode(*packed);
  }
  if (writer.in_memory()) { // until the outcome is stored
    serve(self, context, key);
    return totals;
  }
  if (bytes.empty() || !state.journal) {
    if (auto synced = writer.sync(); !synced)
      return to_caf(synced.error());
    bytes.clear();
  }
  state.open.erase(key);
  serve(self, context, key);
  if (totals.out.bytes + totals.err.bytes >= least_to_compress) {
    state.to_compress.emplace_back(key, store::log_compressor{store::log_path(context->settings.log_folder(), key)});
  } else if (context->settings.shared_store && totals.packed.empty()) {
    state.to_ship.push_back(key);
    ship(self, context);
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
      auto log = open(self, context, key);
      if (!log)
        return to_caf(log.error());
      (*log)->source = ++self->state.last_source;
      for (const auto& [name, sink] : self->state.sinks)
        self->send(sink, open_atom_v, key);
      return log_lease{(*log)->source, (*log)->writer->cursor()};
    },
    [=](const log_batch& batch) -> caf::result<void> {
      auto& logs = self->state.open;
      auto found = logs.find(batch.key);
      if (found == logs.end() || found->second.source != batch.source)
        return make_failure(log_errc::stale, "the log is written from elsewhere by now");
      auto& writer = *found->second.writer;
      auto dropped = writer.summary().dropped;
      if (auto written = writer.append(batch.records); !written)
        return to_caf(written.error());
      std::uint64_t bytes = 0;
      for (const auto& record : batch.records)
        bytes += record.bytes.size();
      auto newly_dropped = writer.summary().dropped - dropped;
      context->metrics->log_written(bytes - newly_dropped);
      if (newly_dropped != 0)
        context->metrics->log_dropped(newly_dropped);
      crash_point("log written");
      serve(self, context, batch.key);
      return caf::unit;
    },
    [=](note_atom, const attempt_key& key, const std::string& text) -> caf::result<void> {
      auto log = open(self, context, key);
      if (!log)
        return to_caf(log.error());
      if (auto written = (*log)->writer->append({{log_stream::note, std::chrono::system_clock::now(), text + '\n'}}); !written)
        return to_caf(written.error());
      serve(self, context, key);
      return caf::unit;
    },
    [=](close_atom, const attempt_key& key, bool with_tail) { return close(self, context, key, with_tail); },
    [=](finish_atom, const attempt_key& key) { release(self, context, key); },
    [=](commit_atom) { commit(self); },
    [=](remove_atom, task_id task) -> caf::result<void> {
      auto& open = self->state.open;
      for (auto one = open.lower_bound({task, 0}); one != open.end() && one->first.task == task;)
        one = open.erase(one);
      if (auto removed = store::remove_logs(context->settings.log_folder(), task); !removed)
        return to_caf(removed.error());
      if (self->state.journal)
        self->state.journal->remove(task);
      return caf::unit;
    },
    [=](read_atom, const log_query& query) -> caf::result<log_page> {
      if (auto path = store::log_path(context->settings.log_folder(), query.key); query.elsewhere && store::packed_blocks(path) == 0 && is_here(self, context, query.key)) {
        // Left from when the attempt was this agent's: whoever has ended it has the whole one, or the store does.
        self->state.open.erase(query.key);
        store::remove_log(path);
      }
      auto page = page_of(self, context, query);
      if (!page)
        return to_caf(page.error());
      if (!page->records.empty() || page->finished)
        return std::move(*page);
      if (self->state.store && !is_here(self, context, query.key))
        return fetch(self, context, query);
      if (query.wait.count() == 0)
        return std::move(*page);
      auto promise = self->make_response_promise<log_page>();
      wait_for_more(self, query, promise);
      return promise;
    },
    [=](tick_atom) { tick(self, context); },
    [=](wire_atom, const log_handles& handles) {
      self->state.store = handles.store;
      self->state.sinks = handles.sinks;
      ship(self, context);
    },
  };
}

} // namespace

log_actor spawn_log_keeper(caf::actor_system& system, context_ptr context) {
  return system.spawn<caf::detached>(log_keeper, std::move(context));
}

} // namespace davit
