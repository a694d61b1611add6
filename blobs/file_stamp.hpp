// What a file's inode says, as far as it tells whether the file is as it was.
#pragma once

#include "blobs/tree.hpp"

#include <sys/stat.h>

namespace davit::blobs {

struct file_stamp {
  std::uint64_t device = 0, inode = 0, size = 0;
  timestamp modified, changed;
  bool operator==(const file_stamp&) const = default;
};

inline timestamp time_of(const struct timespec& time) {
  return {time.tv_sec, static_cast<std::uint32_t>(time.tv_nsec)};
}

inline file_stamp stamp_of(const struct stat& status) {
  return {status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size), time_of(status.st_mtim),
          time_of(status.st_ctim)};
}

/// Nanoseconds for which a file that has just changed may change again and keep its times: the kernel's clock for files
/// steps each few milliseconds; file systems without fractions step each second or two.
inline std::int64_t uncertainty(const timestamp& changed) {
  return changed.nanoseconds % 1'000'000 == 0 ? 2'000'000'000 : 20'000'000;
}

/// From `before` to `after`. Times that are centuries apart are 292 years apart.
std::int64_t nanoseconds_between(const timestamp& before, const timestamp& after);

} // namespace davit::blobs
