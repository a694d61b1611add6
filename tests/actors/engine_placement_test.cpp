// On which engine an attempt goes on, whatever names engines have now.
#include "actors/engine_placement.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <random>

using namespace davit;

namespace {

using roster = std::map<std::string, engine_status>;

/// Three engines with any names and ids, some alike, some not known yet.
roster any_roster(std::mt19937& random) {
  auto pick = [&](int below) { return std::uniform_int_distribution<int>{0, below - 1}(random); };
  roster all;
  for (std::string name : {"a", "b", "c", "d"}) {
    if (pick(4) == 0)
      continue;
    auto& one = all[name];
    one.name = name;
    one.slots = 1;
    one.grace = duration{1 + pick(1000)};
    one.state = static_cast<engine_state>(pick(4));
    if (one.state == engine_state::ready || pick(3) == 0) {
      one.info.id = "id-" + std::to_string(pick(4));
      one.info.reported_id = pick(3) == 0 ? "id-" + std::to_string(pick(4)) : one.info.id;
    }
  }
  return all;
}

std::string words(const roster& all) {
  std::string text;
  for (const auto& [name, one] : all)
    text += name + " " + to_string(one.state) + " " + one.info.id + " " + one.info.reported_id + "; ";
  return text;
}

} // namespace

TEST_CASE("an attempt goes on on the engine with its id and no other, or waits for those that have not told theirs") {
  std::mt19937 random{7};
  int found = 0, own = 0, stood_in = 0, replaced = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto all = any_roster(random);
    auto name = std::string(1, static_cast<char>('a' + static_cast<int>(random() % 5)));
    auto id = "id-" + std::to_string(random() % 4);
    auto given = engine_for(all, name, id);
    INFO(words(all) << "an attempt of " << name << " " << id << " is given " << given.name << " " << given.info.id
                    << ": " << given.message);
    auto has_id = [&](const auto& one) { return one.second.info.id == id; };
    auto reports_id = [&](const auto& one) { return !one.second.info.id.empty() && one.second.info.reported_id == id; };
    auto silent = [](const auto& one) {
      return one.second.state != engine_state::ready && one.second.state != engine_state::degraded;
    };
    auto any = [&](const auto& which) { return std::any_of(all.begin(), all.end(), which); };
    auto known = all.find(name);
    if (any(has_id) || any(reports_id)) {
      ++found;
      CHECK(all.contains(given.name));
      CHECK((given.info.id == id || (!any(has_id) && given.info.reported_id == id)));
      auto ready = [&](const auto& one) {
        return one.second.state == engine_state::ready && (any(has_id) ? has_id(one) : reports_id(one));
      };
      CHECK((given.state == engine_state::ready) == any(ready));
      if (given.name != name && known != all.end() && known->second.info.id == id) // where it was, if it is as good
        CHECK(known->second.state != engine_state::ready);
    } else if (known != all.end() && known->second.info.id.empty()) {
      ++own;
      CHECK(given.name == name);
      CHECK(given.info.id.empty());
      CHECK_FALSE(is_stand_in(given));
    } else if (known != all.end() && !any(silent)) {
      ++replaced;
      CHECK(given.info.id == known->second.info.id);
    } else {
      ++stood_in;
      REQUIRE(is_stand_in(given));
      CHECK(given.name == name);
      CHECK(given.message.find(id) != std::string::npos);
      CHECK(given.message.find("called " + name) != std::string::npos);
      duration longest{0};
      for (const auto& [other, one] : all)
        if (silent(std::pair{other, one})) {
          longest = std::max(longest, one.grace);
          CHECK(given.message.find(other) != std::string::npos);
        }
      CHECK(given.grace == longest);
      CHECK((given.message.find("is configured") != std::string::npos) == !any(silent));
    }
  }
  CHECK(std::min({found, own, stood_in, replaced}) > 100);
}

TEST_CASE("what an engine says itself is never taken for a stand-in") {
  engine_status one;
  one.name = "a";
  CHECK_FALSE(is_stand_in(one));
  one.message = "connection refused";
  CHECK_FALSE(is_stand_in(one));
  CHECK(may_be(one, "id"));
  one.info.id = "other";
  CHECK_FALSE(may_be(one, "id"));
  CHECK(may_be(one, ""));
  one.info.reported_id = "id";
  CHECK(may_be(one, "id"));
}
