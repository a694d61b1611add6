// A folder of this machine as a tree.
#pragma once

#include "blobs/descriptor.hpp"
#include "blobs/digest_cache.hpp"
#include "blobs/ignore.hpp"
#include "blobs/stream.hpp"
#include "blobs/tree.hpp"

#include <string>
#include <vector>

namespace davit::blobs {

struct scan_options {
  tree_limits limits; ///< `set_id` off: set-id bits are taken away, not refused.
  const ignore_patterns* ignored = nullptr;
  digest_cache* cache = nullptr;
  bool skip_special = false; ///< Devices, fifos and sockets are left out; else they are an error.
  unsigned attempts = 3;     ///< How often a file is read that changes meanwhile.
};

struct scanned {
  tree entries;
  std::vector<std::string> skipped; ///< Sentences about what was left out: the first 100.
  std::uint64_t skipped_count = 0;
  std::uint64_t read_files = 0, read_bytes = 0; ///< What the cache did not know.
};

/// Walks a folder. It follows no symbolic link below it. Names that vanish meanwhile count as not there; a file that
/// changes at each attempt is an error. Of a file with several names in the folder, the first is the file, the others
/// are hard links; symbolic links and folders have one name each. Memory: the tree, and 256 KiB. Blocks.
result<scanned> scan_folder(const std::string& folder, const scan_options& options = {});

/// The bytes of the files of a tree that was scanned from this folder. One thread at a time.
class folder_source final : public blob_source {
public:
  static result<folder_source> open_folder(const std::string& folder);
  result<std::unique_ptr<byte_reader>> open(const tree_entry& file) override;

private:
  folder_source(std::string folder, int top) : folder_(std::move(folder)), top_(top) {}
  std::string folder_;
  descriptor top_;
};

} // namespace davit::blobs
