// A byte_reader as libarchive reads it, with an eye on how much it takes.
#pragma once

#include "blobs/stream.hpp"

#include <archive.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <clocale>
#include <cstring>
#include <optional>
#include <vector>

namespace davit::blobs {

/// While it lives, this thread has the locale "C". libarchive changes names to the locale's character set; in this one
/// it leaves them as the bytes that they are.
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
  la_ssize_t fill(archive* reader, const void** bytes) {
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
  std::vector<char> buffer_;
  std::array<char, 1024> tail_{}; ///< The last bytes of the stream.
  std::uint64_t total_ = 0, allowance_ = 0;
  bool overdrawn_ = false, ended_ = false;
  std::optional<error> failure_;
};

} // namespace davit::blobs
