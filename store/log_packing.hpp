// Zstandard's seekable format, which `zstd -dc` reads too: blocks of at most 1 MiB, each a frame, and a table of them
// behind. Source: contrib/seekable_format/zstd_seekable_compression_format.md. Pure: no files in here.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace davit::store {

inline constexpr std::size_t block_bytes = 1024 * 1024;

/// Where a frame lies, packed, and what it holds of the plain bytes.
struct packed_frame {
  std::uint64_t begin, size, raw_begin, raw_size;
};

/// Reads up to so many stored bytes at an offset; tells how many.
using stored_reader = std::function<std::int64_t(char*, std::size_t, std::uint64_t)>;

/// The frames of `size` stored bytes; none: their table is damaged.
std::optional<std::vector<packed_frame>> read_seek_table(const stored_reader& stored, std::uint64_t size);

/// What stands behind the frames: of each its size, packed and plain, one after the other.
std::string seek_table(const std::vector<std::uint32_t>& sizes);

/// Packs a block into `packed`, which is made large enough; none: `error` says why.
std::optional<std::size_t> pack_block(std::string_view plain, std::vector<char>& packed, std::string& error);

/// Unpacks a frame into exactly `raw`; false: it is damaged.
bool unpack_block(std::string_view packed, std::vector<char>& raw);

} // namespace davit::store
