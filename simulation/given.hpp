// Time and chance, as a seed gives them. In a program that has given.cpp, every clock of the process (those of
// std::chrono too) and every source of random numbers (getrandom, std::random_device) ask here.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace davit::simulation {

using nanoseconds = std::chrono::nanoseconds;

/// From now on time stands still but for `move_to`, and chance is the seed's.
void give_time_and_chance(std::uint64_t seed);

/// Since the beginning.
nanoseconds now();
void move_to(nanoseconds when);

/// The wall clock's time at the beginning.
std::chrono::system_clock::time_point beginning();

/// Of the world's own decisions; what the program itself draws comes from another source, so that a change there does
/// not change the world.
class dice {
public:
  explicit dice(std::uint64_t seed) : source_(seed) {}
  /// 0 to below - 1.
  std::uint64_t pick(std::uint64_t below) { return below == 0 ? 0 : source_() % below; }
  bool chance(double share) { return static_cast<double>(source_() >> 11) * 0x1p-53 < share; }
  nanoseconds between(nanoseconds least, nanoseconds most) {
    return least + nanoseconds{static_cast<std::int64_t>(pick(static_cast<std::uint64_t>((most - least).count() + 1)))};
  }

private:
  std::mt19937_64 source_;
};

} // namespace davit::simulation
