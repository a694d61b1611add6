#include "actors/owner_totals.hpp"

#include <algorithm>

namespace davit {

owner_book::entry& owner_book::entry_of(const std::string& owner) {
  auto& mine = entries_[owner];
  mine.last = ++clock_;
  if (entries_.size() > most_)
    entries_.erase(std::min_element(entries_.begin(), entries_.end(),
                                    [](const auto& a, const auto& b) { return a.second.last < b.second.last; }));
  return mine;
}

void owner_book::accepted(const std::string& owner) {
  std::lock_guard lock{mutex_};
  ++entry_of(owner).totals.accepted;
}

void owner_book::ended(const std::string& owner, const std::string& outcome, std::uint64_t log_bytes) {
  std::lock_guard lock{mutex_};
  auto& totals = entry_of(owner).totals;
  ++totals.ended[outcome];
  totals.log_bytes += log_bytes;
}

owner_totals owner_book::of(const std::string& owner) const {
  std::lock_guard lock{mutex_};
  auto found = entries_.find(owner);
  return found == entries_.end() ? owner_totals{} : found->second.totals;
}

std::vector<owner_counts> busiest_owners(std::vector<owner_counts> all, std::size_t most) {
  constexpr std::string_view rest = "other";
  auto size = [](const task_counts& one) { return one.queued + one.starting + one.running; };
  std::stable_sort(all.begin(), all.end(), [&](const auto& a, const auto& b) {
    return a.owner != rest && (b.owner == rest || size(a.tasks) > size(b.tasks));
  });
  auto named = static_cast<std::size_t>(
    std::count_if(all.begin(), all.end(), [&](const auto& one) { return one.owner != rest; }));
  auto kept = std::min(named, most);
  if (kept == all.size())
    return all;
  owner_counts others{std::string{rest}, {}};
  for (auto one = all.begin() + static_cast<std::ptrdiff_t>(kept); one != all.end(); ++one) {
    others.tasks.queued += one->tasks.queued;
    others.tasks.starting += one->tasks.starting;
    others.tasks.running += one->tasks.running;
  }
  all.resize(kept);
  all.push_back(std::move(others));
  return all;
}

} // namespace davit
