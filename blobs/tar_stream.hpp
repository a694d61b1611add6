// A byte_reader as libarchive reads it, with an eye on how much it takes.
#pragma once

#include "blobs/stream.hpp"
#include "blobs/tar_header.hpp"

#include <archive.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <clocale>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace davit::blobs {

/// While it lives, this thread has the locale "C", whatever the process has. libarchive changes names to the locale's
/// character set. In this one it can't, says so, and gives the bytes; in a UTF-8 locale it changes bytes that are not
/// valid, and says nothing.
class plain_locale {
public:
  plain_locale() : plain_(::newlocale(LC_ALL_MASK, "C", nullptr)), before_(::uselocale(plain_)) {}
  ~plain_locale() {
    ::uselocale(before_);
    ::freelocale(plain_);
  }
  plain_locale(const plain_locale&) = delete;
  plain_locale& operator=(const plain_locale&) = delete;

private:
  locale_t plain_, before_;
};

class tar_stream {
public:
  explicit tar_stream(byte_reader& from) : from_(from), buffer_(64 << 10) {}

  /// From now on libarchive may take so many bytes more.
  void allow(std::uint64_t bytes) { allowance_ = bytes; }
  bool overdrawn() const { return overdrawn_; }
  const std::optional<error>& failure() const { return failure_; }
  /// Whether the stream has not ended, or ended with two blocks of zeros.
  bool has_end_mark() const {
    return !ended_
        || (total_ >= tail_.size() && std::all_of(tail_.begin(), tail_.end(), [](char c) { return c == 0; }));
  }

  static la_ssize_t read(archive* reader, void* self, const void** bytes) {
    return static_cast<tar_stream*>(self)->fill(reader, bytes);
  }

private:
  // An entry in front of the stream, which whoever reads the archive drops: libarchive 3.6 loses the target of the
  // first symbolic link if no entry before it had one, and its target stands in a pax header and is not ASCII.
  static std::string first_entry() {
    tar_header link;
    link.path = link.target = "first";
    link.type = '2';
    return tar_blocks(link);
  }

  la_ssize_t fill(archive* reader, const void** bytes) {
    if (!std::exchange(begun_, true)) {
      *bytes = first_.data();
      return static_cast<la_ssize_t>(first_.size());
    }
    if (allowance_ == 0) {
      overdrawn_ = true;
      archive_set_error(reader, EFBIG, "a header is too large");
      return ARCHIVE_FATAL;
    }
    auto got = from_.read(buffer_);
    if (!got) {
      failure_ = got.error();
      archive_set_error(reader, EIO, "the stream failed");
      return ARCHIVE_FATAL;
    }
    ended_ = *got == 0;
    total_ += *got;
    allowance_ -= std::min<std::uint64_t>(allowance_, *got);
    auto kept = std::min(*got, tail_.size());
    std::copy(tail_.begin() + static_cast<std::ptrdiff_t>(kept), tail_.end(), tail_.begin());
    std::memcpy(tail_.data() + tail_.size() - kept, buffer_.data() + *got - kept, kept);
    *bytes = buffer_.data();
    return static_cast<la_ssize_t>(*got);
  }

  byte_reader& from_;
  std::string first_ = first_entry();
  bool begun_ = false;
  std::vector<char> buffer_;
  std::array<char, 1024> tail_{}; ///< The last bytes of the stream.
  std::uint64_t total_ = 0, allowance_ = 0;
  bool overdrawn_ = false, ended_ = false;
  std::optional<error> failure_;
};

} // namespace davit::blobs
