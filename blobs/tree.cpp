#include "blobs/tree.hpp"

#include "encoding/printable.hpp"

#include <algorithm>

namespace davit::blobs {

namespace {

error refuse(const tree_entry& entry, const std::string& what) {
  return {errc::refused, "the tree's entry \"" + encoding::printable(entry.path) + "\" " + what};
}

int rank(char one) {
  return one == '/' ? 0 : static_cast<unsigned char>(one);
}

} // namespace

bool path_less(std::string_view a, std::string_view b) {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                      [](char x, char y) { return rank(x) < rank(y); });
}

std::string_view parent_of(std::string_view path) {
  auto slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
}

bool leads_inside(std::string_view path, std::string_view target) {
  if (target.empty() || target.front() == '/')
    return false;
  auto level = std::count(path.begin(), path.end(), '/');
  bool descended = false;
  while (!target.empty()) {
    auto slash = target.find('/');
    auto part = target.substr(0, slash);
    target.remove_prefix(slash == std::string_view::npos ? target.size() : slash + 1);
    if (part == ".." && (descended || --level < 0))
      return false;
    descended = descended || (part != ".." && part != "." && !part.empty());
  }
  return true;
}

result<void> tree_rules::check_path(const tree_entry& entry) {
  if (entry.path.size() > limits_.path_bytes)
    return refuse(entry, "has a path of more than " + std::to_string(limits_.path_bytes) + " bytes");
  if (entry.path.find('\0') != std::string::npos)
    return refuse(entry, "has a NUL in its path");
  std::uint32_t depth = 0;
  std::string_view rest = entry.path;
  while (true) {
    auto slash = rest.find('/');
    auto part = rest.substr(0, slash);
    if (part.empty() || part == "." || part == "..")
      return refuse(entry, "has an empty part, \".\" or \"..\" in its path");
    if (part.size() > limits_.name_bytes)
      return refuse(entry, "has a name of more than " + std::to_string(limits_.name_bytes) + " bytes");
    if (++depth > limits_.depth)
      return refuse(entry, "is more than " + std::to_string(limits_.depth) + " levels deep");
    if (slash == std::string_view::npos)
      return {};
    rest.remove_prefix(slash + 1);
  }
}

// In order, once, and in a folder.
result<void> tree_rules::check_place(const tree_entry& entry) {
  if (entries_ > 1 && previous_ == entry.path)
    return refuse(entry, "is there twice");
  if (entries_ > 1 && !path_less(previous_, entry.path))
    return refuse(entry, "is not in the order of trees");
  previous_ = entry.path;
  auto parent = parent_of(entry.path);
  while (!open_.empty() && open_.back() != parent
         && !(parent.starts_with(open_.back()) && parent[open_.back().size()] == '/'))
    open_.pop_back();
  if ((open_.empty() ? std::string_view{} : open_.back()) != parent)
    return refuse(entry, "does not lie in a folder of the tree");
  if (entry.kind == entry_kind::folder)
    open_.push_back(entry.path);
  return {};
}

result<void> tree_rules::check_holes(const tree_entry& entry) {
  holes_ += entry.holes.size();
  if (holes_ > limits_.holes)
    return refuse(entry, "takes the tree over " + std::to_string(limits_.holes) + " holes in files");
  std::uint64_t end = 0;
  bool first = true;
  for (const auto& one : entry.holes) {
    if (one.length == 0 || one.offset >= entry.size || one.length > entry.size - one.offset
        || (!first && one.offset <= end))
      return refuse(entry, "has holes that are empty, outside of the file or not in order");
    end = one.offset + one.length;
    first = false;
  }
  return {};
}

std::string set_by(const std::string& option) {
  return option.empty() ? option : " (" + option + ')';
}

result<void> tree_rules::check_file(const tree_entry& entry) {
  if (entry.size > limits_.file_bytes)
    return refuse(entry, "is a file of more than " + std::to_string(limits_.file_bytes) + " bytes"
                           + set_by(limits_.bytes_option));
  if (entry.size > limits_.bytes - bytes_)
    return refuse(entry,
                  "takes the tree over " + std::to_string(limits_.bytes) + " bytes" + set_by(limits_.bytes_option));
  bytes_ += entry.size;
  if ((entry.size == 0) != (entry.content == empty_digest()))
    return refuse(entry, "has a digest that can't be that of a file of its size");
  return check_holes(entry);
}

result<void> tree_rules::check_link(const std::vector<tree_entry>& before, const tree_entry& entry) const {
  if (entry.kind == entry_kind::symlink) {
    if (entry.target.empty() || entry.target.size() > limits_.target_bytes
        || entry.target.find('\0') != std::string::npos)
      return refuse(entry, "is a link with a target that is empty, too long, or has a NUL");
    if (!limits_.links_out && !leads_inside(entry.path, entry.target))
      return refuse(entry, "is a link that leads out of the tree, to \"" + encoding::printable(entry.target) + '"');
    return entry.mode == 0777 ? result<void>{} : refuse(entry, "is a link whose mode is not 0777");
  }
  auto found
    = std::lower_bound(before.begin(), before.end(), entry.target,
                       [](const tree_entry& one, const std::string& path) { return path_less(one.path, path); });
  if (found == before.end() || found->path != entry.target || !path_less(entry.target, entry.path)
      || found->kind != entry_kind::file)
    return refuse(entry, "is a hard link to something that is not a file before it");
  if (entry.mode != 0 || entry.modified != timestamp{})
    return refuse(entry, "is a hard link with a mode or a time");
  return {};
}

result<void> tree_rules::check(const std::vector<tree_entry>& before, const tree_entry& entry) {
  if (++entries_ > limits_.entries)
    return refuse(entry, "is one of more than " + std::to_string(limits_.entries) + set_by(limits_.entries_option));
  if (auto good = check_path(entry); !good)
    return good;
  if (auto good = check_place(entry); !good)
    return good;
  if (entry.mode > 07777 || (!limits_.set_id && (entry.mode & 06000) != 0))
    return refuse(entry, "has a mode that is not allowed, such as set-user-id");
  if (entry.modified.nanoseconds > 999'999'999)
    return refuse(entry, "has a time that is not valid");
  bool link = entry.kind == entry_kind::symlink || entry.kind == entry_kind::hard_link;
  if (entry.kind != entry_kind::file && (entry.size != 0 || entry.content != digest{} || !entry.holes.empty()))
    return refuse(entry, "has content, but is not a file");
  if (!link && !entry.target.empty())
    return refuse(entry, "has a target, but is not a link");
  if (link)
    return check_link(before, entry);
  return entry.kind == entry_kind::file ? check_file(entry) : result<void>{};
}

result<void> check_tree(const tree& value, const tree_limits& limits) {
  tree_rules rules{limits};
  // A hard link may find its file behind itself here, or in a part without order: then what comes next is refused.
  for (const auto& entry : value.entries)
    if (auto good = rules.check(value.entries, entry); !good)
      return good;
  return {};
}

std::uint64_t total_bytes(const tree& value) {
  std::uint64_t sum = 0;
  for (const auto& one : value.entries)
    sum += one.size;
  return sum;
}

} // namespace davit::blobs
