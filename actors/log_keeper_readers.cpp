// Who reads logs: clients page by page, sinks from wherever a log lies.
#include "actors/log_keeper_state.hpp"

#include <spdlog/spdlog.h>

#include <cstdio>

namespace davit::log_keeping {

namespace {

constexpr int scan_folders = 256; // the last two hexadecimal digits of a task's id

/// The sink need not find the log again, if it has read all of it.
void deliver(self_pointer self, reader& to, log_page page) {
  auto& state = self->state;
  if (page.finished && !to.sink.empty()) {
    if (auto found = state.open.find(to.query.key); found != state.open.end())
      found->second.read_by.insert(to.sink);
    else
      state.unsent.read(to.query.key, to.sink);
  }
  to.promise.deliver(std::move(page));
}

/// True: the reader was answered.
bool give(self_pointer self, reader& to) {
  auto page = page_of(self, to.query);
  if (!page)
    to.promise.deliver(to_caf(page.error()));
  else if (!page->records.empty() || page->finished)
    deliver(self, to, std::move(*page));
  else
    return false;
  return true;
}

void end_scan(log_scan& scan) {
  scan.promise.deliver(std::vector<attempt_key>{scan.found.begin(), scan.found.end()});
}

/// Adds the attempts that have ended since: their logs may be in the store alone.
void ask_store(self_pointer self, std::shared_ptr<log_scan> scan, std::int64_t after) {
  if (!self->state.store)
    return end_scan(*scan);
  self->request(self->state.store, caf::infinite, since_atom_v, self->state.context->settings.name, scan->since, after)
    .then(
      [=](const ended_attempts& some) {
        scan->found.insert(some.keys.begin(), some.keys.end());
        if (some.next == 0)
          end_scan(*scan);
        else
          ask_store(self, scan, some.next);
      },
      [=](const caf::error& e) { scan->promise.deliver(e); });
}

} // namespace

store::log_result<log_page> page_of(self_pointer self, const log_query& query) {
  const auto& state = self->state;
  if (auto found = state.open.find(query.key); found != state.open.end())
    return found->second.writer->read(query.offset, query.max_bytes);
  if (auto unsent = state.unsent.find(query.key))
    return unsent->read(query.offset, query.max_bytes);
  return store::read_log(state.path_of(query.key), query.offset, query.max_bytes);
}

void give_or_wait(self_pointer self, reader who) {
  if (give(self, who))
    return;
  if (who.query.wait.count() == 0) {
    log_page nothing;
    nothing.next = who.query.offset;
    who.promise.deliver(std::move(nothing));
    return;
  }
  auto until = std::chrono::steady_clock::now() + who.query.wait;
  auto key = who.query.key;
  self->state.readers.emplace(key, waiting_reader{std::move(who), until});
  keep_ticking(self);
}

void serve(self_pointer self, const attempt_key& key) {
  auto& readers = self->state.readers;
  auto [begin, end] = readers.equal_range(key);
  for (auto one = begin; one != end;)
    one = give(self, one->second.who) ? readers.erase(one) : std::next(one);
}

void read(self_pointer self, reader who) {
  auto& state = self->state;
  const auto& query = who.query;
  if (query.elsewhere && store::packed_blocks(state.path_of(query.key)) == 0 && state.is_here(query.key)) {
    // Left from when the attempt was this agent's: whoever has ended it has the whole one, or the store does.
    state.open.erase(query.key);
    store::remove_log(state.path_of(query.key));
  }
  if (give(self, who))
    return;
  if (!state.is_here(query.key)) {
    if (state.store)
      return fetch(self, std::move(who));
    if (!who.sink.empty())
      return who.promise.deliver(make_failure(caf::sec::runtime_error, "the store can't be asked for the log yet"));
  }
  give_or_wait(self, std::move(who));
}

void let_go(self_pointer self) {
  auto& readers = self->state.readers;
  auto now = std::chrono::steady_clock::now();
  for (auto one = readers.begin(); one != readers.end();) {
    if (one->second.until > now) {
      ++one;
      continue;
    }
    log_page nothing;
    nothing.next = one->second.who.query.offset;
    one->second.who.promise.deliver(std::move(nothing));
    one = readers.erase(one);
  }
}

void release(self_pointer self, const attempt_key& key) {
  auto& state = self->state;
  auto found = state.open.find(key);
  if (found == state.open.end()) {
    store::remove_log(state.path_of(key)); // it may never have reached the disk
    return;
  }
  state.unwritable.erase(key);
  if (!found->second.writer->closed())
    return;
  std::set<std::string> left;
  for (const auto& sink : state.context->settings.logs.sinks)
    if (!found->second.read_by.contains(sink.name))
      left.insert(sink.name);
  state.unsent.add(key, std::move(found->second.writer), std::move(left));
  state.open.erase(found);
}

std::vector<log_extent> sizes_of(self_pointer self, const std::vector<attempt_key>& keys) {
  const auto& state = self->state;
  std::vector<log_extent> sizes;
  for (const auto& key : keys)
    if (auto found = state.open.find(key); found != state.open.end())
      sizes.push_back({key, found->second.writer->size(), found->second.writer->closed()});
    else if (auto unsent = state.unsent.find(key))
      sizes.push_back({key, unsent->size(), true});
    else if (auto path = state.path_of(key); store::log_exists(path))
      sizes.push_back({key, store::log_size(path), true}); // who opens it again tells of it
  return sizes;
}

caf::result<std::vector<attempt_key>> find_since(self_pointer self, timestamp since) {
  auto& state = self->state;
  auto promise = self->make_response_promise<std::vector<attempt_key>>();
  log_scan scan{promise, since, 0, {}};
  for (const auto& [key, log] : state.open)
    scan.found.insert(key);
  state.scans.push_back(std::move(scan));
  keep_ticking(self);
  return promise;
}

void scan_step(self_pointer self) {
  auto& scans = self->state.scans;
  if (scans.empty())
    return;
  auto& scan = scans.front();
  char folder[3];
  std::snprintf(folder, sizeof folder, "%02x", static_cast<unsigned>(scan.folder) & 0xff);
  auto some = store::logs_since(self->state.context->settings.log_folder() / folder, scan.since);
  scan.found.insert(some.begin(), some.end());
  if (++scan.folder < scan_folders)
    return;
  auto whole = std::make_shared<log_scan>(std::move(scan));
  scans.pop_front();
  ask_store(self, whole, 0);
}

} // namespace davit::log_keeping
