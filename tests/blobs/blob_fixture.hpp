// Folders, trees and blobs for tests.
#pragma once

#include "blobs/medium_promises.hpp"
#include "blobs/random_bytes.hpp"
#include "blobs/stream.hpp"
#include "blobs/tree.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace davit::test {

/// A folder that is gone with the object.
class scratch {
public:
  scratch();
  ~scratch();
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + '/' + name; }

private:
  std::string path_;
};

std::string read_all(const std::string& file);
void write_all(const std::string& file, std::string_view bytes);
/// Runs a shell command; what it printed. Throws if it fails.
std::string shell(const std::string& command);
std::size_t open_descriptors();
/// Runs it in a child; the exit code, or 128 + n if signal n ended it. The test may have no other thread: one that
/// holds the allocator's lock at the fork holds it in the child for ever.
int in_child(const std::function<int()>& what);

/// Blobs in memory. Refuses ends that do not fit what was written.
struct memory_blobs final : blobs::blob_sink, blobs::blob_source {
  std::map<blobs::digest, std::string> blobs;
  std::string open_blob;
  std::uint64_t fail_after = ~0ull; ///< So many bytes, writing fails.

  blobs::result<void> write(std::string_view piece) override;
  blobs::result<void> end(const blobs::digest& content, std::uint64_t size) override;
  blobs::result<std::unique_ptr<blobs::byte_reader>> open(const blobs::tree_entry& file) override;
};

struct memory_reader final : blobs::byte_reader {
  std::string bytes;
  std::size_t at = 0, piece = ~std::size_t{0};
  explicit memory_reader(std::string all, std::size_t most = ~std::size_t{0}) : bytes(std::move(all)), piece(most) {}
  blobs::result<std::size_t> read(std::span<char> into) override;
};

/// All bytes of a reader, asked for in pieces of random sizes. Throws on an error.
std::string drain(blobs::byte_reader& from, std::size_t piece = 100'000);

/// Fills a folder by a seed: odd names, modes and times, hard and symbolic links, sparse and empty files, deep folders.
void make_random_folder(const std::string& folder, std::uint64_t seed, std::size_t entries = 60);
/// What find(1) and sha256sum(1) say about a folder.
std::string facts_of(const std::string& folder);

} // namespace davit::test
