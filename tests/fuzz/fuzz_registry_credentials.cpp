// A docker config.json, which may be a task's own; and image names, for the registry in them.
#include "transport/registry_credentials.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::string_view text{reinterpret_cast<const char*>(data), size};
  (void)davit::transport::registry_credentials::parse(text, "fuzz");
  (void)davit::transport::registry_credentials::registry_of(text);
  return 0;
}
