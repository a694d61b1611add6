#include "cli/staging.hpp"

#include "blobs/folder_names.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <sys/stat.h>
#include <unistd.h>

namespace davit {

blobs::result<staging_folder> staging_folder::make_in(int folder, const std::string& shown) {
  blobs::descriptor parent{::openat(folder, ".", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  auto through = "/proc/self/fd/" + std::to_string(parent.get()) + "/";
  auto path = through + ".davit-XXXXXX";
  if (!parent || !::mkdtemp(path.data()))
    return blobs::system_error("a file in " + shown, "written", errno);
  auto name = path.substr(through.size());
  blobs::descriptor open{::openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)};
  if (!open)
    return blobs::system_error("a file in " + shown, "written", errno);
  return staging_folder{std::move(parent), std::move(open), std::move(name)};
}

staging_folder::~staging_folder() {
  if (!open_)
    return;
  if (auto names = blobs::names_in(open_.get(), name_))
    for (const auto& one : *names)
      ::unlinkat(open_.get(), one.c_str(), 0);
  ::unlinkat(parent_.get(), name_.c_str(), AT_REMOVEDIR);
}

blobs::result<void> staged_files::begin() {
  if (file_)
    return {};
  open_ = {in_.next_name(), {}};
  at_ = 0;
  file_ = blobs::descriptor{
    ::openat(in_.get(), open_.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
  return file_ ? blobs::result<void>{} : blobs::system_error("a file in " + shown_, "written", errno);
}

blobs::result<void> staged_files::write(std::string_view piece) {
  if (auto begun = begin(); !begun)
    return begun;
  while (!piece.empty()) {
    auto count = ::pwrite(file_.get(), piece.data(), piece.size(), static_cast<off_t>(at_));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return blobs::system_error("a file in " + shown_, "written", errno);
    piece.remove_prefix(static_cast<std::size_t>(count));
    at_ += static_cast<std::uint64_t>(count);
  }
  return {};
}

blobs::result<void> staged_files::skip(std::uint64_t zeros) {
  if (auto begun = begin(); !begun)
    return begun;
  if (!open_.holes.empty() && open_.holes.back().offset + open_.holes.back().length == at_)
    open_.holes.back().length += zeros;
  else
    open_.holes.push_back({at_, zeros});
  at_ += zeros;
  return {};
}

blobs::result<void> staged_files::end(const blobs::digest& content, std::uint64_t size) {
  if (auto begun = begin(); !begun)
    return begun;
  if (!open_.holes.empty() && ::ftruncate(file_.get(), static_cast<off_t>(size)) != 0)
    return blobs::system_error("a file in " + shown_, "written", errno);
  file_ = {};
  files_.emplace(content, std::move(open_));
  return {};
}

std::string staged_files::take(const blobs::tree_entry& entry) {
  auto [from, until] = files_.equal_range(entry.content);
  auto same = std::find_if(from, until, [&](const auto& one) { return one.second.holes == entry.holes; });
  if (same == until)
    same = from;
  if (same == until)
    return {};
  auto name = std::move(same->second.name);
  files_.erase(same);
  return name;
}

blobs::result<void>
set_attributes(int folder, const std::string& name, const blobs::tree_entry& entry, const std::string& shown) {
  if (entry.kind != blobs::entry_kind::symlink && ::fchmodat(folder, name.c_str(), entry.mode & 01777, 0) != 0)
    return blobs::system_error("the mode of " + shown, "set", errno);
  struct timespec times[2] = {{0, UTIME_OMIT}, {entry.modified.seconds, entry.modified.nanoseconds}};
  if (::utimensat(folder, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
    return blobs::system_error("the time of " + shown, "set", errno);
  return {};
}

} // namespace davit
