// Files as the store's logs need them: descriptors that close themselves, and whole reads and writes.
#pragma once

#include "store/attempt_log.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace davit::store {

struct file {
  int fd = -1;
  file() = default;
  explicit file(int opened) : fd(opened) {}
  file(file&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  file& operator=(file&& other) noexcept {
    std::swap(fd, other.fd);
    return *this;
  }
  ~file() {
    if (fd >= 0)
      ::close(fd);
  }
  explicit operator bool() const { return fd >= 0; }
};

inline log_error system_error(const std::filesystem::path& path, const char* what) {
  return {log_errc::unwritable, path.string() + ": " + what + ": " + std::strerror(errno)};
}

/// Reads up to `size` bytes at `offset`; fewer at the file's end; -1 on an error.
inline ssize_t read_at(int fd, char* into, std::size_t size, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < size) {
    auto count = ::pread(fd, into + done, size - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return -1;
    if (count == 0)
      break;
    done += static_cast<std::size_t>(count);
  }
  return static_cast<ssize_t>(done);
}

inline bool write_all(int fd, const char* from, std::size_t size) {
  while (size != 0) {
    auto count = ::write(fd, from, size);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return false;
    from += count;
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

} // namespace davit::store
