#include "actors/engine_connection_state.hpp"

#include <algorithm>
#include <iterator>

namespace davit::connection {

namespace {

/// How long the log of a container that has ended may give nothing and still be followed.
constexpr duration quiet_end = 2s;

void end_if_written(self_pointer self, const attempt_key& key) {
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

init::report_reader::from where_begins(const log_request& request) {
  using from = init::report_reader::from;
  const auto& cursor = request.lease.cursor;
  if (cursor.out.ordinal != 0)
    return from::middle;
  return request.says_begun && cursor.empty() ? from::beginning : from::anywhere;
}

/// Takes out what is not the task's own, and masks.
void sift(pending_log& entry, std::vector<log_record>& records) {
  std::vector<log_record> decided;
  if (entry.reader) {
    auto rest = std::find_if_not(records.begin(), records.end(),
                                 [&](const auto& record) { return entry.reader->passes(record); });
    for (auto one = rest; one != records.end(); ++one)
      entry.reader->add(std::move(*one), decided);
    records.erase(rest, records.end());
    std::move(decided.begin(), decided.end(), std::back_inserter(records));
    decided.clear();
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
  if (entry->reader && entry->reader->whole()
      && !entry->ended) { // the container will take a while to end, but has no more to say
    entry->ended = true;
    entry->follower->cancel();
    finish_sifting(*entry, batch.records);
  }
  if (batch.records.empty()) {
    entry->follower->grant(wire_bytes);
    end_if_written(self, key);
    return;
  }
  ++entry->unacknowledged;
  self->request(self->state.handles.logs, caf::infinite, std::move(batch))
    .then(
      [=] {
        if (auto entry = find_log(self, key, source)) {
          --entry->unacknowledged;
          entry->follower->grant(wire_bytes);
          end_if_written(self, key);
        }
      },
      [=](const caf::error& e) {
        if (auto entry = find_log(self, key, source)) {
          --entry->unacknowledged;
          if (!entry->failure) // those behind the first are refused for it
            entry->failure = e;
          entry->follower->cancel();
          end_if_written(self, key);
        }
      });
}

/// Where the engine keeps a log that is to be followed; empty: not known, or not to be read here.
std::string log_file(const engine_settings& settings, const log_request& request) {
  auto is_id
    = request.container.size() == 64 && request.container.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (settings.log_files.empty() || !request.follow || request.tty || !is_id)
    return {};
  return settings.log_files + '/' + request.container + "/local-logs/container.log";
}

/// A follower that waits for a connection that has died would wait long; but this log's container has ended, and the
/// engine ends the log when it has given all of it.
void hurry_log(self_pointer self, const attempt_key& key, std::uint64_t source, std::uint64_t batches) {
  auto entry = find_log(self, key, source);
  if (!entry || entry->ended || !entry->follows)
    return;
  if (entry->batches == batches && entry->unacknowledged == 0)
    entry->follower->cancel();
  else
    self->run_delayed(quiet_end,
                      [self, key, source, batches = entry->batches] { hurry_log(self, key, source, batches); });
}

} // namespace

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
  transport::follow_options options{
    request.container,   request.tty, request.follow, request.tail, log_file(self->state.settings, request),
    request.lease.cursor};
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
                                    "the engine does not tell whether the last line of " + to_string(stream)
                                      + ", which it has cut, ended with a newline\n"});
        pass_on(self, std::move(rest));
      }
      entry->ended = true;
      entry->unclear = !ending.unclear.empty();
      if (!outcome && !entry->failure)
        entry->failure = to_caf(outcome.error());
      end_if_written(self, key);
    });
  };
  auto follower = std::make_shared<transport::log_follower>(state.client, std::move(options), std::move(on_records),
                                                            std::move(on_end));
  auto promise = self->make_response_promise<log_end>();
  auto& entry = state.logs[key];
  entry.source = source;
  entry.follower = follower;
  entry.promise = promise;
  entry.follows = follow;
  if (!request.nonce.empty())
    entry.reader = std::make_unique<init::report_reader>(request.nonce, where_begins(request));
  std::vector<std::string> hidden;
  for (const auto& one : request.secrets)
    hidden.push_back(one.value);
  if (!hidden.empty())
    entry.masker = std::make_unique<secrets::secret_masker>(hidden);
  follower->start();
  return promise;
}

void end_log(self_pointer self, const attempt_key& key) {
  auto found = self->state.logs.find(key);
  if (found == self->state.logs.end())
    return;
  found->second.follower->ended();
  hurry_log(self, key, found->second.source, ~0ull);
}

} // namespace davit::connection
