// The uploads of an agent: how many an owner may have, and which one makes room.
#include "actors/file_uploads.hpp"
#include "actor_fixture.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_adapters.hpp>
#include <catch2/generators/catch_generators_random.hpp>

#include <algorithm>
#include <map>
#include <random>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

upload_table::clock::time_point at(int second) {
  return upload_table::clock::time_point{} + std::chrono::seconds{second};
}

} // namespace

TEST_CASE_METHOD(actor_fixture, "uploads that their clients have left do not keep others out", "[files][upload]") {
  auto seed = GENERATE(take(20, random(1u, 1'000'000u)));
  CAPTURE(seed);
  std::minstd_rand random{seed};
  auto pick = [&](int below) { return std::uniform_int_distribution<int>{0, below - 1}(random); };
  constexpr int most = 16;
  const auto stale = static_cast<int>(upload_table::stale_after.count());
  struct known {
    std::string owner;
    int used;
    bool busy;
  };
  upload_table table;
  auto context = context_with();
  std::map<uuid, known> model;
  for (int now = 0; now < 600; ++now) {
    std::string owner{static_cast<char>('a' + pick(2))};
    auto of_owner = [&](auto good) {
      std::vector<uuid> ids;
      for (const auto& [id, one] : model)
        if (one.owner == owner && good(one))
          ids.push_back(id);
      return ids;
    };
    auto all = of_owner([](const known&) { return true; });
    if (auto what = pick(10); what < 6) {
      auto added = table.add(std::make_shared<file_upload>(context, owner, uuid::make_v4()), at(now));
      auto left = of_owner([&](const known& one) { return !one.busy && now - one.used >= stale; });
      if (all.size() >= most && !left.empty()) {
        auto oldest = *std::min_element(left.begin(), left.end(),
                                        [&](const auto& a, const auto& b) { return model[a].used < model[b].used; });
        for (auto id : left) // of several from the same second, any
          if (model[id].used == model[oldest].used && !table.find(owner, id))
            oldest = id;
        CHECK(!table.find(owner, oldest));
        model.erase(oldest);
        all.pop_back();
      }
      REQUIRE(static_cast<bool>(added) == (all.size() < most));
      if (added)
        model[*added] = {owner, now, false};
      else
        CHECK(added.error() == files_errc::busy);
    } else if (!all.empty()) {
      auto id = all[static_cast<std::size_t>(pick(static_cast<int>(all.size())))];
      if (what < 8) {
        CHECK(static_cast<bool>(table.take(owner, id)) == !model[id].busy);
        model[id].busy = true;
      } else {
        table.give_back(id, at(now));
        model[id].busy = false;
        model[id].used = now;
      }
      CHECK(!table.take(owner == "a" ? "b" : "a", id));
    }
    for (const auto& [id, one] : model)
      CHECK(static_cast<bool>(table.find(one.owner, id)));
  }
  std::size_t lapsed = table.lapse(at(10'000)).size();
  std::size_t idle = 0;
  for (const auto& [id, one] : model)
    idle += !one.busy;
  CHECK(lapsed >= idle);
  CHECK(table.lapse(at(10'000)).empty());
}
