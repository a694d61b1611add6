// Gets a tree ready on an engine: what a thread of the file keeper does (docs/decisions/0020). It blocks.
#pragma once

#include "actors/file_transfer.hpp"

namespace davit {

struct making_order {
  std::string engine; ///< Its name.
  std::string owner;
  std::string user; ///< The task's; empty: the image's.
  std::string base; ///< The id of the task's image.
  tree_place place;
  std::string key;
  std::uint64_t disk = 0;           ///< What it takes there, about.
  std::vector<std::string> instead; ///< The keys of those that go first.
};

/// Errors: files_errc::refused if it can't be had ready there; others: not now. What fails leaves no tree.
caf::expected<void> make_prepared(const transfer& with, const making_order& order);

/// Removes a tree, as far as nothing uses it; from now on nothing new will.
void remove_prepared(const transfer& with, const std::string& key);

/// The engine's disk is full: removes all trees that nothing uses. False: there was none, or it can't be asked.
bool make_room(const transfer& with);

} // namespace davit
