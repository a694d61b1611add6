// Many blobs in one stream of bytes, for uploads: for each its digest (32 bytes), its size (8 bytes, little-endian),
// its bytes; and nothing else.
#pragma once

#include "blobs/stream.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace davit::blobs {

/// Takes the stream apart, in pieces of any size. Each blob must have the digest that it is said to have. One thread at
/// a time.
class frame_reader {
public:
  /// `damaged`: a blob is not what it is said to be. After an error it is not used again.
  result<void> feed(std::string_view piece, blob_sink& to);
  /// Whether the last blob is whole.
  bool whole() const { return header_ == 0 && left_ == 0; }
  std::uint64_t blobs() const { return blobs_; }
  std::uint64_t bytes() const { return bytes_; } ///< Of the blobs that have ended.

private:
  result<void> end_blob(blob_sink& to);

  static constexpr std::size_t header_bytes = 32 + 8;
  std::array<char, header_bytes> buffer_{};
  std::size_t header_ = 0; ///< Bytes of the next header that have come. All of them: its blob is being read.
  std::uint64_t left_ = 0, size_ = 0, blobs_ = 0, bytes_ = 0;
  digest expected_;
  hasher hasher_;
};

/// What stands before the bytes of a blob.
std::string frame_header(const digest& content, std::uint64_t size);

} // namespace davit::blobs
