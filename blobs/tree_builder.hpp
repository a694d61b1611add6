// A tree from entries in any order, such as those of somebody's archive.
#pragma once

#include "blobs/tree.hpp"

#include <string>
#include <unordered_map>
#include <vector>

namespace davit::blobs {

class tree_builder {
public:
  explicit tree_builder(const tree_limits& limits) : limits_(limits) {}

  /// A file, a folder or a symbolic link; its path has the length and the depth that the limits allow. A path that was
  /// there before is an error, except a folder's: its last entry counts.
  result<void> add(tree_entry entry);
  /// Another name of what was added under `target`: of a file, or of a symbolic link, which then is there twice.
  result<void> add_name(std::string path, const std::string& target);
  /// So many bytes come: an error if there would be too many, before they are read. `name` is for the sentence.
  result<void> expect(const std::string& name, std::uint64_t bytes);
  /// An entry that is counted, and left out.
  result<void> count(const std::string& name, std::size_t more_bytes = 0);

  /// Sorts the entries, makes folders that were never named (0755, 1970), chooses which name of a file is the file,
  /// and checks the rules. The builder is empty afterwards.
  result<tree> finish();

private:
  void choose_files();
  result<void> add_missing_folders();

  tree_limits limits_;
  std::vector<tree_entry> entries_;
  std::unordered_map<std::string, std::size_t> places_;
  std::uint64_t counted_ = 0, bytes_ = 0, name_bytes_ = 0;
};

} // namespace davit::blobs
