#include "catalogue_model.hpp"
#include "store_fixture.hpp"

#include "fixture/environment.hpp"
#include "store/blob_catalogue.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

using namespace davit;
using namespace davit::store;
using namespace davit::test;

namespace {

constexpr std::uint64_t no_quota = ~0ull;

digest named(int number) {
  return blobs::digest_of(std::to_string(number));
}

std::uint64_t size_of(int number) {
  return static_cast<std::uint64_t>(number) * 10 + 1;
}

struct catalogue_fixture : store_fixture {
  std::minstd_rand random{static_cast<unsigned>(number_from("DAVIT_SEED", std::random_device{}()))};

  blob_catalogue& blobs() { return store->blobs(); }
  int draw(int most) { return std::uniform_int_distribution<int>{0, most}(random); }

  std::vector<digest> digests_of(const std::set<int>& numbers) {
    std::vector<digest> all;
    for (auto one : numbers) {
      all.push_back(named(one));
      if (draw(9) == 0) // a caller may name one twice
        all.push_back(named(one));
    }
    std::shuffle(all.begin(), all.end(), random);
    return all;
  }
  std::set<int> some(int most) {
    std::set<int> all;
    for (auto count = draw(most); count > 0; --count)
      all.insert(draw(29));
    return all;
  }
  std::string begin(const std::string& owner, uuid by) {
    auto key = to_string(uuid::make_v7());
    REQUIRE(blobs().begin_pack({key, owner, "a", by}).has_value());
    return key;
  }
  static std::vector<blob_place> places_of(const std::string& key, const std::set<int>& numbers) {
    std::vector<blob_place> all;
    std::uint64_t offset = 8;
    for (auto one : numbers) {
      all.push_back({named(one), key, offset, size_of(one)});
      offset += size_of(one);
    }
    return all;
  }
  std::string upload(const std::string& owner, const std::set<int>& numbers) {
    auto key = begin(owner, incarnation);
    auto ended = blobs().end_pack(key, places_of(key, numbers), no_quota);
    INFO((ended ? "" : ended.error().message));
    REQUIRE(ended.has_value());
    return key;
  }
  task_id finished_task() {
    auto id = accept();
    REQUIRE(store->cancel(id).has_value());
    return id;
  }
  /// What was used before this is unused; what is used from now on is not.
  timestamp now() {
    std::this_thread::sleep_for(2ms); // SQLite's clock has milliseconds
    auto moment = blobs().unused_since(0ms);
    REQUIRE(moment.has_value());
    return *moment;
  }
  blob_purpose any_purpose() { return draw(2) == 0 ? blob_purpose::cache : blob_purpose::task; }
};

sweep_bounds both(timestamp moment) {
  return {moment, moment};
}

std::set<digest> set_of(const std::vector<digest>& all) {
  return {all.begin(), all.end()};
}

} // namespace

TEST_CASE_METHOD(catalogue_fixture,
                 "whatever owners upload, keep, use, lose and forget, the catalogue knows what is there, "
                 "and lets go of nothing that is needed",
                 "[blobs]") {
  INFO("url " << url);
  catalogue_model expected;
  const std::vector<std::string> owners{"team-a", "token b", "it's:odd"};
  std::vector<task_id> tasks;
  std::vector<std::pair<timestamp, int>> moments; // and the first step behind each
  auto mark = [&] {
    moments.emplace_back(now(), ++expected.step);
    return moments.size() - 1;
  };
  for (int count = 0; count < 500; ++count) {
    const auto& owner = owners[static_cast<std::size_t>(draw(2))];
    auto& own = expected.owners[owner];
    auto purpose = any_purpose();
    switch (draw(11)) {
      case 0:
      case 1: { // an upload, whose answer may be lost
        auto numbers = some(12);
        auto key = begin(owner, incarnation);
        auto places = places_of(key, numbers);
        for (int times = draw(5) == 0 ? 2 : 1; times > 0; --times)
          REQUIRE(blobs().end_pack(key, places, no_quota, purpose).has_value());
        for (auto one : expected.use(owner, numbers, purpose)) {
          own.blobs[one] = {key, {}};
          own.blobs[one].used.of(purpose) = expected.step;
        }
        expected.packs[key] = "there";
        expected.owner_of[key] = owner;
        break;
      }
      case 2: { // one that is not ended, by this agent or by the one that was killed
        auto by = draw(1) == 0 ? incarnation : uuid::make_v4();
        auto key = begin(owner, by);
        expected.packs[key] = "writing";
        expected.owner_of[key] = owner;
        if (draw(1) == 0) {
          REQUIRE(blobs().abandon_pack(key).has_value());
          expected.packs[key] = "removing";
          auto late = blobs().end_pack(key, places_of(key, some(3)), no_quota);
          REQUIRE(late.has_error());
          CHECK(late.error().code == errc::conflict);
        } else if (by != incarnation) {
          REQUIRE(blobs().abandon_packs_of("a", incarnation, timestamp{}).has_value());
          expected.packs[key] = "removing";
        }
        break;
      }
      case 3: {
        auto numbers = some(12);
        auto answer = blobs().missing(owner, digests_of(numbers), purpose);
        auto missing = expected.use(owner, numbers, purpose);
        REQUIRE(answer.has_value());
        CHECK(answer->size() == missing.size());
        CHECK(set_of(*answer) == set_of(digests_of(missing)));
        break;
      }
      case 4: { // a tree; mostly of what is there
        auto numbers = some(4);
        if (draw(3) != 0)
          std::erase_if(numbers, [&](int one) { return !own.blobs.contains(one); });
        auto tree = draw(29);
        auto there = own.trees.find(tree);
        if (there != own.trees.end())
          numbers = there->second.content; // a tree is its content
        auto answer = blobs().keep_tree(owner, named(tree), digests_of(numbers), purpose);
        REQUIRE(answer.has_value());
        if (there != own.trees.end() && !there->second.lost && !expected.has_doubts(owner)) {
          CHECK(answer->empty());
        } else {
          auto all = numbers;
          all.insert(tree);
          auto missing = expected.use(owner, all, purpose);
          CHECK(set_of(*answer) == set_of(digests_of(missing)));
          if (!missing.empty())
            break;
        }
        own.trees[tree].content = numbers;
        own.trees[tree].lost = false;
        own.trees[tree].used.of(purpose) = expected.step;
        break;
      }
      case 5: {
        auto tree = draw(29);
        tasks.push_back(finished_task());
        auto answer = blobs().use_tree(owner, named(tree), tasks.back());
        REQUIRE(answer.has_value());
        auto there = own.trees.find(tree);
        CHECK(*answer == (there != own.trees.end() && !there->second.lost));
        if (*answer) {
          expected.uses.emplace(tasks.back(), owner, tree);
          there->second.used.task = expected.step;
        }
        break;
      }
      case 6:
        if (!tasks.empty()) {
          auto which = tasks.begin() + draw(static_cast<int>(tasks.size()) - 1);
          REQUIRE(store->forget({*which}).has_value());
          std::erase_if(expected.uses, [&](const auto& use) { return std::get<0>(use) == *which; });
          tasks.erase(which);
        }
        break;
      case 7: { // the sweeper comes; others use things meanwhile
        auto cache = draw(3) == 0 && !moments.empty()
                     ? static_cast<std::size_t>(draw(static_cast<int>(moments.size()) - 1))
                     : mark();
        auto task = draw(1) == 0 ? cache : static_cast<std::size_t>(draw(static_cast<int>(cache)));
        sweep_bounds before{moments[task].first, moments[cache].first};
        last_use end{moments[task].second, moments[cache].second};
        auto meanwhile = [&](const std::string& of) {
          auto more = some(6);
          REQUIRE(blobs().missing(of, digests_of(more), purpose).has_value());
          expected.use(of, more, purpose);
        };
        if (draw(1) == 0)
          meanwhile(owner);
        auto dropped = blobs().drop_trees(before);
        REQUIRE(dropped.has_value());
        std::uint64_t unused = 0;
        for (auto& [name, one] : expected.owners)
          unused += std::erase_if(one.trees, [&, &name = name](const auto& tree) {
            return !expected.is_used(name, tree.first) && tree.second.used.is_before(end);
          });
        CHECK(*dropped == unused);
        for (auto& [name, one] : expected.owners) {
          auto trees = blobs().trees(name);
          REQUIRE(trees.has_value());
          std::set<int> kept;
          for (const auto& [tree, content] : one.trees)
            kept.insert(tree);
          CHECK(set_of(*trees) == set_of(digests_of(kept)));
          auto live = expected.live(name);
          auto named_live = set_of(digests_of(live));
          if (draw(1) == 0) // after the trees were asked for
            meanwhile(name);
          std::uint64_t removed = 0;
          std::optional<digest> from;
          do {
            auto page = blobs().sweep(name, from, before, [&](const digest& one) { return named_live.contains(one); });
            REQUIRE(page.has_value());
            removed += page->removed;
            from = page->next;
          } while (from);
          CHECK(removed == std::erase_if(one.blobs, [&](const auto& blob) {
                  return !live.contains(blob.first) && blob.second.used.is_before(end);
                }));
        }
        break;
      }
      case 8: {
        auto to_remove = blobs().packs_to_remove(1000);
        REQUIRE(to_remove.has_value());
        auto all = expected.to_remove();
        CHECK(std::set<std::string>{to_remove->begin(), to_remove->end()} == all);
        for (const auto& key : *to_remove) {
          expected.packs[key] = "removing";
          if (draw(2) == 0)
            continue; // not yet
          REQUIRE(blobs().pack_removed(key).has_value());
          expected.packs.erase(key);
        }
        break;
      }
      case 9: { // somebody has read what can't be read; perhaps long ago
        if (expected.owner_of.empty())
          break;
        auto key = std::next(expected.owner_of.begin(), draw(static_cast<int>(expected.owner_of.size()) - 1))->first;
        for (int times = draw(1); times >= 0; --times)
          REQUIRE(blobs().doubt_pack(key).has_value());
        auto pack = expected.packs.find(key);
        if (pack != expected.packs.end() && pack->second == "there" && expected.has_blobs(key))
          pack->second = "doubted";
        break;
      }
      case 10: { // the sweeper can't read a manifest
        auto tree = draw(29);
        auto answer = blobs().lose_tree(owner, named(tree));
        REQUIRE(answer.has_value());
        auto there = own.trees.find(tree);
        auto is_lost = there != own.trees.end() && !there->second.lost && !expected.is_sound(owner, tree);
        CHECK(*answer == is_lost);
        if (is_lost)
          there->second.lost = true;
        break;
      }
      default:
        if (draw(2) == 0)
          mark();
        if (draw(4) == 0)
          open(); // a restart
    }
    for (const auto& name : owners) {
      auto& one = expected.owners[name];
      std::set<int> all;
      for (int i = 0; i < 30; ++i)
        all.insert(i);
      auto found = blobs().find(name, digests_of(all));
      REQUIRE(found.has_value());
      REQUIRE(found->size() == one.blobs.size());
      CHECK(std::is_sorted(found->begin(), found->end(),
                           [](const auto& a, const auto& b) { return a.content < b.content; }));
      std::map<digest, blob_place> by_name;
      for (const auto& place : *found)
        by_name.emplace(place.content, place);
      for (const auto& [number, blob] : one.blobs) {
        CHECK(by_name.at(named(number)).pack == blob.pack);
        CHECK(by_name.at(named(number)).size == size_of(number));
      }
    }
    auto usage = blobs().usage();
    REQUIRE(usage.has_value());
    std::map<std::string, std::array<std::uint64_t, 3>> counted, wanted;
    for (const auto& one : *usage)
      counted[one.owner] = {one.bytes, one.blobs, one.lost_bytes};
    for (const auto& [name, one] : expected.owners)
      for (const auto& [number, blob] : one.blobs) {
        wanted[name][0] += size_of(number);
        ++wanted[name][1];
        wanted[name][2] += expected.is_sound(name, number) ? 0 : size_of(number);
      }
    REQUIRE(counted == wanted);
  }
}

TEST_CASE_METHOD(catalogue_fixture, "an owner who would have more than it may have gets nothing of that pack",
                 "[blobs]") {
  upload("a", {1, 2}); // 11 and 21
  auto key = begin("a", incarnation);
  auto ended = blobs().end_pack(key, places_of(key, {2, 3}), 32 + 30);
  REQUIRE(ended.has_error());
  CHECK(ended.error().code == errc::over_quota);
  CHECK(ended.error().message == "with these files a would have 63 bytes of 62 that it may have");
  CHECK(blobs().find("a", {named(1), named(2), named(3)})->size() == 2);
  REQUIRE(blobs().abandon_pack(key).has_value());
  CHECK(*blobs().packs_to_remove(9) == std::vector{key});
  key = begin("a", incarnation);
  CHECK(blobs().end_pack(key, places_of(key, {2, 3}), 63).has_value()); // what is there already does not count
  key = begin("a", incarnation);
  CHECK(blobs().end_pack(key, places_of(key, {1, 2, 3}), 5).has_value()); // nothing new, whatever the quota became
  key = begin("b", incarnation);
  CHECK(blobs().end_pack(key, places_of(key, {3}), 31).has_value()); // another owner's own
  // In a batch a refusal leaves what else is in it.
  auto other = begin("b", incarnation), good = begin("b", incarnation);
  auto done = store->batch([&] {
    CHECK(blobs().end_pack(other, places_of(other, {4}), 31).has_error());
    CHECK(blobs().end_pack(good, places_of(good, {3}), 31).has_value());
  });
  CHECK(done.has_value());
  CHECK(blobs().find("b", {named(3), named(4)})->size() == 1);
}

TEST_CASE_METHOD(catalogue_fixture, "what is lost and sent again takes the place of what was there, for all trees",
                 "[blobs]") {
  auto lost = upload("a", {1, 2, 3});
  REQUIRE(blobs().keep_tree("a", named(1), {named(2)})->empty());
  auto other = upload("b", {1, 2});
  REQUIRE(blobs().doubt_pack(lost).has_value());
  CHECK(set_of(*blobs().missing("a", {named(1), named(2), named(9)})) == set_of({named(1), named(2), named(9)}));
  CHECK(blobs().missing("b", {named(1), named(2)})->empty()); // owners share no pack
  CHECK(set_of(*blobs().keep_tree("a", named(1), {named(2)})) == set_of({named(1), named(2)}));
  CHECK(*blobs().use_tree("a", named(1), uuid::make_v4()));
  auto key = begin("a", incarnation);
  CHECK(blobs().end_pack(key, places_of(key, {1, 2, 4}), 63).error().code == errc::over_quota); // 4 is new
  CHECK(blobs().end_pack(key, places_of(key, {1, 2}), 63).has_value());
  CHECK(blobs().keep_tree("a", named(1), {named(2)})->empty());
  CHECK(blobs().usage()->at(0).bytes == 63);
  CHECK(blobs().usage()->at(0).lost_bytes == 31); // the third
  CHECK(blobs().packs_to_remove(9)->empty());
  auto last = begin("a", incarnation);
  CHECK(blobs().end_pack(last, places_of(last, {3}), 63).has_value());
  CHECK(*blobs().packs_to_remove(9) == std::vector{lost});
  REQUIRE(blobs().doubt_pack(lost).has_value()); // a reader that was late
  CHECK(blobs().missing("a", {named(1), named(2), named(3)})->empty());
}

TEST_CASE_METHOD(catalogue_fixture, "many blobs at once, in pieces of any size", "[blobs]") {
  std::set<int> numbers;
  for (int i = 0; i < 2501; ++i)
    numbers.insert(i);
  upload("a", numbers);
  auto asked = numbers;
  for (int i = 9000; i < 9700; ++i)
    asked.insert(i);
  CHECK(blobs().missing("a", digests_of(asked))->size() == 700);
  CHECK(blobs().missing("b", digests_of(asked))->size() == asked.size());
  CHECK(blobs().find("a", digests_of(asked))->size() == numbers.size());
  CHECK(blobs().missing("a", {})->empty());
  auto before = now();
  std::uint64_t removed = 0, pages = 0;
  std::optional<digest> from;
  do {
    auto page = blobs().sweep("a", from, both(before), [](const digest& one) { return one.bytes[0] % 2 == 0; });
    REQUIRE(page.has_value());
    removed += page->removed;
    from = page->next;
    ++pages;
  } while (from);
  CHECK(pages == 3);
  auto left = blobs().find("a", digests_of(numbers));
  CHECK(left->size() + removed == numbers.size());
  for (const auto& one : *left)
    CHECK(one.content.bytes[0] % 2 == 0);
}

TEST_CASE_METHOD(catalogue_fixture, "a sweep beside uploads takes nothing of a tree that is kept", "[blobs]") {
  std::mutex mutex;
  std::map<digest, std::vector<digest>> manifests; // of each tree, before it is kept
  std::atomic<bool> over = false;
  std::thread sweeper{[&] {
    auto mine = another();
    while (!over) {
      auto before = *mine->blobs().unused_since(0ms);
      (void)mine->blobs().drop_trees(both(before - 20ms));
      std::set<digest> live;
      auto trees = mine->blobs().trees("a");
      for (const auto& tree : *trees) {
        std::lock_guard guard{mutex};
        live.insert(tree);
        live.insert(manifests[tree].begin(), manifests[tree].end());
      }
      (void)mine->blobs().sweep("a", {}, both(before), [&](const digest& one) { return live.contains(one); });
    }
  }};
  auto rounds = 0, again = 0;
  while (rounds < 150) {
    auto numbers = some(10);
    numbers.insert(draw(29) + 1000 * (1 + draw(1)));
    auto tree = *numbers.rbegin();
    std::vector<digest> content;
    for (auto one : numbers)
      content.push_back(named(one));
    {
      std::lock_guard guard{mutex};
      auto& all = manifests[named(tree)];
      all.insert(all.end(), content.begin(), content.end());
    }
    auto lacking = blobs().missing("a", content);
    REQUIRE(lacking.has_value());
    std::set<int> to_send;
    for (auto one : numbers)
      if (std::find(lacking->begin(), lacking->end(), named(one)) != lacking->end())
        to_send.insert(one);
    if (!to_send.empty())
      upload("a", to_send);
    auto kept = blobs().keep_tree("a", named(tree), content);
    REQUIRE(kept.has_value());
    if (!kept->empty()) { // swept between the look and the tree: told, and sent again
      ++again;
      continue;
    }
    ++rounds;
    auto task = finished_task();
    if (!*blobs().use_tree("a", named(tree), task))
      continue; // dropped, which the task hears
    for (int look = 0; look < 3; ++look) {
      INFO(url << " round " << rounds << " look " << look);
      CHECK(blobs().find("a", content)->size() == numbers.size());
    }
    REQUIRE(store->forget({task}).has_value());
  }
  over = true;
  sweeper.join();
  INFO(again << " times again");
}
