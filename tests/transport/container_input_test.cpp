// Whether a container's end came before its line's, by two clocks.
#include "transport/container_input.hpp"

#include <catch2/catch_test_macros.hpp>

#include <random>

using namespace davit;
using namespace davit::transport;
using namespace std::chrono_literals;

TEST_CASE("what happened before on an engine's clock did so on ours, as exactly as the engine was asked", "[input]") {
  std::mt19937_64 random{11};
  auto some = [&](std::int64_t most) { return std::chrono::milliseconds{random() % static_cast<std::uint64_t>(most)}; };
  for (int i = 0; i < 10'000; ++i) {
    auto skew = random() % 2 == 0 ? 0ms : some(200'000) - 100'000ms; // of the engine's clock
    auto line_ended = timestamp{} + 1000h;
    auto distance = some(400) - 200ms;
    auto asked = line_ended + some(50), told = asked + some(50), answered = told + some(50);
    clock_reading clocks{asked, answered, told + skew};
    auto happened = line_ended + distance + skew;
    INFO("skew " << skew.count() << " distance " << distance.count() << " asked for " << (answered - asked) / 1ms);
    if (skew == 0ms)
      CHECK(happened_before(happened, line_ended, clocks) == (distance <= 0ms));
    else if (distance <= asked - answered || distance > answered - asked)
      CHECK(happened_before(happened, line_ended, clocks) == (distance <= 0ms));
  }
}
