// An attempt against a world that fails at random: it ends once, with what really happened.
#include "attempt_simulation.hpp"

#include <cstdlib>

using namespace davit;
using namespace davit::test;

namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  auto* text = std::getenv(variable);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

} // namespace

TEST_CASE("an attempt ends once and truly, whatever fails on its way", "[attempt]") {
  auto seed = number_from("DAVIT_SEED", 1);
  auto count = number_from("DAVIT_ATTEMPTS", 3000);
  for (auto i = seed; i < seed + count; ++i) {
    simulation one{i};
    auto ended = one.go();
    INFO("DAVIT_SEED=" << i << " DAVIT_ATTEMPTS=1\n" << one.story());
    REQUIRE(ended);
    one.check();
  }
}
