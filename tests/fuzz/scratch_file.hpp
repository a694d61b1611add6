// A file in memory, for what is read from files.
#pragma once

#include <cstdlib>
#include <fcntl.h>
#include <string>
#include <unistd.h>

struct scratch_file {
  std::string name;
  explicit scratch_file(const char* ending) : name("/dev/shm/davit-fuzz-" + std::to_string(::getpid()) + ending) {}
  ~scratch_file() { ::unlink(name.c_str()); }
  void write(const unsigned char* data, std::size_t size) const {
    auto fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ::write(fd, data, size) != static_cast<ssize_t>(size))
      std::abort();
    ::close(fd);
  }
};
