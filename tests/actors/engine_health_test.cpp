// An engine's health: each state, and what it makes of each thing that is heard.
#include "actors/engine_health.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <algorithm>
#include <random>

using namespace davit;
using namespace std::chrono_literals;

namespace {

constexpr auto connecting = engine_state::connecting, ready = engine_state::ready, degraded = engine_state::degraded,
               down = engine_state::down;

const health_settings settings; // a ping every 3 s, 3 misses, a backoff from 100 ms to 5 s

using actions = std::vector<health_action>;

/// As it is in this state while nothing is asked and its events are open.
engine_health in(engine_state state, std::string message = "", int misses = 0, duration backoff = 0ms) {
  return {state, std::move(message), misses, backoff, false, true};
}

engine_health asking(engine_health one) {
  one.checking = true;
  return one;
}

engine_health without_events(engine_health one) {
  one.has_events = false;
  return one;
}

struct row {
  const char* what;
  engine_health from;
  health_event event;
  engine_health to;
  actions does;
  std::optional<duration> tick;
};

} // namespace

TEST_CASE("an engine's health: what follows from what", "[health]") {
  using enum health_action;
  const heard::failure missed{"no answer", false}, refused{"refused", true};
  const std::vector<row> rows{
    {"the beginning", engine_health{}, heard::beginning{}, asking(without_events(in(connecting))), {connect}, {}},
    // Connecting: who it is, its events, whether it is the same; then it is ready.
    {"it has told who it is",
     asking(without_events(in(connecting))),
     heard::identity{true},
     asking(in(connecting)),
     {open_events},
     {}},
    {"so it does if it is not in doubt",
     asking(without_events(in(connecting))),
     heard::identity{false},
     asking(in(connecting)),
     {open_events},
     {}},
    {"its events are open", asking(in(connecting)), heard::events_open{}, asking(in(connecting)), {prove}, {}},
    {"it is known whether it is the same", asking(in(connecting)), heard::proof{}, in(ready), {announce}, 3000ms},
    {"it refuses",
     asking(without_events(in(connecting))),
     refused,
     without_events(in(down, "refused", 1, 100ms)),
     {doubt, announce, drop_calls},
     100ms},
    {"it refuses its events",
     asking(in(connecting)),
     heard::events_refused{"no events"},
     without_events(in(down, "no events", 1, 100ms)),
     {doubt, announce, drop_calls},
     100ms},
    {"an answer is missing", asking(in(connecting)), missed, in(connecting, "no answer", 1), {announce}, 3000ms},
    {"the time to look again", in(connecting), heard::tick{}, asking(in(connecting)), {connect}, {}},
    {"the time to look again, while an answer is awaited",
     asking(in(connecting)),
     heard::tick{},
     asking(in(connecting)),
     {},
     {}},
    {"the events end before they have proven anything",
     asking(in(connecting)),
     heard::events_ended{5000ms},
     asking(without_events(in(connecting))),
     {doubt, announce},
     {}},
    {"and what is proven after that is not believed",
     asking(without_events(in(connecting))),
     heard::proof{},
     without_events(in(connecting, "", 0, 100ms)),
     {doubt},
     100ms},
    // Ready: pings.
    {"the time to ping", in(ready), heard::tick{}, asking(in(ready)), {ping}, {}},
    {"a good answer", asking(in(ready)), heard::answer{}, in(ready), {}, 3000ms},
    {"a ping was missed", asking(in(ready)), missed, in(degraded, "no answer", 1), {announce}, 3000ms},
    {"a ping was refused",
     asking(in(ready)),
     refused,
     in(down, "refused", 1, 100ms),
     {doubt, announce, drop_calls},
     100ms},
    {"the events end",
     in(ready),
     heard::events_ended{5000ms},
     asking(without_events(in(connecting, "its event stream has ended"))),
     {doubt, announce, announce, connect},
     {}},
    {"the events end soon after they were open",
     in(ready),
     heard::events_ended{999ms},
     without_events(in(connecting, "its event stream has ended", 0, 100ms)),
     {doubt, announce, announce},
     100ms},
    {"the events end while a ping is under way",
     asking(in(ready)),
     heard::events_ended{5000ms},
     asking(without_events(in(connecting, "its event stream has ended"))),
     {doubt, announce, announce},
     {}},
    {"and the ping's answer leads to the next look",
     asking(without_events(in(connecting, "its event stream has ended"))),
     heard::answer{},
     without_events(in(connecting, "its event stream has ended")),
     {},
     3000ms},
    // Degraded: one or two pings were missed.
    {"another miss", asking(in(degraded, "no answer", 1)), missed, in(degraded, "no answer", 2), {}, 3000ms},
    {"the third miss",
     asking(in(degraded, "no answer", 2)),
     missed,
     in(down, "no answer", 3, 100ms),
     {announce, drop_calls},
     100ms},
    {"it answers again", asking(in(degraded, "no answer", 2)), heard::answer{}, in(ready), {announce}, 3000ms},
    {"it is refused",
     asking(in(degraded, "no answer", 1)),
     refused,
     in(down, "refused", 2, 100ms),
     {doubt, announce, drop_calls},
     100ms},
    {"the events end",
     in(degraded, "no answer", 1),
     heard::events_ended{5000ms},
     asking(without_events(in(connecting, "its event stream has ended", 1))),
     {doubt, announce, announce, connect},
     {}},
    {"the time to ping again",
     in(degraded, "no answer", 1),
     heard::tick{},
     asking(in(degraded, "no answer", 1)),
     {ping},
     {}},
    // Down: it is tried again, for ever.
    {"the time to try again",
     in(down, "refused", 1, 100ms),
     heard::tick{},
     asking(in(down, "refused", 1, 100ms)),
     {connect},
     {}},
    {"refused again",
     asking(in(down, "refused", 1, 100ms)),
     refused,
     in(down, "refused", 2, 200ms),
     {drop_calls},
     200ms},
    {"refused for another reason",
     asking(in(down, "refused", 1, 100ms)),
     heard::failure{"reset", true},
     in(down, "reset", 2, 200ms),
     {announce, drop_calls},
     200ms},
    {"refused for a long time",
     asking(in(down, "refused", 30, 5000ms)),
     refused,
     in(down, "refused", 31, 5000ms),
     {drop_calls},
     5000ms},
    {"the events end at last",
     in(down, "no answer", 3, 100ms),
     heard::events_ended{9000ms},
     without_events(in(down, "no answer", 3, 100ms)),
     {doubt, announce},
     {}},
    {"it is back, and its events never ended",
     asking(in(down, "no answer", 3, 400ms)),
     heard::identity{false},
     in(ready, "", 0, 400ms),
     {announce},
     3000ms},
    {"it is back, and may be another process",
     asking(in(down, "no answer", 3, 400ms)),
     heard::identity{true},
     asking(in(down, "no answer", 3, 400ms)),
     {prove},
     {}},
    {"it is back, without events",
     asking(without_events(in(down, "refused", 3, 400ms))),
     heard::identity{true},
     asking(in(down, "refused", 3, 400ms)),
     {open_events},
     {}},
  };
  for (const auto& one : rows) {
    CAPTURE(one.what, to_string(one.from.state));
    auto step = next_health(one.from, one.event, settings, 0);
    CHECK(step.next == one.to);
    CHECK(step.actions == one.does);
    CHECK(step.tick == one.tick);
  }
}

TEST_CASE("a backoff doubles up to its bound, and chance takes at most half of it away", "[health]") {
  auto now = asking(in(down, "refused"));
  duration expected{100};
  for (int i = 0; i < 12; ++i) {
    for (auto chance : {0.0, 0.3, 1.0}) {
      auto tick = *next_health(now, heard::failure{"refused", true}, settings, chance).tick;
      CHECK(tick <= expected);
      CHECK(tick >= expected / 2);
      CHECK((chance > 0 || tick == expected));
    }
    now = asking(next_health(now, heard::failure{"refused", true}, settings, 0.5).next);
    expected = std::min<duration>(expected * 2, 5000ms);
  }
}

TEST_CASE("an engine whose event stream ends at once, again and again, is asked less and less often", "[health]") {
  engine_health now;
  auto hear = [&](const health_event& event) {
    auto step = next_health(now, event, settings, 0);
    now = step.next;
    return step.tick;
  };
  hear(heard::beginning{});
  auto turn = [&](duration lasted, int pings) {
    hear(heard::identity{});
    hear(heard::events_open{});
    hear(heard::proof{});
    REQUIRE(now.state == ready);
    for (; pings > 0; --pings) {
      hear(heard::tick{});
      hear(heard::answer{});
    }
    auto tick = hear(heard::events_ended{lasted});
    if (tick)
      hear(heard::tick{});
    REQUIRE(now.checking);
    return tick;
  };
  for (int times = 0; times < 2; ++times) {
    for (auto expected : {100ms, 200ms, 400ms, 800ms, 1600ms, 3200ms, 5000ms, 5000ms})
      CHECK(turn(10ms, 0) == duration{expected});
    CHECK(turn(10s, times) == std::nullopt); // one that lasts makes all well
  }
}

TEST_CASE(
  "whatever an engine does, it is always asked again, one thing at a time, and is ready only with its events open",
  "[health]") {
  auto seed = GENERATE(range(1u, 101u));
  CAPTURE(seed);
  std::minstd_rand random{seed};
  auto draw = [&](int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); };
  engine_health now;
  std::optional<health_action> asked; // whose answer is awaited
  auto timer = false, open = false, doubt = true;
  auto hear = [&](const health_event& event) {
    auto step = next_health(now, event, settings, 0.5);
    now = step.next;
    timer = timer || step.tick;
    for (auto what : step.actions) {
      doubt |= what == health_action::doubt;
      if (what != health_action::doubt && what != health_action::announce && what != health_action::drop_calls) {
        REQUIRE_FALSE(asked);
        asked = what;
      }
    }
  };
  hear(heard::beginning{});
  for (int i = 0; i < 500; ++i) {
    CAPTURE(i, to_string(now.state), now.checking, now.has_events);
    REQUIRE(asked.has_value() == now.checking);
    REQUIRE((asked || timer)); // else it would never be asked again
    if (open && draw(4) == 0) {
      open = false;
      hear(heard::events_ended{duration{draw(3000)}});
      continue;
    }
    if (!asked) {
      timer = false;
      hear(heard::tick{});
      continue;
    }
    auto what = *std::exchange(asked, std::nullopt);
    auto good = draw(3) != 0;
    if (!good && what == health_action::open_events)
      hear(heard::events_refused{"no"});
    else if (!good)
      hear(heard::failure{"no", what != health_action::ping || draw(2) == 0});
    else if (what == health_action::connect)
      hear(heard::identity{doubt});
    else if (what == health_action::ping)
      hear(heard::answer{});
    else if (what == health_action::open_events) {
      open = true;
      asked.reset();
      hear(heard::events_open{});
    } else {
      doubt = false;
      hear(heard::proof{});
      if (now.state == ready) {
        REQUIRE(open);
        REQUIRE_FALSE(doubt);
      }
    }
  }
}
