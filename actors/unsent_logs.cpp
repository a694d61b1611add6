#include "actors/unsent_logs.hpp"

namespace davit {

std::uint64_t unsent_logs::cost_of(const entry& one) {
  return one.log->size() + 1024; // what a writer has beside the bytes
}

void unsent_logs::add(const attempt_key& key, std::unique_ptr<store::log_writer> log, std::set<std::string> sinks) {
  if (auto old = logs_.find(key); old != logs_.end())
    erase(old);
  if (sinks.empty())
    return;
  auto& one = logs_[key];
  one = {std::move(log), std::move(sinks), ++turns_};
  turns_of_[one.turn] = key;
  bytes_ += cost_of(one);
  while (bytes_ > most_bytes_)
    erase(logs_.find(turns_of_.begin()->second));
}

const store::log_writer* unsent_logs::find(const attempt_key& key) const {
  auto found = logs_.find(key);
  return found == logs_.end() ? nullptr : found->second.log.get();
}

void unsent_logs::read(const attempt_key& key, const std::string& sink) {
  auto found = logs_.find(key);
  if (found == logs_.end())
    return;
  found->second.sinks.erase(sink);
  if (found->second.sinks.empty())
    erase(found);
}

void unsent_logs::remove(task_id task) {
  for (auto one = logs_.lower_bound({task, 0}); one != logs_.end() && one->first.task == task;)
    erase(one++);
}

void unsent_logs::erase(std::map<attempt_key, entry>::iterator one) {
  bytes_ -= cost_of(one->second);
  turns_of_.erase(one->second.turn);
  logs_.erase(one);
}

} // namespace davit
