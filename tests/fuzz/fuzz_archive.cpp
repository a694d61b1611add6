// A tar from a container: whatever it says, nothing comes to be outside of the folder.
#include "encoding/archive.hpp"

#include <cstdlib>
#include <string>
#include <unistd.h>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  namespace fs = std::filesystem;
  static const auto outer = fs::path{"/dev/shm/davit-fuzz-archive-" + std::to_string(::getpid())};
  fs::remove_all(outer);
  fs::create_directories(outer / "in" / "side");
  auto done
    = davit::encoding::unpack({reinterpret_cast<const char*>(data), size}, outer / "in" / "side", {1 << 20, 64, 8});
  if (done && done->bytes > (1 << 20))
    std::abort();
  for (const auto& one : fs::directory_iterator{outer})
    if (one.path().filename() != "in")
      std::abort();
  for (const auto& one : fs::directory_iterator{outer / "in"})
    if (one.path().filename() != "side")
      std::abort();
  fs::remove_all(outer);
  return 0;
}
