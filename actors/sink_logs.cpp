#include "actors/sink_logs.hpp"

#include <algorithm>

namespace davit {

void sink_logs::restore(const sink_positions& kept, moment now) {
  for (const auto& one : kept.done)
    done_[one.key()] = {one.offset, now};
  for (const auto& one : kept.open)
    add(one.key(), one.offset).size = std::max(one.size, one.offset);
}

sink_positions sink_logs::positions() const {
  sink_positions kept;
  for (const auto& [key, one] : logs_)
    kept.open.push_back({key.task, key.number, one.offset, one.size});
  for (const auto& [key, one] : done_)
    kept.done.push_back({key.task, key.number, one.offset, one.offset});
  return kept;
}

shipped_log& sink_logs::add(const attempt_key& key, std::uint64_t offset) {
  auto [entry, added] = logs_.try_emplace(key);
  auto& log = entry->second;
  if (added) {
    log.offset = log.size = offset;
    log.id = ++last_id_;
    idle_.push_back(key);
  }
  return log;
}

bool sink_logs::opened(const attempt_key& key, std::uint64_t size) {
  std::uint64_t offset = 0;
  if (auto over = done_.find(key); over != done_.end()) { // written on, by an agent that has started again
    if (over->second.offset == given_up)
      return false;
    offset = over->second.offset;
    done_.erase(over);
  }
  auto& log = add(key, std::min(offset, size));
  log.size = std::max(log.size, size);
  log.measured = log.begun_again = false;
  if (log.offset <= size)
    return false;
  log.offset = log.size = size;
  ++log.life;
  return true;
}

void sink_logs::found(const attempt_key& key) {
  if (!done_.contains(key))
    add(key, 0);
}

std::optional<sink_turn> sink_logs::next() {
  while (!idle_.empty()) {
    auto key = idle_.front();
    idle_.pop_front();
    auto found = logs_.find(key);
    if (found == logs_.end() || std::exchange(found->second.busy, true))
      continue;
    return sink_turn{key, found->second.id, found->second.life};
  }
  return std::nullopt;
}

shipped_log* sink_logs::still(const sink_turn& turn) {
  auto found = logs_.find(turn.key);
  if (found == logs_.end() || found->second.id != turn.id)
    return nullptr;
  if (found->second.life == turn.life)
    return &found->second;
  requeue(turn.key);
  return nullptr;
}

void sink_logs::requeue(const attempt_key& key) {
  if (auto found = logs_.find(key); found != logs_.end()) {
    found->second.busy = false;
    idle_.push_back(key);
  }
}

void sink_logs::drop(const attempt_key& key, std::uint64_t offset, moment now) {
  logs_.erase(key);
  done_[key] = {offset, now};
}

void sink_logs::forget(moment before) {
  std::erase_if(done_, [&](const auto& one) { return one.second.at < before; });
}

std::uint64_t sink_logs::backlog() const {
  std::uint64_t bytes = 0;
  for (const auto& [key, one] : logs_)
    bytes += one.backlog();
  return bytes;
}

std::optional<std::pair<attempt_key, std::uint64_t>> sink_logs::skip_oldest(moment now) {
  // Ids begin with the time.
  auto oldest = std::find_if(logs_.begin(), logs_.end(), [](const auto& one) { return one.second.backlog() != 0; });
  if (oldest == logs_.end())
    return std::nullopt;
  auto& [key, log] = *oldest;
  std::pair skipped{key, log.backlog()};
  if (log.measured) { // nothing more will come
    drop(skipped.first, given_up, now);
  } else {
    log.offset = log.size;
    ++log.life;
  }
  return skipped;
}

std::vector<attempt_key> sink_logs::unmeasured(std::size_t most) const {
  std::vector<attempt_key> keys;
  for (const auto& [key, one] : logs_)
    if (!one.measured && keys.size() < most)
      keys.push_back(key);
  return keys;
}

void sink_logs::measured(const std::vector<attempt_key>& asked, const std::vector<log_extent>& sizes) {
  std::map<attempt_key, log_extent> here;
  for (const auto& one : sizes)
    here[one.key] = one;
  for (const auto& key : asked) {
    auto log = logs_.find(key);
    if (log == logs_.end())
      continue;
    auto found = here.find(key);
    log->second.measured = found == here.end() || found->second.finished;
    if (found != here.end())
      log->second.size = found->second.bytes;
  }
}

} // namespace davit
