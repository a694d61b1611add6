// Archives from an agent into a folder of this machine. What is in them is a task's: nothing is believed.
#pragma once

#include "blobs/stream.hpp"
#include "blobs/tree.hpp"

#include <cstdint>
#include <functional>
#include <string>

namespace davit {

struct unpacked {
  std::uint64_t files = 0, folders = 0, links = 0, bytes = 0;
};

/// Unpacks a plain tar into a folder, which must be there. All of it is read and checked (`blobs::read_tar`) before
/// the first name appears: of an archive that is refused, damaged or cut off, nothing is left. Then each file is
/// renamed to its place, whole. Nothing is written outside of the folder: a symbolic link below it is never followed,
/// whether it came with the archive or was there before; it is replaced if the archive has a file by its name, and an
/// error if it has a folder by its name. Folders that are there get what is in the archive too. Modes, times, links,
/// empty folders and the holes of sparse files are as the archive has them; owners are not taken over, nor are set-id
/// bits. Blocks.
blobs::result<unpacked>
unpack_tar(blobs::byte_reader& tar, const std::string& folder, const blobs::tree_limits& limits = {});

/// Writes one file under this path, whose folder must be there. What has the name already is replaced at once, when all
/// bytes have come and have the entry's size and digest, unless it is a folder. Blocks.
blobs::result<void> place_file(blobs::byte_reader& bytes, const blobs::tree_entry& entry, const std::string& path);

/// Makes a symbolic link under this path, whose folder must be there; replaces what has the name, unless it is a
/// folder.
blobs::result<void> place_link(const blobs::tree_entry& entry, const std::string& path);

} // namespace davit
