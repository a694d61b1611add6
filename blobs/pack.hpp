// Many blobs in one object, with an index behind them: a catalogue that was lost can be made again from the objects.
//
//   "davitpk1" | the bytes of the blobs, one behind the other | an entry for each blob: its digest (32 bytes), offset
//   and size (8 bytes each) | offset of the index (8), number of blobs (8), digest of the index (32), "davitpx1"
//
// Integers are little-endian. Each blob is checked by its digest, the index by its own.
#pragma once

#include "blobs/medium.hpp"
#include "blobs/stream.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace davit::blobs {

struct pack_entry {
  digest content;
  std::uint64_t offset = 0; ///< In the object.
  std::uint64_t size = 0;
  auto operator<=>(const pack_entry&) const = default;
};

struct pack_limits {
  std::uint64_t blobs = 65'536; ///< In one pack: 3 MiB of index.
};

/// Writes a pack. Its memory is a buffer of 256 KiB and the index. One thread at a time.
class pack_writer final {
public:
  explicit pack_writer(std::unique_ptr<object_writer> to, const pack_limits& limits = {});

  /// Appends to the blob that is being written.
  result<void> write(std::string_view piece);
  /// Ends the blob (an empty one, if nothing was written since the last), and says what it was and where it lies.
  result<pack_entry> end_blob();
  /// A whole blob.
  result<pack_entry> add(std::string_view blob);
  /// Writes the index, and commits the object.
  result<void> commit();

  std::uint64_t size() const { return offset_; } ///< Bytes so far, without the index.
  const std::vector<pack_entry>& entries() const { return entries_; }

private:
  result<void> append(std::string_view bytes);
  result<void> flush();

  std::unique_ptr<object_writer> to_;
  pack_limits limits_;
  std::string buffer_;
  std::vector<pack_entry> entries_;
  hasher hasher_;
  std::uint64_t begin_ = 0, offset_ = 0;
};

/// The index of a pack: entries in the order of their blobs, which lie side by side without gaps.
result<std::vector<pack_entry>> read_pack_index(object_reader& from, const pack_limits& limits = {});

/// The bytes of one blob of a pack. Its end is `damaged` unless the bytes have the digest.
std::unique_ptr<byte_reader> read_packed(std::shared_ptr<object_reader> from, const pack_entry& entry);

} // namespace davit::blobs
