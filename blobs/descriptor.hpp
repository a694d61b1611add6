// A file descriptor that is closed in any case.
#pragma once

#include <cstdint>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace davit::blobs {

class descriptor {
public:
  descriptor() = default;
  explicit descriptor(int opened) : fd_(opened) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~descriptor() {
    if (fd_ >= 0)
      ::close(fd_);
  }
  explicit operator bool() const { return fd_ >= 0; }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

private:
  int fd_ = -1;
};

/// Opens a path below a folder to read it, following no symbolic link anywhere, and not waiting for the other end of a
/// fifo.
inline descriptor open_below(int folder, const char* path) {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return descriptor{static_cast<int>(::syscall(SYS_openat2, folder, path, &how, sizeof how))};
}

} // namespace davit::blobs
