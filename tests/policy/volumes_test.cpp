#include "policy/volumes.hpp"

#include <catch2/catch_test_macros.hpp>

#include <random>

using namespace davit;
using namespace std::chrono_literals;

namespace {

timestamp at(duration since) {
  return timestamp{} + std::chrono::hours{24 * 20'000} + since;
}

} // namespace

TEST_CASE("a task names each of its volumes once, whatever it mounts beside them") {
  task_spec spec;
  spec.mounts = {{mount_type::volume, "b", "/1", false, {}},  {mount_type::volume, "a", "/2", false, {}},
                 {mount_type::volume, "b", "/3", true, {}},   {mount_type::volume, "", "/4", false, {}},
                 {mount_type::bind, "/srv", "/5", false, {}}, {mount_type::tmpfs, "", "/6", false, {}}};
  CHECK(named_volumes(spec) == std::vector<std::string>{"a", "b"});
  CHECK(named_volumes({}).empty());
}

TEST_CASE("a volume is removed when nothing has used it for long, and not before") {
  auto judge = [](duration used, duration removing, bool wanted, duration age) {
    return judge_volume({at(used), at(removing), wanted}, at(0ms), age);
  };
  using enum volume_verdict;
  CHECK(judge(-1h, -1h, false, 1h) == remove);
  CHECK(judge(-1h, -1h, true, 1h) == renew);
  CHECK(judge(-1h + 1ms, -1h, false, 1h) == keep);
  CHECK(judge(-1h, 1ms, false, 1h) == keep); // somebody is at it
  CHECK(judge(-1h, 0ms, false, 1h) == remove);
  CHECK(judge(1h, -1h, false, 1h) == keep); // a clock was set back
  CHECK(judge(-24h * 10'000, -1h, false, 0ms) == keep);
  CHECK(judge(-24h * 10'000, -1h, false, -1ms) == keep);
}

TEST_CASE("no volume is given up that one of the reasons to keep it holds for") {
  std::mt19937 random{7};
  auto some = [&](std::int64_t most) {
    return duration{std::uniform_int_distribution<std::int64_t>{-most, most}(random)};
  };
  int removed = 0;
  for (int i = 0; i < 50'000; ++i) {
    auto used = some(20), removing = some(20), now = some(20), age = some(10);
    auto wanted = random() % 2 == 0;
    auto verdict = judge_volume({at(used), at(removing), wanted}, at(now), age);
    auto long_unused = age > 0ms && used + age <= now, free = removing <= now;
    CHECK((verdict == volume_verdict::remove) == (long_unused && free && !wanted));
    CHECK((verdict == volume_verdict::renew) == (long_unused && free && wanted));
    removed += verdict == volume_verdict::remove;
  }
  CHECK(removed > 1000);
}
