// A tar stream from somebody else, such as the engine's `GET /containers/ID/archive`: a tree, and its blobs as they
// come.
#pragma once

#include "blobs/stream.hpp"
#include "blobs/tree.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace davit::blobs {

struct untar_options {
  tree_limits limits;        ///< `set_id` off: set-id bits are taken away, not refused.
  std::uint32_t strip = 0;   ///< So many parts are taken from the front of each path; folders without any are left out.
  std::string above;         ///< The folder that all paths begin with; the limits are those of what is in it.
  bool skip_special = false; ///< Devices, fifos and sockets are left out; else they are an error.
  /// Whether a file or a link is wanted, by its path. The others are read over; folders come into the tree when
  /// something in them does. None: everything is.
  std::function<bool(const std::string& path)> wanted;
};

struct untarred {
  tree entries;
  std::vector<std::string> skipped; ///< Sentences about what was left out: the first 100.
  std::uint64_t skipped_count = 0;
};

/// Reads a plain tar (not a compressed one) of any common format: ustar, pax, GNU; sparse files too, whose holes count
/// as bytes. Nothing is believed: paths that are absolute or have `..`, that are there twice, that lie in something
/// that is not a folder, hard links to what was not there before, and all that is over the limits are `refused`; an
/// archive that ends without its end mark is `damaged`. The owners of entries, their extended
/// attributes and ACLs are not taken over. `./` itself is left out. Each file's bytes go to the sink when they come,
/// once for each file of the archive, also if an error follows: what belongs together is known when this returns.
/// Memory: the tree, 128 KiB, and what libarchive keeps of one header, at most 2 MiB. Blocks.
result<untarred> read_tar(byte_reader& from, blob_sink& to, const untar_options& options = {});

} // namespace davit::blobs
