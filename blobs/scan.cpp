#include "blobs/scan.hpp"

#include "blobs/file_reader.hpp"
#include "blobs/folder_names.hpp"
#include "encoding/printable.hpp"

#include <algorithm>
#include <cerrno>
#include <map>

namespace davit::blobs {

namespace {

constexpr std::size_t buffer_bytes = 256 << 10, most_remarks = 100;
constexpr auto as_folder = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;

class walk {
public:
  walk(std::string folder, const scan_options& options)
    : folder_(std::move(folder)), options_(options), rules_(options.limits), buffer_(buffer_bytes) {}

  result<void> take_folder(int open, const std::string& path, const ignore_patterns::verdicts& verdicts) {
    if (depth_ > options_.limits.depth)
      return error{errc::refused,
                   shown(path) + " is more than " + std::to_string(options_.limits.depth) + " levels deep"};
    auto names = names_in(open, shown(path));
    if (!names)
      return names.error();
    ++depth_;
    for (const auto& name : *names)
      if (auto done = take(open, name, path.empty() ? name : path + '/' + name, verdicts); !done)
        return done;
    --depth_;
    return {};
  }

  scanned done;

private:
  std::string shown(const std::string& path) const { return encoding::printable(folder_ + '/' + path); }

  result<void>
  take(int parent, const std::string& name, const std::string& path, const ignore_patterns::verdicts& verdicts) {
    ignore_patterns::verdict verdict;
    if (options_.ignored)
      verdict = options_.ignored->match(path, verdicts);
    struct stat status {};
    if (::fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      return errno == ENOENT ? result<void>{} : system_error(shown(path), "read", errno);
    if (S_ISDIR(status.st_mode))
      return take_subfolder(parent, name, path, status, verdict);
    if (verdict.ignored)
      return {};
    if (S_ISREG(status.st_mode))
      return take_file(parent, name, path, status);
    if (S_ISLNK(status.st_mode))
      return take_link(parent, name, path, status);
    if (!options_.skip_special)
      return error{errc::refused, shown(path) + " is a device, a fifo or a socket"};
    return remark(shown(path) + " was left out: it is a device, a fifo or a socket");
  }

  result<void> remark(std::string sentence) {
    if (done.skipped_count++ < most_remarks)
      done.skipped.push_back(std::move(sentence));
    return {};
  }

  std::uint16_t mode_of(const struct stat& status) const {
    return static_cast<std::uint16_t>(status.st_mode & (options_.limits.set_id ? 07777 : 01777));
  }

  /// An ignored folder comes into the tree with the first thing in it that is not ignored.
  result<void> take_subfolder(int parent, const std::string& name, const std::string& path, const struct stat& status,
                              const ignore_patterns::verdict& verdict) {
    if (verdict.ignored && !options_.ignored->may_hold_exceptions(path))
      return {};
    descriptor folder{::openat(parent, name.c_str(), as_folder)};
    if (!folder && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
      return errno == ENOENT ? result<void>{} : error{errc::changed, shown(path) + " changed while it was read"};
    if (!folder)
      return system_error(shown(path), "read", errno);
    tree_entry entry;
    entry.path = path;
    entry.kind = entry_kind::folder;
    entry.mode = mode_of(status);
    entry.modified = time_of(status.st_mtim);
    waiting_.push_back(std::move(entry));
    if (!verdict.ignored)
      if (auto added = add_waiting(); !added)
        return added;
    if (auto walked = take_folder(folder.get(), path, verdict.of_patterns); !walked)
      return walked;
    if (!waiting_.empty() && waiting_.back().path == path)
      waiting_.pop_back();
    return {};
  }

  result<void> add(tree_entry entry) {
    if (auto added = add_waiting(); !added)
      return added;
    return append(std::move(entry));
  }
  result<void> add_waiting() {
    for (auto& one : waiting_)
      if (auto added = append(std::move(one)); !added)
        return added;
    waiting_.clear();
    return {};
  }
  result<void> append(tree_entry entry) {
    if (auto good = rules_.check(done.entries.entries, entry); !good)
      return good;
    done.entries.entries.push_back(std::move(entry));
    return {};
  }

  result<void> take_link(int parent, const std::string& name, const std::string& path, const struct stat& status) {
    char target[4097];
    auto size = ::readlinkat(parent, name.c_str(), target, sizeof target);
    if (size < 0 && errno == ENOENT)
      return {};
    if (size < 0)
      return system_error(shown(path), "read", errno);
    tree_entry entry;
    entry.path = path;
    entry.kind = entry_kind::symlink;
    entry.mode = 0777;
    entry.modified = time_of(status.st_mtim);
    entry.target.assign(target, static_cast<std::size_t>(size));
    return add(std::move(entry));
  }

  /// True: the file has another name in the tree, and became a hard link to it.
  result<bool> take_other_name(const std::string& path, const struct stat& status) {
    if (status.st_nlink < 2)
      return false;
    auto [known, is_new] = names_.try_emplace({status.st_dev, status.st_ino}, path);
    if (is_new)
      return false;
    tree_entry entry;
    entry.path = path;
    entry.kind = entry_kind::hard_link;
    entry.target = known->second;
    if (auto added = add(std::move(entry)); !added)
      return added.error();
    return true;
  }

  result<void> take_file(int parent, const std::string& name, const std::string& path, const struct stat& seen) {
    if (static_cast<std::uint64_t>(seen.st_size) > options_.limits.file_bytes) // before it is read
      return error{errc::refused,
                   shown(path) + " has more than " + std::to_string(options_.limits.file_bytes) + " bytes"};
    auto other = take_other_name(path, seen);
    if (!other)
      return other.error();
    if (*other)
      return {};
    auto read = read_steady(parent, name, path, seen);
    if (!read && read.error().code == errc::missing) {
      names_.erase({seen.st_dev, seen.st_ino});
      return {};
    }
    if (!read)
      return read.error();
    if (read->stamp.inode != seen.st_ino) // replaced meanwhile: other names of the old file are not names of this one
      names_.erase({seen.st_dev, seen.st_ino});
    tree_entry entry;
    entry.path = path;
    entry.mode = mode_of(read->status);
    entry.modified = read->stamp.modified;
    entry.size = read->stamp.size;
    entry.content = read->content;
    entry.holes = std::move(read->holes);
    holes_ += entry.holes.size();
    return add(std::move(entry));
  }

  result<read_file> read_steady(int parent, const std::string& name, const std::string& path, const struct stat& seen) {
    // A sparse file is opened even if its digest is known: where its holes are is asked each time.
    const bool sparse = static_cast<std::uint64_t>(seen.st_blocks) * 512 < static_cast<std::uint64_t>(seen.st_size);
    auto known = options_.cache ? options_.cache->find(stamp_of(seen)) : std::nullopt;
    if (known && !sparse)
      return read_file{stamp_of(seen), seen, *known, {}, {}};
    for (unsigned attempt = 1;; ++attempt) {
      descriptor file{::openat(parent, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
      struct stat status {};
      if (!file || ::fstat(file.get(), &status) != 0)
        return system_error(shown(path), "read", errno);
      if (!S_ISREG(status.st_mode))
        return error{errc::changed, shown(path) + " became something else while it was read"};
      if (known && stamp_of(status) == stamp_of(seen))
        return read_file{stamp_of(seen), seen, *known, find_holes(file.get(), status, holes_left()), {}};
      auto read = hash_file(file.get(), shown(path), buffer_, holes_left());
      if (!read && read.error().code == errc::changed && attempt < options_.attempts)
        continue;
      if (!read)
        return read;
      ++done.read_files;
      done.read_bytes += read->stamp.size;
      if (options_.cache)
        options_.cache->add(read->stamp, read->content, read->read_at);
      return read;
    }
  }

  std::size_t holes_left() const { return static_cast<std::size_t>(options_.limits.holes - holes_); }

  std::string folder_;
  const scan_options& options_;
  tree_rules rules_;
  std::vector<char> buffer_;
  std::vector<tree_entry> waiting_; ///< Folders which the next entry lies in, and which are not in the tree yet.
  std::map<std::pair<dev_t, ino_t>, std::string> names_;
  std::uint64_t holes_ = 0;
  std::uint32_t depth_ = 0;
};

} // namespace

result<scanned> scan_folder(const std::string& folder, const scan_options& options) {
  descriptor top{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!top)
    return system_error(encoding::printable(folder), "read", errno);
  walk all{folder, options};
  if (auto walked = all.take_folder(top.get(), {}, {}); !walked)
    return walked.error();
  return std::move(all.done);
}

result<folder_source> folder_source::open_folder(const std::string& folder) {
  auto top = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (top < 0)
    return system_error(encoding::printable(folder), "read", errno);
  return folder_source{folder, top};
}

result<std::unique_ptr<byte_reader>> folder_source::open(const tree_entry& file) {
  auto shown = encoding::printable(folder_ + '/' + file.path);
  auto opened = open_below(top_.get(), file.path.c_str());
  struct stat status {};
  if (!opened || ::fstat(opened.get(), &status) != 0)
    return system_error(shown, "read", errno);
  if (!S_ISREG(status.st_mode))
    return error{errc::changed, shown + " is not a file any more"};
  return read_checked(std::move(opened), std::move(shown), file.size, file.content);
}

} // namespace davit::blobs
