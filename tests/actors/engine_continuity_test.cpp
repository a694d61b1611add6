#include "actors/engine_continuity.hpp"
#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fstream>

using namespace davit;
using namespace davit::test;

namespace {

timestamp at(int seconds) {
  return timestamp{std::chrono::seconds{1'000'000 + seconds}};
}

engine_event created(const std::string& container, int seconds) {
  engine_event event;
  event.action = "create";
  event.id = container;
  event.at = at(seconds);
  return event;
}

} // namespace

TEST_CASE("an engine that remembers what it told of last is the same process, and no other is") {
  engine_continuity one;
  CHECK_FALSE(one.same_since());
  CHECK_FALSE(one.asks_since("e"));
  CHECK_FALSE(one.prove("e", "r", {}, at(0)));
  CHECK(one.same_since() == at(0));
  auto epoch = one.epoch();
  one.saw(created("c", 5));
  one.doubt();
  CHECK_FALSE(one.same_since());
  CHECK(one.epoch() != epoch);
  CHECK(one.asks_since("e") == at(5));
  SECTION("it remembers") {
    CHECK(one.prove("e", "r", {created("b", 5), created("c", 5), created("d", 6)}, at(9)));
    CHECK(one.same_since() == at(0));
    CHECK(one.epoch() == epoch);
  }
  SECTION("it remembers others") {
    CHECK_FALSE(one.prove("e", "r", {created("b", 5), created("c", 6)}, at(9)));
    CHECK(one.same_since() == at(9));
    CHECK(one.epoch() != epoch);
    CHECK_FALSE(one.asks_since("e")); // nothing was seen of this one
  }
  SECTION("it is another engine") {
    CHECK_FALSE(one.asks_since("f"));
    CHECK_FALSE(one.prove("f", "r", {}, at(9)));
    CHECK(one.epoch() != epoch);
  }
}

TEST_CASE("an agent that starts again proves the engine's continuity by what was kept") {
  scratch_folder folder;
  auto file = folder.path() / "engines" / "a.json";
  engine_continuity before;
  before.prove("e", "r", {}, at(0));
  before.saw(created("c", 5));
  REQUIRE(before.save(file));
  engine_continuity after;
  after.load(file);
  CHECK_FALSE(after.same_since()); // not before it is proven
  SECTION("the same engine") {
    CHECK(after.asks_since("e") == at(5));
    CHECK(after.prove("e", "r", {created("c", 5)}, at(9)));
    CHECK(after.same_since() == at(0));
    CHECK(after.epoch() == before.epoch());
  }
  SECTION("it was restarted") {
    CHECK_FALSE(after.prove("e", "r", {}, at(9)));
    CHECK(after.same_since() == at(9));
  }
  SECTION("what can't be read proves nothing") {
    std::ofstream{file} << "{\"engine\": 5";
    engine_continuity other;
    other.load(file);
    CHECK_FALSE(other.asks_since("e"));
  }
}
