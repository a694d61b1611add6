// What a scheduler knows of its engines, and offers of them.
#include "actors/engine_roster.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace davit;

namespace {

engine_settings configured(const std::string& name) {
  engine_settings one;
  one.name = name;
  one.slots = 4;
  one.labels = {"label-" + name};
  one.min_free_disk = byte_size{1ull << 30};
  return one;
}

engine_status ready(const std::string& name, const std::string& id, const std::string& reported = "") {
  engine_status one;
  one.name = name;
  one.state = engine_state::ready;
  one.slots = 4;
  one.labels = {"label-" + name};
  one.info.id = id;
  one.info.reported_id = reported.empty() ? id : reported;
  return one;
}

const auto idle = [](const std::string&) { return 0u; };
const auto free_of_reasons = [](const engine_status&) { return std::string{}; };

} // namespace

TEST_CASE("an engine is offered when it is ready, has a free slot, and nothing blocks it") {
  engine_roster engines{{configured("a"), configured("b")}};
  CHECK(engines.offers(idle, free_of_reasons).empty()); // connecting
  CHECK(engines.reached().empty());
  engines.update(ready("a", "id-a", "reported-a"));
  engines.update(ready("b", "id-b"));
  auto offers = engines.offers([](const std::string& name) { return name == "a" ? 3u : 0u; }, free_of_reasons);
  REQUIRE(offers.size() == 2);
  CHECK(offers[0].id == "id-a");
  CHECK(offers[0].free == 1);
  CHECK(offers[1].free == 4);
  CHECK(std::find(offers[0].labels.begin(), offers[0].labels.end(), "label-a") != offers[0].labels.end());
  CHECK(engines.reached() == std::vector<std::string>{"id-a", "reported-a", "id-b", "id-b"});
  CHECK(engines.offers([](const std::string&) { return 4u; }, free_of_reasons).empty());
  CHECK(engines.offers(idle, [](const engine_status& one) { return std::string{one.name == "a" ? "why" : ""}; })
          .front()
          .name
        == "b");
  auto described = engines.described(idle, [](const engine_status&) { return std::string{"why"}; });
  REQUIRE(described.size() == 2);
  CHECK(described[0].blocked == "why");
  CHECK(engines.knows("reported-a"));
  CHECK_FALSE(engines.knows("id-c"));
}

TEST_CASE("an engine that is not configured is down; one whose disk is nearly full is told of") {
  engine_roster engines{{configured("a")}};
  CHECK(engines.status_of("a").state == engine_state::connecting);
  CHECK(engines.status_of("x").state == engine_state::down);
  CHECK(engines.status_of("x").message.find("configuration") != std::string::npos);
  auto status = ready("a", "id");
  CHECK(engines.full_disk(status).empty()); // not known
  status.disk_free = 512ull << 20;
  CHECK(engines.full_disk(status).find("512m free") != std::string::npos);
  status.disk_free = 2ull << 30;
  CHECK(engines.full_disk(status).empty());
}

TEST_CASE("two engines that are one are told of once, and two with one reported id too") {
  engine_roster engines{{configured("a"), configured("b")}};
  engines.update(ready("a", "id-a", "cloned"));
  CHECK(engines.doubles_of(ready("a", "id-a")).empty());
  auto same = engines.doubles_of(ready("b", "id-a"));
  REQUIRE(same.size() == 1);
  CHECK(same[0].find("one and the same") != std::string::npos);
  auto cloned = engines.doubles_of(ready("b", "id-b", "cloned"));
  REQUIRE(cloned.size() == 1);
  CHECK(cloned[0].find("report the same id cloned") != std::string::npos);
  engines.update(ready("b", "id-b", "cloned"));
  CHECK(engines.doubles_of(ready("b", "id-b", "cloned")).empty());
}
