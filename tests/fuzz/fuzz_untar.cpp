// A tar stream from an engine: a valid tree whose blobs were all handed over, or an error, within the limits.
#include "blobs/manifest.hpp"
#include "blobs/tar_reader.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>

using namespace davit::blobs;

namespace {

struct reader final : byte_reader {
  std::string_view bytes;
  result<std::size_t> read(std::span<char> into) override {
    auto count = std::min({into.size(), bytes.size(), std::size_t{4096}});
    std::memcpy(into.data(), bytes.data(), count);
    bytes.remove_prefix(count);
    return count;
  }
};

struct sink final : blob_sink {
  std::set<digest> blobs;
  std::uint64_t sum = 0, size = 0;
  result<void> write(std::string_view piece) override {
    sum += piece.size();
    size += piece.size();
    return {};
  }
  result<void> end(const digest& content, std::uint64_t expected) override {
    if (size != expected)
      std::abort();
    size = 0;
    blobs.insert(content);
    return {};
  }
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  reader from;
  from.bytes = {reinterpret_cast<const char*>(data), size};
  sink to;
  untar_options options;
  options.limits.bytes = 1 << 20;
  options.limits.entries = 64;
  options.limits.depth = 8;
  options.strip = size % 2;
  options.skip_special = size % 3 == 0;
  auto done = read_tar(from, to, options);
  if (to.sum > options.limits.bytes)
    std::abort();
  if (!done)
    return 0;
  if (!check_tree(done->entries, options.limits) || total_bytes(done->entries) > options.limits.bytes)
    std::abort();
  for (const auto& one : done->entries.entries)
    if (one.kind == entry_kind::file && !to.blobs.contains(one.content))
      std::abort();
  return 0;
}
