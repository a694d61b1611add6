// A tree of files as a value: what is at which path. The bytes of its files are blobs.
#pragma once

#include "blobs/digest.hpp"
#include "blobs/error.hpp"

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace davit::blobs {

enum class entry_kind : std::uint8_t { file = 1, folder = 2, symlink = 3, hard_link = 4 };

/// Since 1970. The fraction counts forward, before 1970 too.
struct timestamp {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;
  auto operator<=>(const timestamp&) const = default;
};

/// A part of a sparse file which takes no room; it reads as zeros.
struct hole {
  std::uint64_t offset = 0, length = 0;
  auto operator<=>(const hole&) const = default;
};

struct tree_entry {
  std::string path; ///< Relative to the tree's root, which has no entry of its own. Bytes: any but NUL.
  entry_kind kind = entry_kind::file;
  std::uint16_t mode = 0; ///< 12 bits. 0777 for a symbolic link, 0 for a hard link.
  timestamp modified;     ///< 0 for a hard link: the file has it.
  std::uint64_t size = 0; ///< Of a file, with its holes.
  digest content;         ///< Of a file's bytes, with its holes as zeros.
  std::string target;     ///< What a symbolic link says; the path of the file that a hard link is another name of.
  std::vector<hole> holes;
  bool operator==(const tree_entry&) const = default;

  bool executable() const { return kind == entry_kind::file && (mode & 0111) != 0; }
};

/// Depth first, the names in a folder by their bytes: `path_less` is the order. Each folder stands before what is in
/// it; of the names of one file, the first one is the file, and the others are hard links to it.
struct tree {
  std::vector<tree_entry> entries;
  bool operator==(const tree&) const = default;
};

struct tree_limits {
  std::uint64_t entries = 100'000;
  std::uint64_t bytes = 16ull << 30;      ///< Of all files together, holes included.
  std::uint64_t file_bytes = 16ull << 30; ///< Of one file, holes included.
  std::uint64_t holes = 100'000;          ///< Of all files together.
  std::uint64_t manifest_bytes = 64 << 20;
  std::uint32_t path_bytes = 4096;
  std::uint32_t name_bytes = 255;
  std::uint32_t target_bytes = 4095; ///< Of symbolic links.
  std::uint32_t depth = 128;         ///< Parts of a path.
  bool set_id = false;               ///< Whether files and folders may have set-user-id and set-group-id bits.
  bool links_out = true;             ///< Whether symbolic links may lead out of the tree.
  std::string bytes_option{}, entries_option{}; ///< What sets these limits, for what people are told; empty: nothing.
};

/// ` (OPTION)`; empty if there is none.
std::string set_by(const std::string& option);

/// The order of a tree: byte by byte, with the slash before all others.
bool path_less(std::string_view a, std::string_view b);

/// `a` of `a/b`; empty if there is no slash.
std::string_view parent_of(std::string_view path);

/// Whether a symbolic link at this path leads to a place in the tree, whatever else is there: a `..` behind a name
/// counts as leading out, because that name may be a link itself.
bool leads_inside(std::string_view path, std::string_view target);

/// The rules of a tree, one entry after another.
class tree_rules {
public:
  explicit tree_rules(const tree_limits& limits) : limits_(limits) {}
  /// `before`: the entries that were good. The sentence names the entry.
  result<void> check(const std::vector<tree_entry>& before, const tree_entry& entry);

private:
  result<void> check_path(const tree_entry& entry);
  result<void> check_place(const tree_entry& entry);
  result<void> check_file(const tree_entry& entry);
  result<void> check_holes(const tree_entry& entry);
  result<void> check_link(const std::vector<tree_entry>& before, const tree_entry& entry) const;

  tree_limits limits_;
  std::uint64_t entries_ = 0, bytes_ = 0, holes_ = 0;
  std::string previous_;
  std::vector<std::string> open_; ///< The folders that the previous entry lies in, and itself if it is one.
};

result<void> check_tree(const tree& value, const tree_limits& limits = {});

/// Of all files, holes included.
std::uint64_t total_bytes(const tree& value);

} // namespace davit::blobs
