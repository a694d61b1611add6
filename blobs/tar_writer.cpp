#include "blobs/tar_writer.hpp"

#include "blobs/tar_header.hpp"
#include "encoding/printable.hpp"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>

namespace davit::blobs {

namespace {

constexpr std::size_t scratch_bytes = 64 << 10;

char type_of(entry_kind kind) {
  switch (kind) {
    case entry_kind::folder:
      return '5';
    case entry_kind::symlink:
      return '2';
    case entry_kind::hard_link:
      return '1';
    default:
      return '0';
  }
}

error wrong_blob(const tree_entry& entry, const char* what) {
  return {errc::damaged, "the bytes of \"" + encoding::printable(entry.path) + "\" " + what};
}

} // namespace

tar_writer::tar_writer(const tree& from, blob_source& bytes, tar_options options)
  : tree_(from), bytes_(bytes), options_(std::move(options)) {
  if (!options_.prefix.empty() && options_.prefix.back() != '/')
    options_.prefix += '/';
}

result<std::size_t> tar_writer::read(std::span<char> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    if (given_ < ready_.size()) {
      auto count = std::min(into.size() - done, ready_.size() - given_);
      std::memcpy(into.data() + done, ready_.data() + given_, count);
      given_ += count;
      done += count;
    } else if (file_) {
      auto got = read_file(into.subspan(done));
      if (!got)
        return got;
      done += *got;
    } else if (ended_) {
      break;
    } else if (auto begun = begin_next(); !begun) {
      return begun.error();
    }
  }
  return done;
}

/// The file that a hard link is another name of; itself, if the tree is not a good one.
const tree_entry& tar_writer::file_of(const tree_entry& link) const {
  const auto& all = tree_.entries;
  auto found
    = std::lower_bound(all.begin(), all.end(), link.target,
                       [](const tree_entry& one, const std::string& path) { return path_less(one.path, path); });
  return found == all.end() || found->path != link.target ? link : *found;
}

/// Makes the header of the next entry ready, or the end.
result<void> tar_writer::begin_next() {
  given_ = 0;
  ready_.clear();
  if (options_.with_prefix && !std::exchange(prefix_given_, true)) {
    tar_header folder;
    folder.path = options_.prefix;
    folder.type = '5';
    folder.user = options_.user;
    folder.group = options_.group;
    folder.mode = 0755;
    folder.modified.seconds = std::time(nullptr);
    ready_ = tar_blocks(folder);
    return {};
  }
  if (next_ == tree_.entries.size()) {
    ready_.assign(2 * tar_block, '\0');
    ended_ = true;
    return {};
  }
  const auto& entry = tree_.entries[next_++];
  tar_header header;
  header.path = options_.prefix + entry.path + (entry.kind == entry_kind::folder ? "/" : "");
  header.type = type_of(entry.kind);
  header.user = options_.user;
  header.group = options_.group;
  // Whoever unpacks it may give the file what its other name's header says.
  const auto& file = entry.kind == entry_kind::hard_link ? file_of(entry) : entry;
  header.mode = file.mode;
  header.modified = file.modified;
  header.target = entry.kind == entry_kind::hard_link ? options_.prefix + entry.target : entry.target;
  std::string map;
  if (entry.kind == entry_kind::file) {
    data_ = data_between(entry.holes, entry.size);
    header.size = entry.size;
    if (!entry.holes.empty()) {
      map = sparse_map(data_, entry.size);
      header.sparse = true;
      header.apparent_size = entry.size;
      header.size = map.size();
      for (const auto& one : data_)
        header.size += one.length;
    }
    auto opened = bytes_.open(entry);
    if (!opened)
      return opened.error();
    file_ = std::move(*opened);
    part_ = 0;
    at_ = 0;
  }
  ready_ = tar_blocks(header) + map;
  return {};
}

/// Some bytes of the file; none if that was its end, or a hole.
result<std::size_t> tar_writer::read_file(std::span<char> into) {
  const auto& entry = tree_.entries[next_ - 1];
  auto until = part_ < data_.size() ? data_[part_].offset : entry.size;
  if (at_ < until) {
    if (auto skipped = skip_hole(until - at_); !skipped)
      return skipped.error();
    return std::size_t{0};
  }
  if (part_ == data_.size()) {
    if (auto ended = end_file(); !ended)
      return ended.error();
    return std::size_t{0};
  }
  auto end = data_[part_].offset + data_[part_].length;
  auto got = file_->read(into.first(static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), end - at_))));
  if (!got)
    return got;
  if (*got == 0)
    return wrong_blob(entry, "are cut off");
  at_ += *got;
  if (at_ == end)
    ++part_;
  return got;
}

/// A hole's bytes are in the blob: zeros, which are not sent.
result<void> tar_writer::skip_hole(std::uint64_t count) {
  scratch_.resize(scratch_bytes);
  const auto& entry = tree_.entries[next_ - 1];
  while (count != 0) {
    auto got = file_->read(
      std::span{scratch_}.first(static_cast<std::size_t>(std::min<std::uint64_t>(count, scratch_.size()))));
    if (!got)
      return got.error();
    if (*got == 0)
      return wrong_blob(entry, "are cut off");
    if (std::any_of(scratch_.begin(), scratch_.begin() + static_cast<std::ptrdiff_t>(*got),
                    [](char c) { return c != 0; }))
      return wrong_blob(entry, "are not zero where the tree says that there is a hole");
    at_ += *got;
    count -= *got;
  }
  return {};
}

result<void> tar_writer::end_file() {
  char more = 0;
  auto got = file_->read({&more, 1});
  if (!got)
    return got.error();
  if (*got != 0)
    return wrong_blob(tree_.entries[next_ - 1], "are more than the tree says");
  file_.reset();
  std::uint64_t sent = 0;
  for (const auto& one : data_)
    sent += one.length;
  given_ = 0;
  ready_.assign(tar_padding(sent), '\0');
  return {};
}

} // namespace davit::blobs
