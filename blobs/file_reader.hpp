// Reading a file that somebody may be writing: what was read is one state of the file, or it is an error.
#pragma once

#include "blobs/descriptor.hpp"
#include "blobs/file_stamp.hpp"
#include "blobs/stream.hpp"

#include <string>
#include <vector>

namespace davit::blobs {

struct read_file {
  file_stamp stamp;
  struct stat status {};
  digest content;
  std::vector<hole> holes;
  timestamp read_at; ///< Before the first byte was read.
};

/// Reads an open regular file from its beginning to its end. `changed` if its inode was not the same before and after.
/// A file that changed within the last tick of the kernel's clock is waited for (20 ms at most), because a write in the
/// same tick could not be seen. Writes through a mapping show only when the kernel notices them: they can go unnoticed.
/// `buffer` is where the bytes come by.
result<read_file> hash_file(int file, const std::string& shown, std::span<char> buffer, std::size_t most_holes);

/// The holes of a sparse file, as the file system says. Not more than so many: what is left over counts as data.
std::vector<hole> find_holes(int file, const struct stat& status, std::size_t most);

/// The bytes of an open file, which must have this size and digest; else the end is `changed`.
std::unique_ptr<byte_reader>
read_checked(descriptor file, std::string shown, std::uint64_t size, const digest& content);

} // namespace davit::blobs
