// A tree in bytes. Equal trees have equal bytes, and every other text is refused, so a tree has one digest.
//
//   "davit tree 1\n" | number of entries (8 bytes) | the entries in their order
//   an entry: kind (1), mode (2), seconds (8), nanoseconds (4), length of the path (4), the path; and
//     a file: size (8), digest (32), number of holes (4), for each hole its offset and length (8 each)
//     a link of either kind: length of the target (4), the target
//
// Integers are little-endian. The digest is that of these bytes; for storage and transport they are compressed.
#pragma once

#include "blobs/tree.hpp"

#include <string>
#include <string_view>

namespace davit::blobs {

/// The tree must be one that `check_tree` takes.
std::string write_manifest(const tree& value);

/// Takes what `write_manifest` writes, and nothing else.
result<tree> read_manifest(std::string_view bytes, const tree_limits& limits = {});

/// The name of a tree: the digest of its manifest.
digest tree_digest(const tree& value);

/// One frame of zstd that says its length.
std::string compress_manifest(std::string_view manifest);

/// `refused` if it would be larger than `limits.manifest_bytes`.
result<std::string> decompress_manifest(std::string_view compressed, const tree_limits& limits = {});

/// For people: one line for each entry, as `ls -l` shows them. Names are harmless on a terminal.
std::string describe(const tree& value);

} // namespace davit::blobs
