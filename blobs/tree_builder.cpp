#include "blobs/tree_builder.hpp"

#include "encoding/printable.hpp"

#include <algorithm>

namespace davit::blobs {

namespace {

error refuse(const std::string& name, const std::string& what) {
  return {errc::refused, "the entry \"" + encoding::printable(name) + "\" " + what};
}

} // namespace

result<void> tree_builder::count(const std::string& name, std::size_t more_bytes) {
  name_bytes_ += name.size() + more_bytes;
  if (name_bytes_ > limits_.manifest_bytes)
    return refuse(name, "takes all names together over " + std::to_string(limits_.manifest_bytes) + " bytes");
  if (++counted_ > limits_.entries)
    return refuse(name, "is one of more than " + std::to_string(limits_.entries) + set_by(limits_.entries_option));
  return {};
}

result<void> tree_builder::expect(const std::string& name, std::uint64_t bytes) {
  if (bytes > limits_.file_bytes)
    return refuse(name, "is a file of more than " + std::to_string(limits_.file_bytes) + " bytes"
                          + set_by(limits_.bytes_option));
  if (bytes > limits_.bytes - bytes_)
    return refuse(name,
                  "takes the whole over " + std::to_string(limits_.bytes) + " bytes" + set_by(limits_.bytes_option));
  bytes_ += bytes;
  return {};
}

result<void> tree_builder::add(tree_entry entry) {
  if (auto good = count(entry.path, entry.target.size() + entry.holes.size() * sizeof(hole)); !good)
    return good;
  auto [place, is_new] = places_.try_emplace(entry.path, entries_.size());
  if (is_new) {
    entries_.push_back(std::move(entry));
    return {};
  }
  auto& there = entries_[place->second];
  if (there.kind != entry_kind::folder || entry.kind != entry_kind::folder)
    return refuse(entry.path, "is there twice");
  there = std::move(entry);
  return {};
}

result<void> tree_builder::add_name(std::string path, const std::string& target) {
  auto found = places_.find(target);
  if (found == places_.end())
    return refuse(path, "is a hard link to something that was not there before it");
  const auto& there = entries_[found->second];
  tree_entry entry;
  switch (there.kind) {
    case entry_kind::folder:
      return refuse(path, "is a hard link to a folder");
    case entry_kind::symlink:
      entry = there;
      break;
    case entry_kind::hard_link:
      entry.kind = entry_kind::hard_link;
      entry.target = there.target;
      break;
    case entry_kind::file:
      entry.kind = entry_kind::hard_link;
      entry.target = there.path;
      break;
  }
  entry.path = std::move(path);
  return add(std::move(entry));
}

/// The first of a file's names becomes the file.
void tree_builder::choose_files() {
  std::unordered_map<std::size_t, std::size_t> first; // of a file's entry: the entry that is to be it
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].kind != entry_kind::hard_link)
      continue;
    auto file = places_.at(entries_[i].target);
    auto& best = first.try_emplace(file, file).first->second;
    if (path_less(entries_[i].path, entries_[best].path))
      best = i;
  }
  for (const auto& [file, best] : first)
    if (file != best) {
      std::swap(entries_[file], entries_[best]);
      std::swap(entries_[file].path, entries_[best].path);
    }
  for (auto& one : entries_)
    if (one.kind == entry_kind::hard_link)
      one.target = entries_[first.at(places_.at(one.target))].path;
}

result<void> tree_builder::add_missing_folders() {
  for (std::size_t i = 0, given = entries_.size(); i < given; ++i)
    for (auto path = std::string{parent_of(entries_[i].path)}; !path.empty(); path = std::string{parent_of(path)}) {
      if (!places_.try_emplace(path, entries_.size()).second)
        break;
      if (auto good = count(path); !good)
        return good;
      tree_entry folder;
      folder.path = path;
      folder.kind = entry_kind::folder;
      folder.mode = 0755;
      entries_.push_back(std::move(folder));
    }
  return {};
}

result<tree> tree_builder::finish() {
  choose_files();
  if (auto good = add_missing_folders(); !good)
    return good.error();
  tree built;
  built.entries = std::move(entries_);
  *this = tree_builder{limits_};
  std::sort(built.entries.begin(), built.entries.end(),
            [](const tree_entry& a, const tree_entry& b) { return path_less(a.path, b.path); });
  if (auto good = check_tree(built, limits_); !good)
    return good.error();
  return built;
}

} // namespace davit::blobs
