#include "actors/prepared_images.hpp"

#include "actors/prepared_plan.hpp"

#include <algorithm>

namespace davit {

void prepared_images::list(const std::string& engine, const std::vector<image_summary>& all,
                           const std::map<std::string, std::uint64_t>& bases, time now) {
  auto& place = places_[engine];
  auto before = std::exchange(place.images, {});
  place.listed = true;
  for (const auto& one : all)
    for (const auto& name : one.names) {
      auto tag = name.substr(name.rfind(':') + 1);
      auto parts = read_prepared_tag(tag);
      auto base = parts ? bases.find(parts->first) : bases.end();
      if (base == bases.end())
        continue;
      auto known = before.find(tag);
      place.images[tag]
        = {one.size - std::min(base->second, one.size), known == before.end() ? now : known->second.used};
    }
}

bool prepared_images::listed(const std::string& engine) const {
  auto found = places_.find(engine);
  return found != places_.end() && found->second.listed;
}

bool prepared_images::has_key(const std::string& engine, const std::string& key) const {
  auto found = places_.find(engine);
  return found != places_.end()
      && std::any_of(found->second.images.begin(), found->second.images.end(),
                     [&](const auto& one) { return one.first.ends_with(key); });
}

bool prepared_images::has(const std::string& engine, const std::string& tag) const {
  auto found = places_.find(engine);
  return found != places_.end() && found->second.images.contains(tag);
}

void prepared_images::use(const std::string& engine, const std::string& tag, time now) {
  auto& images = places_[engine].images;
  if (auto found = images.find(tag); found != images.end())
    found->second.used = now;
}

void prepared_images::drop(const std::string& engine, const std::string& tag) {
  places_[engine].images.erase(tag);
}

bool prepared_images::unpacked(const std::string& engine, const std::string& tag, time now) {
  auto& place = places_[engine];
  if (place.images.contains(tag))
    return false;
  auto& wish = place.wishes[tag];
  ++wish.times;
  wish.last = now;
  if (place.wishes.size() > most_wishes)
    place.wishes.erase(std::min_element(place.wishes.begin(), place.wishes.end(),
                                        [](const auto& a, const auto& b) { return a.second.last < b.second.last; }));
  if (place.making || wish.times < wanted_after || now < wish.not_before)
    return false;
  return place.making = true;
}

void prepared_images::made(const std::string& engine, const std::string& tag, std::uint64_t bytes, time now) {
  auto& place = places_[engine];
  place.making = false;
  place.wishes.erase(tag);
  place.images[tag] = {bytes, now};
}

void prepared_images::not_made(const std::string& engine, const std::string& tag, time until) {
  auto& place = places_[engine];
  place.making = false;
  if (auto found = place.wishes.find(tag); found != place.wishes.end())
    found->second.not_before = until;
}

std::uint64_t prepared_images::bytes(const std::string& engine) const {
  std::uint64_t all = 0;
  if (auto found = places_.find(engine); found != places_.end())
    for (const auto& [tag, one] : found->second.images)
      all += one.bytes;
  return all;
}

std::vector<std::string>
prepared_images::over(const std::string& engine, std::uint64_t limit, std::uint64_t more) const {
  std::vector<std::string> tags;
  auto found = places_.find(engine);
  if (found == places_.end())
    return tags;
  std::vector<std::pair<time, std::string>> by_use;
  for (const auto& [tag, one] : found->second.images)
    by_use.emplace_back(one.used, tag);
  std::sort(by_use.begin(), by_use.end());
  auto all = bytes(engine);
  for (const auto& [used, tag] : by_use) {
    if (all + more <= limit)
      break;
    all -= found->second.images.at(tag).bytes;
    tags.push_back(tag);
  }
  return tags;
}

} // namespace davit
