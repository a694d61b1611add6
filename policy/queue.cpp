#include "policy/queue.hpp"

#include "policy/placement.hpp"

#include <algorithm>
#include <bit>
#include <set>
#include <tuple>

namespace davit {

namespace {

/// A claim looks no further once it has passed over so many tasks that wait for an engine with their image.
constexpr std::size_t most_passed_over = 1000;

/// Rows that are read at a time. Powers of two: so the store needs few different statements.
constexpr std::size_t least_page = 16, largest_page = 256;

/// What a limit counts a task with this label as; none: it is not about this label. Who wrote the limit has thought of
/// its value, so all owners share it; values of their own choice are each owner's own.
std::optional<label_group>
group_of(const label_limit& limit, const std::string& name, const std::string& value, const std::string& owner) {
  if (limit.name != name || (!limit.value.empty() && limit.value != value))
    return std::nullopt;
  return label_group{name, value, limit.value.empty() ? std::optional{owner} : std::nullopt};
}

std::string name_of(const std::string& owner) {
  return owner.empty() ? "the same owner" : owner;
}

} // namespace

bool goes_before(const queue_place& one, const queue_place& other) {
  return std::tie(other.priority, one.turn, one.id) < std::tie(one.priority, other.turn, other.id);
}

std::int64_t next_turn(std::int64_t last, std::int64_t first) {
  return std::max(first, last + 1);
}

// -- limits -----------------------------------------------------------------------------------------------------------

/// Counts are kept for each owner.
std::int64_t limit_usage::running_in(const label_group& group) const {
  std::int64_t count = 0;
  for (auto one = running_.labels.lower_bound(group);
       one != running_.labels.end() && one->first.name == group.name && one->first.value == group.value; ++one)
    if (!group.owner || one->first.owner == group.owner)
      count += one->second;
  return count;
}

std::vector<std::string>
limit_usage::reached(const std::string& owner, const std::map<std::string, std::string>& labels) const {
  std::vector<std::string> all;
  auto full = [&](std::int64_t running, std::uint32_t most, const std::string& what) {
    if (running >= most)
      all.push_back(std::to_string(running) + " tasks " + what + " run, and no more than " + std::to_string(most)
                    + " may at once");
  };
  if (auto found = running_.owners.find(owner); rules_.most_per_owner != 0 && found != running_.owners.end())
    full(found->second, rules_.most_per_owner, "of " + name_of(owner));
  for (const auto& limit : rules_.label_limits)
    if (auto label = labels.find(limit.name); label != labels.end())
      if (auto group = group_of(limit, label->first, label->second, owner))
        full(running_in(*group), limit.most,
             (group->owner ? "of " + name_of(owner) + ' ' : "") + "with the label " + group->name + '=' + group->value);
  return all;
}

void limit_usage::add(const std::string& owner, const std::map<std::string, std::string>& labels) {
  ++running_.owners[owner];
  std::set<label_group> counted; // two limits may name one label
  for (const auto& limit : rules_.label_limits)
    if (auto label = labels.find(limit.name); label != labels.end())
      counted.insert({label->first, label->second, owner});
  for (const auto& one : counted)
    ++running_.labels[one];
}

full_limits limit_usage::full() const {
  full_limits all;
  if (rules_.most_per_owner != 0)
    for (const auto& [owner, count] : running_.owners)
      if (count >= rules_.most_per_owner)
        all.owners.push_back(owner);
  std::set<label_group> labels;
  for (const auto& [one, _] : running_.labels)
    for (const auto& limit : rules_.label_limits)
      if (auto group = group_of(limit, one.name, one.value, *one.owner); group && running_in(*group) >= limit.most)
        labels.insert(std::move(*group));
  all.labels.assign(labels.begin(), labels.end());
  return all;
}

// -- the queue's order ------------------------------------------------------------------------------------------------

merged_queue::merged_queue(std::vector<queue_lane> lanes, queue_reader& reader) : reader_(reader) {
  for (auto& one : lanes)
    lanes_.push_back({std::move(one)});
}

/// Of its next row; before it is read, at least no place behind it.
const queue_place& merged_queue::open_lane::place() const {
  return !read.empty() ? read.front().place : last ? *last : lane.first;
}

std::optional<merged_queue::entry> merged_queue::next(std::size_t room, const full_limits& full) {
  for (;;) {
    open_lane* first = nullptr;
    for (auto& one : lanes_)
      if ((one.more || !one.read.empty()) && (!first || goes_before(one.place(), first->place())))
        first = &one;
    if (!first)
      return std::nullopt;
    if (first->read.empty()) {
      fill(*first, room, full);
      continue;
    }
    entry found{&first->lane, std::move(first->read.front())};
    first->read.pop_front();
    return found;
  }
}

void merged_queue::leave(const std::string& placement) {
  std::erase_if(lanes_, [&](const open_lane& one) { return one.lane.placement == placement; });
}

void merged_queue::fill(open_lane& one, std::size_t room, const full_limits& full) {
  auto page = std::bit_ceil(std::clamp(room, least_page, largest_page));
  auto rows = reader_.rows(one.lane, one.last, page, full);
  one.more = rows.size() == page;
  if (rows.empty())
    return;
  one.last = rows.back().place;
  one.read.assign(std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end()));
}

// -- claims -----------------------------------------------------------------------------------------------------------

claim_plan plan_claim(std::vector<queue_lane> lanes, std::vector<engine_offer> offers, const placement_rules& rules,
                      limit_usage usage, timestamp now, queue_reader& reader) {
  claim_plan plan;
  merged_queue queue{std::move(lanes), reader};
  for (std::size_t passed_over = 0; passed_over < most_passed_over;) {
    std::size_t room = 0;
    for (const auto& one : offers)
      room += one.free;
    if (room == 0)
      break;
    auto next = queue.next(room, usage.full());
    if (!next)
      break;
    auto whole = reader.whole(next->row);
    if (!usage.reached(whole.owner, whole.spec.labels).empty()) // filled up by this very claim
      continue;
    const auto& holders = reader.holders(whole.spec.image);
    auto offer = choose_engine(offers, next->lane->wanted, holders, rules.strategy);
    if (!offer) { // the engines that could take it are full
      queue.leave(std::string{next->lane->placement});
      continue;
    }
    auto until = whole.not_before.value_or(whole.created_at) + std::chrono::nanoseconds{rules.image_patience};
    auto held = std::find(holders.begin(), holders.end(), offer->id) != holders.end();
    if (until > now && !holders.empty() && !held) {
      plan.look_again = std::min(plan.look_again.value_or(until), until);
      ++passed_over;
      continue;
    }
    auto index = static_cast<std::size_t>(offer - offers.data());
    --offers[index].free;
    usage.add(whole.owner, whole.spec.labels);
    plan.taken.push_back({std::move(next->row), std::move(whole), index});
  }
  return plan;
}

} // namespace davit
