// The line on a terminal that tells what a command is at.
#pragma once

#include "encoding/printable.hpp"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <iterator>
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

/// For people: `12 B`, `3.4 kB`, `5.6 MB`.
inline std::string size_text(std::uint64_t bytes) {
  static constexpr const char* units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 999.95 && unit + 1 < std::size(units)) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

inline std::string files_text(std::uint64_t files, std::uint64_t bytes) {
  return std::to_string(files) + (files == 1 ? " file, " : " files, ") + size_text(bytes);
}

inline std::string mebibytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

} // namespace davit
