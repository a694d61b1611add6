// A configuration file: CAF's parser, davit's options, and where each stands.
#include "configuration/configuration.hpp"

#include "scratch_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size > 4096)
    return 0;
  scratch_file file{".conf"};
  file.write(data, size);
  auto read = davit::read_configuration(file.name, {});
  for (const auto& one : read.mistakes)
    if (one.text().empty())
      std::abort();
  return 0;
}
