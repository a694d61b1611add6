#include "store/private_files.hpp"

#include "store/file.hpp"

#include <algorithm>
#include <cstdio>
#include <pwd.h>
#include <sys/stat.h>

namespace davit::store {

namespace {

constexpr mode_t private_folder_mode = 0700, others = S_IRWXG | S_IRWXO, permissions = 07777;

std::error_code last_error() {
  return {errno, std::generic_category()};
}

std::string name_of(uid_t user) {
  char memory[4096];
  passwd entry{}, *found = nullptr;
  auto number = "uid " + std::to_string(user);
  return ::getpwuid_r(user, &entry, memory, sizeof memory, &found) == 0 && found
         ? std::string{found->pw_name} + " (" + number + ")"
         : number;
}

void sort_in(const std::filesystem::path& path, const struct stat& info, uid_t owner, open_paths& found) {
  owned_path one{path, info.st_mode & permissions, info.st_uid};
  auto open = (info.st_mode & others) != 0;
  if (info.st_uid == owner) {
    if (open)
      found.open.push_back(std::move(one));
  } else if (info.st_uid != 0) {
    found.foreign.push_back(std::move(one));
  } else if (open) {
    found.roots.push_back(std::move(one));
  }
}

void search(const std::filesystem::path& folder, uid_t owner, open_paths& found) {
  std::error_code ec;
  for (std::filesystem::directory_iterator at{folder, ec}, end; !ec && at != end; at.increment(ec)) {
    struct stat info {};
    const auto& path = at->path();
    if (::lstat(path.c_str(), &info) != 0) // it has gone meanwhile
      continue;
    auto is_folder = S_ISDIR(info.st_mode);
    if ((!is_folder && !S_ISREG(info.st_mode)) || path.filename() == "lost+found")
      continue;
    if (is_folder && (info.st_mode & others) != 0)
      search(path, owner, found);
    sort_in(path, info, owner, found);
  }
}

} // namespace

std::error_code make_private_folder(const std::filesystem::path& folder) {
  if (::mkdir(folder.c_str(), private_folder_mode) == 0)
    return {};
  auto why = last_error();
  if (why == std::errc::no_such_file_or_directory && folder.has_parent_path() && folder.parent_path() != folder) {
    if (auto above = make_private_folder(folder.parent_path()))
      return above;
    if (::mkdir(folder.c_str(), private_folder_mode) == 0)
      return {};
    why = last_error();
  }
  std::error_code ec;
  return std::filesystem::is_directory(folder, ec) ? std::error_code{} : why;
}

void make_private_file(const std::filesystem::path& file) {
  store::file made{::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, private_file_mode)};
}

std::error_code replace_private_file(const std::filesystem::path& file, std::string_view text) {
  if (auto ec = make_private_folder(file.parent_path()))
    return ec;
  auto fresh = file.string() + ".new";
  {
    store::file out{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, private_file_mode)};
    if (!out || !write_all(out.fd, text.data(), text.size()))
      return last_error();
  }
  return ::rename(fresh.c_str(), file.c_str()) == 0 ? std::error_code{} : last_error();
}

bool lies_in(const std::filesystem::path& file, const std::filesystem::path& folder) {
  auto inner = file.lexically_normal(), outer = (folder / "").lexically_normal().parent_path();
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

open_paths find_open_paths(const std::filesystem::path& folder, uid_t owner) {
  open_paths found;
  search(folder, owner, found);
  struct stat info {};
  if (::stat(folder.c_str(), &info) == 0)
    sort_in(folder, info, owner, found);
  return found;
}

std::string close_to_others(const std::filesystem::path& folder, std::vector<std::string>& remarks) {
  auto close = [](const owned_path& one, int links) -> std::string {
    auto mode = one.mode & ~others;
    if (::fchmodat(AT_FDCWD, one.path.c_str(), mode, links) == 0 || errno == ENOENT)
      return {};
    return one.path.string() + " is open to other users (mode " + mode_text(one.mode)
         + "), and that can't be changed: " + std::strerror(errno);
  };
  // The folder first: then nobody else can put a link in the place of what is changed next.
  struct stat info {};
  if (::stat(folder.c_str(), &info) == 0 && info.st_uid == ::geteuid() && (info.st_mode & others) != 0)
    if (auto wrong = close({folder, info.st_mode & permissions, info.st_uid}, 0); !wrong.empty())
      return wrong;
  auto found = find_open_paths(folder, ::geteuid());
  if (!found.foreign.empty()) {
    const auto& one = found.foreign.front();
    return one.path.string() + " belongs to " + name_of(one.owner) + ", but the agent runs as " + name_of(::geteuid())
         + "; run the agent as that user, or run: chown -R --no-dereference " + std::to_string(::geteuid()) + ' '
         + folder.string();
  }
  for (const auto& one : found.open)
    if (auto wrong = close(one, AT_SYMLINK_NOFOLLOW); !wrong.empty())
      return wrong;
  for (const auto& one : found.roots)
    remarks.push_back(one.path.string() + " belongs to root and is open to other users (mode " + mode_text(one.mode)
                      + "); give it to " + name_of(::geteuid())
                      + " with chown, or run: chmod go= " + one.path.string());
  return {};
}

std::string mode_text(mode_t mode) {
  char text[8];
  std::snprintf(text, sizeof text, "%04o", mode & permissions);
  return text;
}

} // namespace davit::store
