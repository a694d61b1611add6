#include "cli/unpack.hpp"

#include "blobs/tar_reader.hpp"
#include "cli/staging.hpp"
#include "encoding/printable.hpp"

#include <cerrno>
#include <sys/stat.h>
#include <unistd.h>

namespace davit {

namespace {

constexpr auto only_folder = O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;

std::string through_proc(const blobs::descriptor& open) {
  return "/proc/self/fd/" + std::to_string(open.get());
}

std::string name_of(std::string_view path) {
  auto slash = path.rfind('/');
  return std::string{slash == std::string_view::npos ? path : path.substr(slash + 1)};
}

/// A folder below another one, reached through no symbolic link.
blobs::descriptor folder_below(int top, const std::string& path) {
  open_how how{};
  how.flags = only_folder;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return blobs::descriptor{
    static_cast<int>(::syscall(SYS_openat2, top, path.empty() ? "." : path.c_str(), &how, sizeof how))};
}

/// Renames what is staged to its place.
blobs::result<void> put(const staging_folder& staged, const std::string& from, int folder, const std::string& name,
                        const std::string& shown) {
  if (::renameat(staged.get(), from.c_str(), folder, name.c_str()) == 0)
    return {};
  if (errno == EISDIR || errno == ENOTEMPTY || errno == EEXIST)
    return blobs::error{blobs::errc::refused, shown + " can't be replaced: it is a folder"};
  if (errno == EXDEV)
    return blobs::error{blobs::errc::refused,
                        shown
                          + " lies on another file system than the folder that is written to; copy into "
                            "that folder itself"};
  return blobs::system_error(shown, "written", errno);
}

/// Puts the entries of a tree into a folder, whose files are staged.
class placement {
public:
  placement(blobs::descriptor top, std::string folder, staging_folder& staged, staged_files& files)
    : top_(std::move(top)), folder_(std::move(folder)), staged_(staged), files_(files) {}

  blobs::result<unpacked> place(const blobs::tree& all) {
    for (const auto& one : all.entries)
      if (auto free = look(one); !free)
        return free.error();
    for (const auto& one : all.entries)
      if (auto placed = place(one); !placed)
        return placed.error();
    open_.clear();
    for (auto one = all.entries.rbegin(); one != all.entries.rend(); ++one)
      if (one->kind == blobs::entry_kind::folder)
        if (auto finished = finish_folder(*one); !finished)
          return finished.error();
    return done_;
  }

private:
  struct open_folder {
    std::string path;
    blobs::descriptor open;
  };

  std::string shown(const std::string& path) const { return encoding::printable(folder_ + '/' + path); }

  /// Whether the entry's place is free, before anything has come to its own.
  blobs::result<void> look(const blobs::tree_entry& entry) {
    open_how how{};
    how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    auto is_folder = entry.kind == blobs::entry_kind::folder;
    blobs::descriptor there{static_cast<int>(::syscall(SYS_openat2, top_.get(), entry.path.c_str(), &how, sizeof how))};
    struct stat status {};
    if (!there || ::fstat(there.get(), &status) != 0)
      return errno != ELOOP || !is_folder ? blobs::result<void>{} // what is in the way of a folder above was told of
                                          : in_the_way(entry.path);
    if (is_folder && !S_ISDIR(status.st_mode))
      return in_the_way(entry.path);
    if (!is_folder && S_ISDIR(status.st_mode))
      return blobs::error{blobs::errc::refused, shown(entry.path) + " can't be replaced: it is a folder"};
    return {};
  }

  blobs::error in_the_way(const std::string& path) const {
    return {blobs::errc::refused, shown(path) + " is there, and is not a folder: a symbolic link is not followed"};
  }

  /// The folder that the entry lies in: it stands before it in the tree, and is open.
  int parent_of_entry(const blobs::tree_entry& entry) {
    auto parent = blobs::parent_of(entry.path);
    while (!open_.empty() && open_.back().path != parent)
      open_.pop_back();
    return open_.empty() ? top_.get() : open_.back().open.get();
  }

  blobs::result<void> place(const blobs::tree_entry& entry) {
    auto parent = parent_of_entry(entry);
    auto name = name_of(entry.path);
    switch (entry.kind) {
      case blobs::entry_kind::folder:
        return enter(entry, parent, name);
      case blobs::entry_kind::symlink:
        return place_symlink(entry, parent, name);
      case blobs::entry_kind::hard_link:
        return place_name(entry, parent, name);
      case blobs::entry_kind::file:
        break;
    }
    auto from = files_.take(entry);
    if (from.empty())
      return blobs::error{blobs::errc::damaged, shown(entry.path) + ": its bytes have not come"};
    if (auto set = set_attributes(staged_.get(), from, entry, shown(entry.path)); !set)
      return set;
    ++done_.files;
    done_.bytes += entry.size;
    return put(staged_, from, parent, name, shown(entry.path));
  }

  /// While it is filled, a folder may be written to by its owner, whatever the archive or an earlier one says.
  blobs::result<void> enter(const blobs::tree_entry& entry, int parent, const std::string& name) {
    if (::mkdirat(parent, name.c_str(), 0700) == 0)
      ++done_.folders;
    else if (errno != EEXIST)
      return blobs::system_error(shown(entry.path), "made", errno);
    blobs::descriptor open{::openat(parent, name.c_str(), only_folder)};
    if (!open && (errno == ENOTDIR || errno == ELOOP))
      return in_the_way(entry.path);
    struct stat status {};
    if (!open || ::fstat(open.get(), &status) != 0)
      return blobs::system_error(shown(entry.path), "opened", errno);
    if ((status.st_mode & 0700) != 0700 && ::chmod(through_proc(open).c_str(), (status.st_mode & 07777) | 0700) != 0)
      return blobs::system_error(shown(entry.path), "written to", errno);
    open_.push_back({entry.path, std::move(open)});
    return {};
  }

  blobs::result<void> place_symlink(const blobs::tree_entry& entry, int parent, const std::string& name) {
    auto from = staged_.next_name();
    if (::symlinkat(entry.target.c_str(), staged_.get(), from.c_str()) != 0)
      return blobs::system_error(shown(entry.path), "made", errno);
    if (auto set = set_attributes(staged_.get(), from, entry, shown(entry.path)); !set)
      return set;
    ++done_.links;
    return put(staged_, from, parent, name, shown(entry.path));
  }

  blobs::result<void> place_name(const blobs::tree_entry& entry, int parent, const std::string& name) {
    auto folder = folder_below(top_.get(), std::string{blobs::parent_of(entry.target)});
    auto from = staged_.next_name();
    if (!folder || ::linkat(folder.get(), name_of(entry.target).c_str(), staged_.get(), from.c_str(), 0) != 0)
      return blobs::system_error(shown(entry.path), "made a hard link", errno);
    ++done_.links;
    auto done = put(staged_, from, parent, name, shown(entry.path));
    ::unlinkat(staged_.get(), from.c_str(), 0); // it is still there if the name was one of this file already
    return done;
  }

  blobs::result<void> finish_folder(const blobs::tree_entry& entry) {
    auto open = folder_below(top_.get(), entry.path);
    if (!open)
      return blobs::system_error(shown(entry.path), "opened", errno);
    struct timespec times[2] = {{0, UTIME_OMIT}, {entry.modified.seconds, entry.modified.nanoseconds}};
    auto path = through_proc(open);
    if (::utimensat(AT_FDCWD, path.c_str(), times, 0) != 0 || ::chmod(path.c_str(), entry.mode & 01777) != 0)
      return blobs::system_error("the mode or the time of " + shown(entry.path), "set", errno);
    return {};
  }

  blobs::descriptor top_;
  std::string folder_;
  staging_folder& staged_;
  staged_files& files_;
  std::vector<open_folder> open_; ///< From the outermost to the one that the last entry lies in.
  unpacked done_;
};

struct file_place {
  blobs::descriptor folder;
  std::string name, shown;
};

blobs::result<file_place> place_of(const std::string& path) {
  auto slash = path.rfind('/');
  auto folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  file_place place{blobs::descriptor{::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)}, name_of(path),
                   encoding::printable(path)};
  if (!place.folder)
    return blobs::system_error(encoding::printable(folder), "opened", errno);
  if (place.name.empty() || place.name == "." || place.name == "..")
    return blobs::error{blobs::errc::invalid, place.shown + " is not the name of a file"};
  return place;
}

} // namespace

blobs::result<unpacked>
unpack_tar(blobs::byte_reader& tar, const std::string& folder, const blobs::tree_limits& limits) {
  auto shown = encoding::printable(folder);
  blobs::descriptor top{::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!top)
    return blobs::system_error(shown, "opened", errno);
  auto staged = staging_folder::make_in(top.get(), shown);
  if (!staged)
    return staged.error();
  staged_files files{*staged, shown};
  blobs::untar_options options;
  options.limits = limits;
  auto read = blobs::read_tar(tar, files, options);
  if (!read)
    return read.error();
  return placement{std::move(top), folder, *staged, files}.place(read->entries);
}

blobs::result<void> place_file(blobs::byte_reader& bytes, const blobs::tree_entry& entry, const std::string& path) {
  auto to = place_of(path);
  if (!to)
    return to.error();
  auto staged = staging_folder::make_in(to->folder.get(), to->shown);
  if (!staged)
    return staged.error();
  staged_files files{*staged, to->shown};
  std::vector<char> buffer(64 << 10);
  blobs::hasher sum;
  std::uint64_t size = 0;
  while (true) {
    auto got = bytes.read(buffer);
    if (!got)
      return got.error();
    if (*got == 0)
      break;
    sum.add({buffer.data(), *got});
    size += *got;
    if (auto written = files.write({buffer.data(), *got}); !written)
      return written;
  }
  auto content = sum.finish();
  if (content != entry.content || size != entry.size)
    return blobs::error{blobs::errc::damaged, "what came for " + to->shown + " is not the file: it has another digest"};
  if (auto ended = files.end(content, size); !ended)
    return ended;
  auto from = files.take(entry);
  if (auto set = set_attributes(staged->get(), from, entry, to->shown); !set)
    return set;
  return put(*staged, from, to->folder.get(), to->name, to->shown);
}

blobs::result<void> place_link(const blobs::tree_entry& entry, const std::string& path) {
  auto to = place_of(path);
  if (!to)
    return to.error();
  auto staged = staging_folder::make_in(to->folder.get(), to->shown);
  if (!staged)
    return staged.error();
  auto from = staged->next_name();
  if (::symlinkat(entry.target.c_str(), staged->get(), from.c_str()) != 0)
    return blobs::system_error(to->shown, "made", errno);
  if (auto set = set_attributes(staged->get(), from, entry, to->shown); !set)
    return set;
  return put(*staged, from, to->folder.get(), to->name, to->shown);
}

} // namespace davit
