// Blobs one behind the other, as an agent takes them: the digest (32 bytes), the size (8 bytes, little-endian), the
// bytes.
#pragma once

#include "blobs/stream.hpp"
#include "blobs/tree.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace davit {

struct wanted_blob {
  blobs::digest content;
  std::uint64_t size = 0;
  const blobs::tree_entry* file = nullptr; ///< None: it is the manifest.
};

inline constexpr std::uint64_t frame_head = 32 + 8;

/// The bytes of the frames, from any of them. Memory: the file that is open.
class frame_stream final : public blobs::byte_reader {
public:
  /// All three live longer than it.
  frame_stream(std::span<const wanted_blob> blobs, blobs::blob_source& files, std::string_view manifest)
    : blobs_(blobs), files_(files), manifest_(manifest) {}

  std::uint64_t size() const;
  std::uint64_t at() const { return at_; }
  /// Goes on from there, at most the size. A file that it lies in is read from its beginning, to know it again.
  blobs::result<void> seek(std::uint64_t offset);
  blobs::result<std::size_t> read(std::span<char> into) override;
  /// The next bytes, so many if there are any.
  blobs::result<std::string> take(std::size_t most);

private:
  blobs::result<std::size_t> read_content(std::span<char> into);
  blobs::result<void> open_file();
  std::string head() const;

  std::span<const wanted_blob> blobs_;
  blobs::blob_source& files_;
  std::string_view manifest_;
  std::size_t next_ = 0;       ///< The frame that it is in.
  std::uint64_t in_frame_ = 0; ///< Where.
  std::uint64_t at_ = 0;       ///< In all.
  std::unique_ptr<blobs::byte_reader> file_;
};

} // namespace davit
