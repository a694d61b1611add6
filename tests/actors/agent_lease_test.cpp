// An agent's lease, as it counts it itself: in time that is given to it.
#include "actors/agent_lease.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace std::chrono_literals;

namespace {

const agent_lease::time_point start{1h};

} // namespace

TEST_CASE("a heartbeat is due at once, then a sixth of the lease after the last or when that failed, and never while "
          "one is under way") {
  agent_lease lease{12s};
  CHECK(lease.beat_due(start));
  lease.beat_sent(start);
  CHECK_FALSE(lease.beat_due(start + 1h));
  lease.answered(true, start, start + 10ms);
  CHECK_FALSE(lease.beat_due(start + 1999ms));
  CHECK(lease.beat_due(start + 2s));
  lease.beat_sent(start + 2s);
  lease.unanswered();
  CHECK(lease.beat_due(start + 3s)); // a store that is back is to hear of the agent before its time is over
}

TEST_CASE("the lease counts from when the heartbeat was sent, and not at all if its answer came late") {
  agent_lease lease{12s};
  CHECK_FALSE(lease.held());
  CHECK_FALSE(lease.must_give_up(start + 1h)); // there is nothing to give up
  lease.answered(true, start, start + 4001ms);
  CHECK_FALSE(lease.held());
  lease.answered(true, start, start + 4s);
  CHECK(lease.held());
  CHECK_FALSE(lease.must_give_up(start + 8s));
  CHECK(lease.must_give_up(start + 8001ms));
  CHECK_FALSE(lease.over(start + 12s));
  CHECK(lease.over(start + 12001ms));
  lease.answered(true, start + 7s, start + 7s);
  CHECK_FALSE(lease.must_give_up(start + 15s));
  lease.lose();
  CHECK_FALSE(lease.held());
  CHECK(lease.over(start));
}

TEST_CASE("a lease is steady when it was held for its own length without a break") {
  agent_lease lease{12s};
  CHECK_FALSE(lease.steady(start + 1h));
  for (auto at = start; at <= start + 10s; at += 2s)
    lease.answered(true, at, at);
  CHECK_FALSE(lease.steady(start + 11999ms));
  CHECK(lease.steady(start + 12s));
  lease.lose();
  lease.answered(true, start + 20s, start + 20s);
  CHECK_FALSE(lease.steady(start + 30s));
  CHECK(lease.steady(start + 32s));
}

TEST_CASE("a lease that is refused is not held anew; what was held is still there to be given up") {
  agent_lease lease{12s};
  lease.answered(true, start, start);
  lease.answered(false, start + 2s, start + 2s);
  CHECK(lease.refused());
  CHECK(lease.held());
  lease.lose();
  lease.answered(false, start + 4s, start + 4s);
  CHECK_FALSE(lease.held());
  lease.answered(true, start + 6s, start + 6s);
  CHECK(lease.held());
  CHECK_FALSE(lease.refused());
}
