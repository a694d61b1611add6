#include "actors/prepared_trees.hpp"

#include "actors/prepared_plan.hpp"

#include <algorithm>
#include <charconv>
#include <set>

namespace davit {

namespace {

/// As Docker names volumes that nobody has named.
bool is_anonymous(std::string_view name) {
  return name.size() == 64 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

} // namespace

void prepared_trees_table::list(const std::string& engine, const std::string& fleet,
                                const std::vector<volume_summary>& all, time now) {
  auto& place = places_[engine];
  auto before = std::exchange(place.trees, {});
  auto suspected = std::exchange(place.suspect, {});
  auto suspect = [&](const std::string& name) {
    auto known = suspected.find(name);
    place.suspect[name] = known == suspected.end() ? now : known->second;
  };
  place.listed = true;
  auto label = [](const volume_summary& one, const char* name) {
    auto found = one.labels.find(name);
    return found == one.labels.end() ? std::string{} : found->second;
  };
  std::map<std::string, std::string> lower_of; // by key: the name of the volume that its mark names
  for (const auto& one : all) {
    auto read = read_tree_volume(one.name);
    if (read && read->is == tree_volume::role::mark && label(one, tree_label) == read->key)
      lower_of[read->key] = name_of_volume({tree_volume::role::lower, read->key, label(one, lower_label)});
  }
  std::set<std::string> whole;
  for (const auto& one : all) {
    auto read = read_tree_volume(one.name);
    if (read && read->is == tree_volume::role::lower && label(one, tree_label) == read->key
        && lower_of[read->key] == one.name)
      whole.insert(read->key);
  }
  for (const auto& one : all) {
    auto read = read_tree_volume(one.name);
    // An engine that dies while it makes or removes a container may leave its volumes without a name.
    auto of_container = !label(one, "davit.task").empty() || !label(one, "davit.sandbox").empty();
    if (!read && is_anonymous(one.name) && of_container && label(one, "davit.fleet") == fleet)
      suspect(one.name);
    if (!read || label(one, "davit.fleet") != fleet)
      continue;
    auto is_mark = read->is == tree_volume::role::mark;
    if (whole.contains(read->key) && (is_mark || one.name == lower_of[read->key])) {
      if (!is_mark)
        continue;
      std::uint64_t bytes = 0;
      auto text = label(one, bytes_label);
      std::from_chars(text.data(), text.data() + text.size(), bytes);
      auto known = before.find(read->key);
      place.trees[read->key] = {bytes, known == before.end() ? now : known->second.used};
    } else {
      suspect(one.name);
    }
  }
}

std::vector<std::string> prepared_trees_table::orphans(const std::string& engine, time now) {
  std::vector<std::string> names;
  for (auto& [name, since] : places_[engine].suspect)
    if (now - since >= orphan_age) {
      names.push_back(name);
      since = now;
    }
  // An overlay before what it consists of.
  std::stable_partition(names.begin(), names.end(), [](const auto& name) { return name.ends_with(".tree"); });
  return names;
}

bool prepared_trees_table::has_any(const std::string& engine) const {
  auto found = places_.find(engine);
  return found != places_.end() && !found->second.trees.empty();
}

bool prepared_trees_table::listed(const std::string& engine) const {
  auto found = places_.find(engine);
  return found != places_.end() && found->second.listed;
}

bool prepared_trees_table::has(const std::string& engine, const std::string& key) const {
  auto found = places_.find(engine);
  return found != places_.end() && found->second.trees.contains(key);
}

void prepared_trees_table::use(const std::string& engine, const std::string& key, time now) {
  auto& trees = places_[engine].trees;
  if (auto found = trees.find(key); found != trees.end())
    found->second.used = now;
}

void prepared_trees_table::drop(const std::string& engine, const std::string& key) {
  places_[engine].trees.erase(key);
}

bool prepared_trees_table::unpacked(const std::string& engine, const std::string& key, time now) {
  auto& place = places_[engine];
  if (place.trees.contains(key))
    return false;
  auto& wish = place.wishes[key];
  ++wish.times;
  wish.last = now;
  if (place.wishes.size() > most_wishes)
    place.wishes.erase(std::min_element(place.wishes.begin(), place.wishes.end(),
                                        [](const auto& a, const auto& b) { return a.second.last < b.second.last; }));
  if (place.making || wish.times < wanted_after || now < wish.not_before)
    return false;
  return place.making = true;
}

void prepared_trees_table::made(const std::string& engine, const std::string& key, std::uint64_t bytes, time now) {
  auto& place = places_[engine];
  place.making = false;
  place.wishes.erase(key);
  place.trees[key] = {bytes, now};
}

void prepared_trees_table::not_made(const std::string& engine, const std::string& key, time until) {
  auto& place = places_[engine];
  place.making = false;
  if (auto found = place.wishes.find(key); found != place.wishes.end())
    found->second.not_before = until;
}

std::uint64_t prepared_trees_table::bytes(const std::string& engine) const {
  std::uint64_t all = 0;
  if (auto found = places_.find(engine); found != places_.end())
    for (const auto& [key, one] : found->second.trees)
      all += one.bytes;
  return all;
}

std::uint64_t prepared_trees_table::room(const std::string& engine, std::uint64_t limit, std::uint64_t least,
                                         std::optional<std::uint64_t> free) const {
  if (!free || *free >= least)
    return limit;
  auto all = bytes(engine), lacking = least - *free;
  return std::min(limit, all > lacking ? all - lacking : 0);
}

std::vector<std::string>
prepared_trees_table::over(const std::string& engine, std::uint64_t limit, std::uint64_t more) const {
  std::vector<std::string> keys;
  auto found = places_.find(engine);
  if (found == places_.end())
    return keys;
  std::vector<std::pair<time, std::string>> by_use;
  for (const auto& [key, one] : found->second.trees)
    by_use.emplace_back(one.used, key);
  std::sort(by_use.begin(), by_use.end());
  auto all = bytes(engine);
  for (const auto& [used, key] : by_use) {
    if (all + more <= limit)
      break;
    all -= found->second.trees.at(key).bytes;
    keys.push_back(key);
  }
  return keys;
}

} // namespace davit
