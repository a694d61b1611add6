#include "messages/regular_file.hpp"

#include "messages/units.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace davit {

namespace {

const char* const is_a_directory = "is a directory, not a file";
const char* const is_not_regular = "is not a regular file";

std::string unreadable() {
  return std::string{"can't be read: "} + std::strerror(errno);
}

} // namespace

std::string wrong_kind(const std::filesystem::path& file) {
  std::error_code ec;
  auto kind = std::filesystem::status(file, ec).type();
  if (ec || kind == std::filesystem::file_type::regular || kind == std::filesystem::file_type::not_found)
    return {};
  return kind == std::filesystem::file_type::directory ? is_a_directory : is_not_regular;
}

regular_file::regular_file(const std::filesystem::path& file, std::uint64_t most)
  : fd_(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)), most_(most) {
  struct stat found {};
  if (fd_ < 0 || ::fstat(fd_, &found) != 0)
    wrong_ = unreadable();
  else if (!S_ISREG(found.st_mode))
    wrong_ = S_ISDIR(found.st_mode) ? is_a_directory : is_not_regular;
  else if (struct statfs system{}; ::fstatfs(fd_, &system) == 0
                                   && (system.f_type == PROC_SUPER_MAGIC || system.f_type == SYSFS_MAGIC
                                       || system.f_type == TRACEFS_MAGIC || system.f_type == DEBUGFS_MAGIC))
    wrong_ = "is not a regular file, but the kernel's"; // it says that it is one, and may never end
  else if (static_cast<std::uint64_t>(found.st_size) > most)
    wrong_ = "is larger than " + to_string(byte_size{most});
}

regular_file::~regular_file() {
  if (fd_ >= 0)
    ::close(fd_);
}

std::string regular_file::name() const {
  return "/proc/self/fd/" + std::to_string(fd_);
}

std::optional<std::string> regular_file::read() {
  std::string text;
  char part[16 * 1024];
  while (wrong_.empty()) {
    auto count = ::pread(fd_, part, sizeof part, static_cast<off_t>(text.size()));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      wrong_ = unreadable();
    else if (count == 0)
      return text;
    else if (text.append(part, static_cast<std::size_t>(count)).size() > most_) // it grows meanwhile
      wrong_ = "is larger than " + to_string(byte_size{most_});
  }
  return std::nullopt;
}

} // namespace davit
