// The manifest of a tree, as somebody sends it: what is taken has these bytes and no others.
#include "blobs/manifest.hpp"

#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace davit::blobs;
  std::string_view bytes{reinterpret_cast<const char*>(data), size};
  tree_limits limits;
  limits.manifest_bytes = 1 << 20;
  for (auto links_out : {false, true}) {
    limits.links_out = limits.set_id = links_out;
    if (auto read = read_manifest(bytes, limits))
      if (write_manifest(*read) != bytes || !check_tree(*read, limits))
        std::abort();
  }
  if (auto manifest = decompress_manifest(bytes, limits); manifest && manifest->size() > limits.manifest_bytes)
    std::abort();
  return 0;
}
