#include "store_fixture.hpp"

using namespace davit;
using namespace davit::store;
using namespace davit::test;

namespace {

image_grant of(const std::string& owner, const std::string& image, const std::string& id = {}) {
  image_grant one;
  one.engine_id = "e";
  one.image = image;
  one.image_id = id;
  one.owner = owner;
  one.own = true;
  one.attempt = "task-of-" + owner + "/1";
  return one;
}

const std::string app = "registry.example/app:1", by_digest = "registry.example/app@sha256:" + std::string(64, 'd');

} // namespace

TEST_CASE_METHOD(store_fixture, "an image that an owner pulled with credentials is for those who have pulled it too") {
  auto may = [&](const image_grant& wanted) {
    auto answer = store->may_use_image(wanted);
    REQUIRE(answer.has_value());
    return *answer;
  };
  CHECK_FALSE(*store->guards_images());
  CHECK(may(of("b", app)));
  CHECK(may(of("b", app, "x")));
  REQUIRE(store->pull_of_image(of("a", app), pull_stage::begun).has_value());
  REQUIRE(store->pull_of_image(of("a", app, "x"), pull_stage::done).has_value());
  open(); // a restart
  CHECK(*store->guards_images());
  CHECK(may(of("a", app)));
  CHECK(may(of("a", app, "x")));
  CHECK_FALSE(may(of("b", app)));
  for (const auto& name : {app, std::string{"registry.example/app:2"}, by_digest}) {
    CHECK_FALSE(may(of("b", name, "x")));
    CHECK(may(of("a", name, "x")));
    CHECK(may(of("b", name, "y"))); // is the operator's
  }
  // By its id it is of no repository.
  CHECK_FALSE(may(of("b", "sha256:" + std::string(64, '7'))));
  CHECK_FALSE(may(of("b", "sha256:" + std::string(64, '7'), "x")));
  CHECK(may(of("a", "sha256:" + std::string(64, '7'), "x")));
  // Elsewhere nothing is known of it: whoever has the name there, has it from there.
  CHECK(may(of("b", "other.example/app:1", "x")));
  auto elsewhere = of("b", app, "x");
  elsewhere.engine_id = "f";
  CHECK(may(elsewhere));
  // Every agent of the fleet knows.
  auto second = another();
  REQUIRE(second->pull_of_image(of("b", app, "x"), pull_stage::done).has_value());
  CHECK(may(of("b", app, "x")));
  CHECK_FALSE(may(of("c", app, "x")));
  CHECK_FALSE(may(of("", app, "x"))); // an owner without a name is not everybody
  auto all = of("d", app, "x");
  all.own = false;
  REQUIRE(second->pull_of_image(all, pull_stage::done).has_value());
  CHECK(may(of("c", app, "x")));
  CHECK(may(of("", app, "x")));
}

TEST_CASE_METHOD(store_fixture, "what a pull may have brought that is not known to have ended is nobody's") {
  auto may = [&](const image_grant& wanted) { return *store->may_use_image(wanted); };
  // What is there before stays everybody's.
  REQUIRE(store->pull_of_image(of("a", app, "old"), pull_stage::begun).has_value());
  CHECK_FALSE(may(of("b", app)));
  CHECK_FALSE(may(of("a", app)));
  for (const auto& name : {app, by_digest, "sha256:" + std::string(64, '7')}) {
    CHECK(may(of("b", name, "old")));
    CHECK_FALSE(may(of("b", name, "new")));
    CHECK_FALSE(may(of("a", name, "new")));
  }
  CHECK(may(of("b", "registry.example/app:2", "new"))); // brought no other name
  open();
  // Another pull that begins meanwhile does not make it everybody's.
  REQUIRE(store->pull_of_image(of("c", app, "new"), pull_stage::begun).has_value());
  REQUIRE(store->pull_of_image(of("c", app), pull_stage::failed).has_value());
  CHECK_FALSE(may(of("b", app, "new")));
  // The same again: the answer was lost.
  for (int i = 0; i < 2; ++i) {
    REQUIRE(store->pull_of_image(of("a", app, "new"), pull_stage::done).has_value());
    CHECK(may(of("a", app, "new")));
    CHECK_FALSE(may(of("b", app, "new")));
  }
  CHECK(may(of("b", by_digest, "newer")));
  // One that brought nothing leaves nothing.
  REQUIRE(store->pull_of_image(of("b", app), pull_stage::begun).has_value());
  CHECK_FALSE(may(of("c", app, "other")));
  REQUIRE(store->pull_of_image(of("b", app), pull_stage::failed).has_value());
  CHECK(may(of("c", app, "other")));
}
