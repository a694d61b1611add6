// Tar archives that somebody else has made: read with libarchive, unpacked so that nothing leaves the folder.
#pragma once

#include <boost/assert/source_location.hpp>
#include <boost/system/result.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace davit::encoding {

/// Why an archive can't be unpacked: a sentence for people.
struct archive_error {
  std::string message;
};

template <class T>
using archive_result = boost::system::result<T, archive_error>;

[[noreturn]] inline void throw_exception_from_error(const archive_error& e, const boost::source_location&) {
  throw std::runtime_error(e.message);
}

struct archive_limits {
  std::uint64_t bytes = 1ull << 30; ///< Of all files together, unpacked.
  std::uint64_t entries = 100'000;
  std::uint32_t depth = 64; ///< Of folders.
};

struct archive_summary {
  std::uint64_t files = 0, folders = 0, links = 0, bytes = 0;
};

/// Unpacks a plain tar (what the engine sends; nothing compressed) below `folder`, which must be there. An entry with
/// an absolute path, with `..`, through a symbolic link, a link that leads out of the folder, a device, a fifo or a
/// socket is an error that names it; files that are there are not overwritten. Ownership and set-id bits are not taken
/// over. What was unpacked before the error stays.
archive_result<archive_summary>
unpack(std::string_view tar, const std::filesystem::path& folder, const archive_limits& limits = {});

/// A file to be packed.
struct archive_file {
  std::string path; ///< Relative.
  unsigned mode = 0644;
  std::string bytes;
};

/// The file that a plain tar holds; none if it holds anything else too, or something that is no regular file.
std::optional<archive_file> only_file(std::string_view tar);

/// What a plain tar's first entry is, if it is a folder.
struct archive_folder {
  std::uint32_t mode = 0; ///< 12 bits.
  std::uint64_t user = 0, group = 0;
  std::int64_t modified = 0; ///< Seconds since 1970.
};

/// None if the first entry is something else, or there is none. A part of the tar will do, if that has the entry.
std::optional<archive_folder> first_folder(std::string_view tar);

/// A plain tar of some files that belong to root.
std::string pack(const std::vector<archive_file>& files);

} // namespace davit::encoding
