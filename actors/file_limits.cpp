#include "actors/file_limits.hpp"

#include <algorithm>
#include <utility>

namespace davit {

blobs::tree_limits limits_for(const file_settings& settings, std::uint64_t bytes, std::string option) {
  blobs::tree_limits limits;
  limits.entries = settings.most_files;
  limits.manifest_bytes = 16 << 20;
  limits.bytes = limits.file_bytes = bytes;
  limits.bytes_option = std::move(option);
  limits.entries_option = "blobs.count";
  return limits;
}

blobs::tree_limits limits_for(const file_settings& settings, byte_size most, store::blob_purpose purpose) {
  auto of_agent = settings.most_output;
  std::string option = "blobs.output-size";
  if (purpose == store::blob_purpose::cache) {
    of_agent = std::min(settings.most_input, settings.most_caches);
    option = settings.most_caches < settings.most_input ? "blobs.caches" : "blobs.input-size";
  }
  return limits_for(settings, most.bytes, most < of_agent ? "max" : option);
}

} // namespace davit
