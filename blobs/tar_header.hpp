// The blocks of a tar archive (POSIX.1-2017, pax, "ustar Interchange Format"), as davit writes them.
#pragma once

#include "blobs/tree.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace davit::blobs {

inline constexpr std::size_t tar_block = 512;

struct tar_header {
  std::string path; ///< Of a folder: with a slash at its end.
  char type = '0';  ///< '0' file, '1' hard link, '2' symbolic link, '5' folder.
  std::uint16_t mode = 0;
  std::uint64_t user = 0, group = 0;
  timestamp modified;
  std::uint64_t size = 0; ///< Of what follows the header.
  std::string target;
  bool sparse = false;             ///< What follows is a sparse map, then the data (GNU sparse format 1.0).
  std::uint64_t apparent_size = 0; ///< Of a sparse file.
};

/// The header's blocks. What does not fit the classic header (long names, fractions of seconds, large numbers) goes
/// into a pax header in front of it, and nothing else does.
std::string tar_blocks(const tar_header& header);

/// The map of a sparse file: where its data is. Padded to whole blocks.
std::string sparse_map(const std::vector<hole>& data, std::uint64_t size);

/// What lies between the holes of a file.
std::vector<hole> data_between(const std::vector<hole>& holes, std::uint64_t size);

/// How many zeros follow so many bytes, up to the end of a block.
inline std::size_t tar_padding(std::uint64_t size) {
  return static_cast<std::size_t>((tar_block - size % tar_block) % tar_block);
}

} // namespace davit::blobs
