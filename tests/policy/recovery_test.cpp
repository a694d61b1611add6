// Promises 2, 5 and 7 begin here: the whole table of what the store and the engine can say of an attempt.
#include "policy/recovery.hpp"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <tuple>

using namespace davit;
using row = row_state;
using box = container_state;
using act = recovery_action;

TEST_CASE("for each state of row and container there is one thing to do") {
  // Without and with a cancel request.
  const std::map<std::tuple<row, box>, std::pair<act, act>> table{
    {{row::none, box::none}, {act::leave, act::leave}},
    {{row::none, box::created}, {act::remove, act::remove}},
    {{row::none, box::running}, {act::remove, act::remove}},
    {{row::none, box::ended}, {act::remove, act::remove}},
    {{row::none, box::foreign}, {act::leave, act::leave}},
    {{row::ended, box::none}, {act::leave, act::leave}},
    {{row::ended, box::created}, {act::remove, act::remove}},
    {{row::ended, box::running}, {act::remove, act::remove}},
    {{row::ended, box::ended}, {act::remove, act::remove}},
    {{row::ended, box::foreign}, {act::leave, act::leave}},
    {{row::claimed, box::none}, {act::create, act::cancel}},
    {{row::claimed, box::created}, {act::start, act::cancel}},
    {{row::claimed, box::running}, {act::attach, act::attach}},
    {{row::claimed, box::ended}, {act::collect, act::collect}},
    {{row::claimed, box::foreign}, {act::lose, act::lose}},
    {{row::announced, box::none}, {act::lose, act::lose}},
    {{row::announced, box::created}, {act::start, act::cancel}},
    {{row::announced, box::running}, {act::attach, act::attach}},
    {{row::announced, box::ended}, {act::collect, act::collect}},
    {{row::announced, box::foreign}, {act::lose, act::lose}},
  };
  int seen = 0;
  for (auto r : {row::none, row::ended, row::claimed, row::announced})
    for (auto c : {box::none, box::created, box::running, box::ended, box::foreign})
      for (bool cancel : {false, true}) {
        INFO(to_string(r) << " x " << to_string(c) << (cancel ? ", cancelled" : ""));
        const auto& [plain, cancelled] = table.at({r, c});
        CHECK(decide_recovery({r, c, cancel, true}) == (cancel ? cancelled : plain));
        ++seen;
      }
  CHECK(seen == 40);
}

TEST_CASE("what another engine answers says nothing of an attempt: it is never created, started or followed there") {
  for (auto r : {row::claimed, row::announced})
    for (auto c : {box::none, box::created, box::running, box::ended, box::foreign})
      for (bool cancel : {false, true}) {
        auto action = decide_recovery({r, c, cancel, false});
        CHECK((action == act::lose || action == act::cancel));
      }
}

TEST_CASE("the engine's words for a container's state") {
  CHECK(container_state_of("created") == box::created);
  for (auto word : {"running", "paused", "restarting"})
    CHECK(container_state_of(word) == box::running);
  for (auto word : {"exited", "dead", "removing"})
    CHECK(container_state_of(word) == box::ended);
}
