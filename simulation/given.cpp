#include "simulation/given.hpp"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace davit::simulation {

namespace {

bool given = false;
nanoseconds passed{0};
constexpr std::time_t first_second = 1893456000; // 2030-01-01
std::mt19937_64 drawn;

} // namespace

void give_time_and_chance(std::uint64_t seed) {
  given = true;
  passed = nanoseconds{0};
  drawn.seed(seed ^ 0x9e3779b97f4a7c15ull);
}

nanoseconds now() {
  return passed;
}

void move_to(nanoseconds when) {
  if (when > passed)
    passed = when;
}

std::chrono::system_clock::time_point beginning() {
  return std::chrono::system_clock::time_point{std::chrono::seconds{first_second}};
}

} // namespace davit::simulation

// What the C library and libstdc++ would do otherwise. The program's own symbols come before theirs.

using namespace davit::simulation;

extern "C" int clock_gettime(clockid_t clock_id, timespec* tp) noexcept {
  if (!given)
    return static_cast<int>(::syscall(SYS_clock_gettime, clock_id, tp));
  // A monotonic clock does not begin with 0: some programs take that for "never".
  tp->tv_sec = (clock_id == CLOCK_REALTIME || clock_id == CLOCK_REALTIME_COARSE ? first_second : 1000)
             + static_cast<std::time_t>(passed.count() / 1'000'000'000);
  tp->tv_nsec = static_cast<long>(passed.count() % 1'000'000'000);
  return 0;
}

extern "C" ssize_t getrandom(void* buffer, std::size_t length, unsigned flags) {
  if (!given)
    return ::syscall(SYS_getrandom, buffer, length, flags);
  for (std::size_t i = 0; i < length; i += sizeof(std::uint64_t)) {
    auto word = drawn();
    std::memcpy(static_cast<char*>(buffer) + i, &word, std::min(sizeof word, length - i));
  }
  return static_cast<ssize_t>(length);
}

std::random_device::result_type std::random_device::_M_getval() {
  std::uint64_t word = 0;
  if (::getrandom(&word, sizeof word, 0) != static_cast<ssize_t>(sizeof word))
    word = 4;
  return static_cast<result_type>(word);
}
