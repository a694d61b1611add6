// An agent that has its store alone goes on with what it has left under another name.
#include "store_fixture.hpp"

using namespace davit;
using namespace davit::store;
using namespace davit::test;

TEST_CASE_METHOD(store_fixture,
                 "an open attempt becomes the agent's that takes the name, unless its task is another's") {
  for (int i = 0; i < 3; ++i)
    accept();
  auto pinned = accept(0, {}, "run-1");
  auto work = claim({{"e", "id", {}, 2, 2}}, false, "a");
  REQUIRE(work.size() == 2);
  auto own = claim({{"e", "another id", {}, 1, 1}}, true, "run-1");
  REQUIRE(own.size() == 1);
  REQUIRE(own.front().token.key.task == pinned);
  REQUIRE(store->finish(result_of(work[0], outcome::failed)).has_value());
  auto taken = store->take_name("b");
  REQUIRE(taken.has_value());
  CHECK(*taken == 1);
  CHECK(*store->take_name("b") == 0);
  auto found = take_over("b", uuid::make_v4());
  REQUIRE(found.size() == 1);
  CHECK(found.front().token.key == work[1].token.key);
  CHECK(found.front().task.attempts.back().agent == "b");
  CHECK(store->get(work[0].token.key.task)->attempts.back().agent == "a");
  CHECK(store->get(pinned)->attempts.back().agent == "run-1");
}
