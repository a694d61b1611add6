// Randomness of tests: repeatable by its seed.
#pragma once

#include <cstdint>
#include <random>
#include <string>

namespace davit::test {

using randomness = std::mt19937_64;
inline std::uint64_t below(randomness& random, std::uint64_t end) {
  return random() % end;
}
std::string random_bytes(randomness& random, std::size_t size);
/// Of an object.
std::string random_key(randomness& random);

} // namespace davit::test
