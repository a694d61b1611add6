#include "blobs/random_bytes.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace davit::test {

std::string random_bytes(randomness& random, std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; i += 8) {
    auto word = random();
    std::memcpy(bytes.data() + i, &word, std::min<std::size_t>(8, size - i));
  }
  return bytes;
}

std::string random_key(randomness& random) {
  char text[40];
  std::snprintf(text, sizeof text, "0193%04x-%04x-7%03x-8%03x-%012llx", static_cast<unsigned>(below(random, 0x10000)),
                static_cast<unsigned>(below(random, 0x10000)), static_cast<unsigned>(below(random, 0x1000)),
                static_cast<unsigned>(below(random, 0x1000)),
                static_cast<unsigned long long>(below(random, 1ull << 48)));
  return text;
}

} // namespace davit::test
