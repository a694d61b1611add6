// What a catalogue of blobs should know, written down as simply as can be. Blobs and trees are numbers.
#pragma once

#include "store/blob_catalogue.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>

namespace davit::test {

using store::blob_purpose;

/// When something was used last, by steps of the test; 0: never.
struct last_use {
  int task = 0, cache = 0;

  int& of(blob_purpose purpose) { return purpose == blob_purpose::cache ? cache : task; }
  bool is_before(const last_use& end) const { return task < end.task && cache < end.cache; }
};

struct catalogue_model {
  struct blob {
    std::string pack;
    last_use used;
  };
  struct tree {
    std::set<int> content;
    last_use used;
    bool lost = false;
  };
  struct owned {
    std::map<int, blob> blobs;
    std::map<int, tree> trees;
  };
  std::map<std::string, owned> owners;
  std::map<std::string, std::string> packs; ///< "writing", "there", "doubted" or "removing".
  std::set<std::tuple<task_id, std::string, int>> uses;
  int step = 1;

  bool is_sound(const std::string& owner, int number) {
    auto found = owners[owner].blobs.find(number);
    return found != owners[owner].blobs.end() && packs.at(found->second.pack) == "there";
  }
  bool has_doubts(const std::string& owner) {
    return std::any_of(packs.begin(), packs.end(),
                       [&](const auto& pack) { return pack.second == "doubted" && owner_of.at(pack.first) == owner; });
  }
  std::map<std::string, std::string> owner_of; ///< Of each pack.
  /// Uses them; answers what is missing.
  std::set<int> use(const std::string& owner, const std::set<int>& numbers, blob_purpose purpose) {
    std::set<int> missing;
    for (auto one : numbers)
      if (is_sound(owner, one))
        owners[owner].blobs[one].used.of(purpose) = step;
      else
        missing.insert(one);
    return missing;
  }
  bool is_used(const std::string& owner, int tree) {
    return std::any_of(uses.begin(), uses.end(),
                       [&](const auto& use) { return std::get<1>(use) == owner && std::get<2>(use) == tree; });
  }
  std::set<int> live(const std::string& owner) {
    std::set<int> all;
    for (const auto& [name, tree] : owners[owner].trees) {
      all.insert(name);
      all.insert(tree.content.begin(), tree.content.end());
    }
    return all;
  }
  bool has_blobs(const std::string& key) {
    return std::any_of(owners.begin(), owners.end(), [&](const auto& owner) {
      return std::any_of(owner.second.blobs.begin(), owner.second.blobs.end(),
                         [&](const auto& blob) { return blob.second.pack == key; });
    });
  }
  std::set<std::string> to_remove() {
    std::set<std::string> all;
    for (const auto& [key, state] : packs)
      if (state == "removing" || (state != "writing" && !has_blobs(key)))
        all.insert(key);
    return all;
  }
};

} // namespace davit::test
