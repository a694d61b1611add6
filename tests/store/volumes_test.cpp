// When volumes are given up for removal, and that no attempt gets one meanwhile.
#include "policy/volumes.hpp"
#include "store_fixture.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <random>
#include <set>

using namespace davit;
using namespace davit::store;
using namespace davit::test;

namespace {

/// Asks until it holds; each time it asks the database, whose clock goes on meanwhile.
bool soon(const std::function<bool()>& holds) {
  for (auto until = std::chrono::steady_clock::now() + 30s; std::chrono::steady_clock::now() < until;)
    if (holds())
      return true;
  return false;
}

struct volumes_fixture : store_fixture {
  task_id
  accept_with(const std::string& owner, std::vector<std::string> volumes, std::vector<std::string> command = {}) {
    new_task made{uuid::make_v7(), {}, "", std::chrono::system_clock::now(), {}, owner};
    made.spec.image = "alpine";
    made.spec.command = std::move(command);
    for (auto& name : volumes)
      made.spec.mounts.push_back({mount_type::volume, name, "/" + name, false, {}});
    auto receipt = store->accept(made);
    REQUIRE(receipt.has_value());
    return receipt->id;
  }
  void finish(const claimed_attempt& work, std::optional<timestamp> retry_at = {}) {
    auto result = result_of(work, outcome::failed);
    result.volumes = named_volumes(work.task.spec);
    result.retry_at = retry_at;
    REQUIRE(store->finish(result).has_value());
  }
  std::vector<volume_key> unused(duration age, std::vector<volume_key> seen = {}, const std::string& engine = "id") {
    auto answer = store->take_unused_volume(engine, age, seen);
    REQUIRE(answer.has_value());
    return *answer;
  }
  /// The next one that is unused for a moment.
  volume_key next_unused() {
    std::vector<volume_key> found;
    CHECK(soon([&] { return !(found = unused(1ms)).empty(); }));
    REQUIRE(found.size() == 1);
    return found.front();
  }
  void ended(const volume_key& volume, bool gone) {
    REQUIRE(store->volume_removal_ended("id", volume, gone).has_value());
  }
};

} // namespace

TEST_CASE_METHOD(volumes_fixture, "a volume is unused from when it was seen first, or from its last attempt's end") {
  const volume_key cache{"a", "cache"};
  CHECK(unused(1h, {cache}).empty());
  CHECK(next_unused() == cache);
  CHECK(unused(1ms).empty()); // it is being removed
  ended(cache, true);
  CHECK(unused(1ms).empty()); // it is not known any more
  CHECK(unused(0ms, {cache}).empty());
  open(); // a restart
  CHECK(unused(1h).empty());
  auto second = another(); // another agent of the fleet
  CHECK(soon([&] { return second->take_unused_volume("id", 1ms, {})->size() == 1; }));
  REQUIRE(second->volume_removal_ended("id", cache, false).has_value()); // something used it: from now on, then
  CHECK(unused(1h).empty());
  CHECK(next_unused() == cache);
  CHECK(unused(1ms, {cache}, "another engine").empty()); // it was seen there just now
}

TEST_CASE_METHOD(volumes_fixture, "a volume that an unfinished task names stays") {
  const volume_key cache{"a", "cache"}, of_b{"b", "cache"}, similar{"a", "cach_"};
  auto id = accept_with("a", {"tools", "cache"});
  unused(1h, {cache});
  for (int i = 0; i < 5; ++i)
    CHECK(unused(1ms).empty());
  unused(1h, {of_b, similar}); // others' names, and names that are alike, stay for nobody
  CHECK(std::set{next_unused(), next_unused()} == std::set{of_b, similar});
  auto work = claim(one_engine);
  REQUIRE(work.size() == 1);
  CHECK(unused(1ms).empty());
  finish(work[0], std::chrono::system_clock::now() + 1h); // it waits for its next attempt
  CHECK(unused(1ms).empty());
  REQUIRE(store->cancel(id).has_value());
  CHECK(std::set{next_unused(), next_unused()} == std::set{cache, volume_key{"a", "tools"}});
}

TEST_CASE_METHOD(volumes_fixture, "a word of a task that is called like a volume does not keep the volume") {
  accept_with("a", {}, {"echo", "cache"});
  unused(1h, {{"a", "cache"}});
  CHECK(next_unused() == volume_key{"a", "cache"});
  for (int i = 0; i < 120; ++i) // so many are not looked at: one of them may
    accept_with("a", {}, {"echo", "tools"});
  unused(1h, {{"a", "tools"}});
  for (int i = 0; i < 5; ++i)
    CHECK(unused(1ms).empty());
}

TEST_CASE_METHOD(volumes_fixture, "no attempt is made with a volume that is being removed, until that has ended") {
  const volume_key cache{"a", "cache"};
  unused(1h, {cache});
  CHECK(next_unused() == cache);
  auto with = accept_with("a", {"cache"}), of_b = accept_with("b", {"cache"}), without = accept_with("a", {});
  claim_request request{"a", incarnation, one_engine};
  auto answer = ask(request);
  REQUIRE(answer.has_value());
  std::set<task_id> claimed;
  for (const auto& one : answer->attempts)
    claimed.insert(one.task.id);
  CHECK(claimed == std::set{of_b, without});
  REQUIRE(answer->next_due);
  CHECK(*answer->next_due < std::chrono::system_clock::now() + 1s);
  CHECK(store->get(with)->state == task_state::queued);
  // Elsewhere the volume is another one.
  std::vector<claimed_attempt> work;
  auto other = one_engine;
  other.front().id = "another engine";
  if (GENERATE(true, false)) {
    CHECK(soon([&] { return !(work = claim(other)).empty(); }));
  } else {
    for (int i = 0; i < 20; ++i)
      CHECK(claim(one_engine).empty());
    ended(cache, true);
    CHECK(soon([&] { return !(work = claim(one_engine)).empty(); }));
  }
  REQUIRE(work.size() == 1);
  CHECK(work[0].task.id == with);
  CHECK(work[0].token.key.number == 1);
}

TEST_CASE_METHOD(volumes_fixture, "whatever comes in whatever order, no volume is given up that a task has or gets") {
  std::mt19937 random{static_cast<std::uint32_t>(GENERATE(1, 2, 3))};
  const std::vector<std::string> owners{"a", "b"}, names{"x", "y", "z"};
  std::map<task_id, volume_key> unfinished;
  std::map<attempt_key, claimed_attempt> running;
  std::set<volume_key> removing;
  int given_up = 0;
  auto any = [&](auto& from) { return std::next(from.begin(), static_cast<long>(random() % from.size())); };
  auto claim_some = [&] {
    for (auto& one : claim({{"e", "id", {}, 100, 1 + static_cast<std::uint32_t>(random() % 3)}})) {
      CHECK_FALSE(removing.contains(unfinished.at(one.task.id)));
      running.emplace(one.token.key, one);
    }
  };
  for (int i = 0; i < 250; ++i)
    switch (random() % 6) {
      case 0: {
        volume_key volume{*any(owners), *any(names)};
        unfinished[accept_with(volume.owner, {volume.name})] = volume;
        break;
      }
      case 1:
        claim_some();
        break;
      case 2:
      case 3:
        if (!running.empty()) {
          auto one = any(running);
          finish(one->second);
          unfinished.erase(one->first.task);
          running.erase(one);
        }
        break;
      case 4:
        CHECK(unused(1h).empty());
        for (const auto& one : unused(1ms)) {
          for (const auto& [task, volume] : unfinished)
            CHECK(volume != one);
          CHECK(removing.insert(one).second);
          ++given_up;
        }
        break;
      default:
        if (!removing.empty()) {
          auto one = any(removing);
          ended(*one, random() % 2 == 0);
          removing.erase(one);
        }
    }
  CHECK(given_up > 3);
  for (const auto& one : removing)
    ended(one, true);
  removing.clear();
  CHECK(soon([&] {
    claim_some();
    return running.size() == unfinished.size();
  }));
}

TEST_CASE_METHOD(volumes_fixture, "a volume is used when its attempt is made, and again when the attempt has ended") {
  if (!url.starts_with("sqlite://"))
    return; // the statements are the same
  auto used_at = [&](const std::string& of) {
    return std::stoll("0"
                      + shell("sqlite3 " + (folder / "davit.db") + " \"SELECT used_at FROM volume WHERE " + of + '"'));
  };
  const std::string mine = "engine_id = 'id' AND owner = 'a' AND name = 'cache'";
  accept_with("a", {"cache"});
  CHECK(used_at(mine) == 0);
  auto work = claim(one_engine);
  REQUIRE(work.size() == 1);
  auto made = used_at(mine);
  CHECK(made > 0);
  CHECK(soon([&] {
    unused(1h, {{"clock", to_string(uuid::make_v4())}});
    return used_at("owner = 'clock' ORDER BY used_at DESC LIMIT 1") > made;
  }));
  CHECK(used_at(mine) == made);
  finish(work[0]);
  CHECK(used_at(mine) > made);
  CHECK(used_at("1 = 1 AND owner = 'b'") == 0);
}
