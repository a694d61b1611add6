// A tree and its bytes as a tar stream, for the engine's `PUT /containers/ID/archive`.
#pragma once

#include "blobs/stream.hpp"
#include "blobs/tree.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace davit::blobs {

struct tar_options {
  std::uint64_t user = 0, group = 0; ///< Of all entries.
  std::string prefix;                ///< A relative path that is put before all others, without `..`; may be empty.
  bool with_prefix = false;          ///< The folder of that path has an entry of its own before all others: 0755, now.
};

/// Asks for the bytes of each file when it comes to it. Memory: one header, one open file, 64 KiB. The tree and the
/// source live longer than it. Sparse files keep their holes (GNU's format 1.0 in pax headers, which GNU tar,
/// libarchive and Go read; the engine, which is written in Go, writes zeros for the holes).
class tar_writer final : public byte_reader {
public:
  tar_writer(const tree& from, blob_source& bytes, tar_options options = {});

  /// Fills the buffer; less only at the end of the archive. A blob that is not what the tree says is an error.
  result<std::size_t> read(std::span<char> into) override;

private:
  const tree_entry& file_of(const tree_entry& link) const;
  result<void> begin_next();
  result<std::size_t> read_file(std::span<char> into);
  result<void> skip_hole(std::uint64_t count);
  result<void> end_file();

  const tree& tree_;
  blob_source& bytes_;
  tar_options options_;
  std::size_t next_ = 0;
  bool ended_ = false;
  bool prefix_given_ = false;
  std::string ready_; ///< Bytes to be given out: from `given_`.
  std::size_t given_ = 0;
  std::unique_ptr<byte_reader> file_;
  std::vector<hole> data_; ///< What is left to be given of the file, as parts of it.
  std::size_t part_ = 0;
  std::uint64_t at_ = 0; ///< In the file.
  std::vector<char> scratch_;
};

} // namespace davit::blobs
