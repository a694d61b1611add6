// The line on a terminal that tells what a command is at.
#pragma once

#include "encoding/printable.hpp"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <unistd.h>

namespace davit {

/// False: it can't be written, and errno says why; EPIPE: nobody reads it any more.
inline bool write_to(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    auto count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

/// On stderr, if that is a terminal; gone before any output.
class progress_line {
public:
  explicit progress_line(bool on) : on_(on && ::isatty(2)) {}
  ~progress_line() { clear(); }

  bool on() const { return on_; }

  void show(const std::string& text) {
    if (!on_ || text == shown_)
      return;
    write_to(2, "\r\x1b[K\x1b[2m" + encoding::printable(text).substr(0, 200) + "\x1b[0m");
    shown_ = text;
  }

  void clear() {
    if (!shown_.empty())
      write_to(2, "\r\x1b[K");
    shown_.clear();
  }

  void finish() {
    clear();
    on_ = false;
  }

private:
  bool on_;
  std::string shown_;
};

inline std::string mebibytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

} // namespace davit
