// How bytes flow: the reader asks for them, or a sink is given them. All calls block; an object is used by one thread
// at a time.
#pragma once

#include "blobs/digest.hpp"
#include "blobs/error.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace davit::blobs {

struct tree_entry;

/// Bytes, one piece after another.
class byte_reader {
public:
  virtual ~byte_reader() = default;
  /// Fills some of the buffer, which is not empty. 0: that was all. After an error it is not called again.
  virtual result<std::size_t> read(std::span<char> into) = 0;
};

/// Where the bytes of a tree's files come from.
class blob_source {
public:
  virtual ~blob_source() = default;
  /// The bytes of a file. The reader gives exactly `size` bytes, and these have the digest `content`; if not, it gives
  /// an error in place of the end.
  virtual result<std::unique_ptr<byte_reader>> open(const tree_entry& file) = 0;
};

/// Where blobs go, one after another: pieces, then the end. A blob whose end never comes was not read to its end: it is
/// to be forgotten. An error ends the transfer.
class blob_sink {
public:
  virtual ~blob_sink() = default;
  virtual result<void> write(std::string_view piece) = 0;
  /// So many zeros that take no room where the blob comes from: a part of a sparse file. Writes them, if it is not
  /// overridden.
  virtual result<void> skip(std::uint64_t zeros);
  virtual result<void> end(const digest& content, std::uint64_t size) = 0;
};

} // namespace davit::blobs
