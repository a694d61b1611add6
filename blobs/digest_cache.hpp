// Digests of files that were read before, known again by their inodes: an unchanged folder is scanned without reading
// it.
#pragma once

#include "blobs/file_stamp.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace davit::blobs {

/// One thread at a time. The caller chooses where it is kept: best one file for each folder that is scanned.
class digest_cache {
public:
  /// The digest of a file with exactly this stamp.
  std::optional<digest> find(const file_stamp& stamp);
  /// Remembers a digest. `read_at` is a time before the first byte was read. A file that changed just before it is not
  /// remembered: it may have changed once more within the same tick of the clock (what git calls "racily clean").
  void add(const file_stamp& stamp, const digest& content, const timestamp& read_at);

  /// What was found or added since it was loaded: files that are gone are forgotten.
  std::string write() const;
  /// Anything but what `write` wrote is an empty cache: it is a cache.
  static digest_cache read(std::string_view bytes);

  static digest_cache load(const std::string& file);
  /// Replaces the file, with mode 0600.
  result<void> save(const std::string& file) const;

  std::size_t size() const { return used_.size(); }

private:
  struct key {
    std::uint64_t device = 0, inode = 0;
    bool operator==(const key&) const = default;
  };
  struct key_hash {
    std::size_t operator()(const key& one) const noexcept {
      return static_cast<std::size_t>((one.inode ^ one.device << 40) * 0x9e3779b97f4a7c15ull);
    }
  };
  struct known {
    file_stamp stamp;
    digest content;
  };
  std::unordered_map<key, known, key_hash> loaded_, used_;
};

} // namespace davit::blobs
