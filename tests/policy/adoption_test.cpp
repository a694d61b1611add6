// What becomes of an attempt whose agent is gone: every case of the table.
#include "policy/adoption.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace std::chrono_literals;

namespace {

const timestamp now{1'000'000s};

agent_status agent(std::string name, agent_state state, std::vector<agent_engine> engines, timestamp lease_until) {
  agent_status one;
  one.name = std::move(name);
  one.state = state;
  one.engines = std::move(engines);
  one.lease_until = lease_until;
  return one;
}

} // namespace

TEST_CASE(
  "an attempt goes to an agent that reaches its engine; if none does, it is given up when the patience is over") {
  using verdict = adoption_verdict;
  const agent_engine ready{"mine", "id", engine_state::ready}, down{"mine", "id", engine_state::down},
    another{"mine", "other", engine_state::ready};
  const auto lately = now - 1s, long_ago = now - 1min;
  struct row {
    std::vector<agent_engine> asker;
    std::vector<agent_engine> other;
    agent_state others_state;
    timestamp dead_since;
    verdict expected;
  };
  const std::vector<row> table{
    {{ready}, {}, agent_state::ready, lately, verdict::adopt},
    {{ready}, {ready}, agent_state::ready, lately, verdict::adopt},
    {{another, ready}, {}, agent_state::ready, lately, verdict::adopt},
    {{down}, {ready}, agent_state::ready, long_ago, verdict::leave}, // the other will
    {{another}, {ready}, agent_state::draining, long_ago, verdict::leave},
    {{another}, {ready}, agent_state::gone, long_ago, verdict::give_up}, // it is dead as well
    {{another}, {down}, agent_state::ready, long_ago, verdict::give_up},
    {{another}, {}, agent_state::ready, long_ago, verdict::give_up},
    {{}, {}, agent_state::ready, lately, verdict::leave}, // somebody may come who reaches it
    {{down}, {}, agent_state::ready, lately, verdict::leave},
  };
  for (std::size_t i = 0; i < table.size(); ++i) {
    CAPTURE(i);
    const auto& one = table[i];
    std::vector<agent_status> agents{agent("me", agent_state::ready, one.asker, now + 1min),
                                     agent("other", one.others_state, one.other, now + 1min),
                                     agent("dead", agent_state::gone, {ready}, one.dead_since)};
    auto decision = decide_adoption({{{}, 1}, "dead", "id"}, {"me", {}, one.asker, 5s}, agents, now);
    CHECK(decision.verdict == one.expected);
    CHECK(decision.engine == (one.expected == verdict::adopt ? "mine" : ""));
  }
  // Of an agent that never had a lease nobody waits for the end.
  CHECK(decide_adoption({{{}, 1}, "unheard of", "id"}, {"me", {}, {}, 5s}, {}, now).verdict == verdict::give_up);
}

TEST_CASE("an attempt that nobody reaches ends as agent_lost, and is tried again as its policy says") {
  claimed_attempt orphan;
  orphan.token.key.number = 1;
  orphan.task.spec.retry.attempts = 2;
  orphan.task.spec.retry.on = {outcome::agent_lost};
  orphan.task.attempts.emplace_back().engine = "e";
  auto end = end_of_orphan(orphan, now, 0.5);
  CHECK(end.outcome == outcome::agent_lost);
  CHECK(end.message.find("the engine e") != std::string::npos);
  CHECK(end.retry_at.has_value());
  orphan.task.spec.at_most_once = true;
  CHECK(end_of_orphan(orphan, now, 0.5).retry_at.has_value()); // it can't have begun
  orphan.task.attempts.back().container = "c";
  CHECK_FALSE(end_of_orphan(orphan, now, 0.5).retry_at.has_value());
  orphan.task.spec.at_most_once = false;
  CHECK(end_of_orphan(orphan, now, 0.5).retry_at.has_value());
  orphan.token.key.number = 2;
  CHECK_FALSE(end_of_orphan(orphan, now, 0.5).retry_at.has_value());
}
