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

extern "C" int clock_gettime(clockid_t which, timespec* out) noexcept {
  if (!given)
    return static_cast<int>(::syscall(SYS_clock_gettime, which, out));
  // A monotonic clock does not begin with 0: some programs take that for "never".
  out->tv_sec = (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE ? first_second : 1000)
              + static_cast<std::time_t>(passed.count() / 1'000'000'000);
  out->tv_nsec = static_cast<long>(passed.count() % 1'000'000'000);
  return 0;
}

extern "C" ssize_t getrandom(void* to, std::size_t count, unsigned flags) {
  if (!given)
    return ::syscall(SYS_getrandom, to, count, flags);
  for (std::size_t i = 0; i < count; i += sizeof(std::uint64_t)) {
    auto word = drawn();
    std::memcpy(static_cast<char*>(to) + i, &word, std::min(sizeof word, count - i));
  }
  return static_cast<ssize_t>(count);
}

std::random_device::result_type std::random_device::_M_getval() {
  std::uint64_t word = 0;
  if (::getrandom(&word, sizeof word, 0) != static_cast<ssize_t>(sizeof word))
    word = 4;
  return static_cast<result_type>(word);
}
