#include "store_fixture.hpp"

#include "fixture/environment.hpp"
#include "store/blob_catalogue.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <thread>

using namespace davit;
using namespace davit::store;
using namespace davit::test;

namespace {

struct cache_fixture : store_fixture {
  std::minstd_rand random{static_cast<unsigned>(number_from("DAVIT_SEED", std::random_device{}()))};

  blob_catalogue& blobs() { return store->blobs(); }
  int draw(int below) { return std::uniform_int_distribution<int>{0, below - 1}(random); }

  /// A tree with one file, which the owner has.
  std::string tree_of(const std::string& owner, int number) {
    auto content = blobs::digest_of("content " + std::to_string(number)),
         manifest = blobs::digest_of("manifest " + std::to_string(number));
    auto lacking = blobs().keep_tree(owner, manifest, {content}).value();
    if (lacking.empty())
      return to_text(manifest);
    auto key = to_string(uuid::make_v7());
    REQUIRE(blobs().begin_pack({key, owner, "a", incarnation}).has_value());
    REQUIRE(blobs().end_pack(key, {{content, key, 8, 10}, {manifest, key, 18, 10}}, ~0ull).has_value());
    REQUIRE(blobs().keep_tree(owner, manifest, {content}).value().empty());
    return to_text(manifest);
  }
  static kept_cache made(std::string key, std::string scope, std::string tree, std::uint64_t bytes = 10) {
    kept_cache one;
    one.key = std::move(key);
    one.scope = std::move(scope);
    one.tree = std::move(tree);
    one.bytes = bytes;
    one.task = "t";
    return one;
  }
};

/// As simply as can be: in the order of their making and of their use.
struct cache_model {
  struct entry {
    std::string scope, key, tree;
    std::uint64_t bytes = 0;
    int made = 0, used = 0;
  };
  std::map<std::string, std::vector<entry>> owners;
  int clock = 0;

  entry* find(const std::string& owner, const std::string& scope, const std::string& key) {
    for (auto& one : owners[owner])
      if (one.scope == scope && one.key == key)
        return &one;
    return nullptr;
  }
  entry* newest(const std::string& owner, const std::string& scope, const std::string& prefix) {
    entry* best = nullptr;
    for (auto& one : owners[owner])
      if (one.scope == scope && one.key.starts_with(prefix) && (!best || one.made > best->made))
        best = &one;
    return best;
  }
  entry* choose(const std::string& owner, const std::vector<std::string>& scopes, const std::string& key,
                const std::vector<std::string>& prefixes) {
    for (const auto& scope : scopes)
      if (auto* one = find(owner, scope, key))
        return one;
    for (const auto& prefix : prefixes)
      for (const auto& scope : scopes)
        if (auto* one = newest(owner, scope, prefix))
          return one;
    return nullptr;
  }
};

sweep_bounds both(timestamp moment) {
  return {moment, moment};
}

} // namespace

TEST_CASE_METHOD(cache_fixture, "whatever is kept, found and removed, each owner's caches are what they should be",
                 "[caches]") {
  INFO("url " << url);
  cache_model model;
  const std::vector<std::string> owners{"team-a", "it's:odd"}, scopes{"", "pr", "pr/7", "pr/70", "prs"};
  const std::vector<std::string> keys{"a", "a-", "a-1", "a-10", "a-2", "a~", "b", "b=/x", "B"};
  constexpr std::uint64_t limit = 100;
  auto one_of = [&](const auto& all) { return all[static_cast<std::size_t>(draw(static_cast<int>(all.size())))]; };
  for (int step = 0; step < 400; ++step) {
    auto owner = one_of(owners), scope = one_of(scopes), key = one_of(keys);
    auto& own = model.owners[owner];
    CAPTURE(step, owner, scope, key);
    std::this_thread::sleep_for(2ms); // the clock of SQLite has milliseconds
    switch (draw(6)) {
      case 0:
      case 1: {
        auto tree = tree_of(owner, draw(5));
        auto bytes = static_cast<std::uint64_t>(draw(60));
        auto kept = blobs().keep_cache(owner, made(key, scope, tree, bytes), limit);
        REQUIRE(kept.has_value());
        if (auto* there = model.find(owner, scope, key)) {
          CHECK(*kept == (there->tree == tree));
          break;
        }
        CHECK(*kept);
        std::uint64_t all = bytes;
        for (const auto& one : own)
          all += one.bytes;
        while (all > limit) {
          auto oldest
            = std::min_element(own.begin(), own.end(), [](const auto& a, const auto& b) { return a.used < b.used; });
          all -= oldest->bytes;
          own.erase(oldest);
        }
        ++model.clock;
        own.push_back({scope, key, tree, bytes, model.clock, model.clock});
        break;
      }
      case 2:
      case 3: {
        std::vector<std::string> prefixes;
        for (auto count = draw(3); count > 0; --count)
          prefixes.push_back(one_of(keys));
        auto found = blobs().find_cache(owner, cache_scopes(scope), key, prefixes);
        REQUIRE(found.has_value());
        auto* expected = model.choose(owner, cache_scopes(scope), key, prefixes);
        REQUIRE(found->has_value() == (expected != nullptr));
        if (expected) {
          CHECK((*found)->key == expected->key);
          CHECK((*found)->scope == expected->scope);
          CHECK((*found)->tree == expected->tree);
          expected->used = ++model.clock;
        }
        break;
      }
      case 4: {
        auto gone = blobs().drop_cache(owner, scope, key, {});
        REQUIRE(gone.has_value());
        CHECK(*gone
              == (std::erase_if(own, [&](const auto& one) { return one.scope == scope && one.key == key; }) == 1));
        break;
      }
      case 5: {
        std::vector<std::pair<std::string, std::string>> listed, expected;
        std::optional<kept_cache> after;
        do {
          auto page = blobs().caches(owner, scope, after, 3);
          REQUIRE(page.has_value());
          for (const auto& one : *page)
            listed.emplace_back(one.scope, one.key);
          after = page->size() == 3 ? std::optional{page->back()} : std::nullopt;
        } while (after);
        for (const auto& one : own)
          if (is_in_scope(one.scope, scope))
            expected.emplace_back(one.scope, one.key);
        std::sort(expected.begin(), expected.end());
        CHECK(listed == expected);
        break;
      }
    }
  }
}

TEST_CASE_METHOD(cache_fixture, "a cache's tree stays for as long as the cache, and not longer", "[caches]") {
  auto tree = tree_of("a", 1);
  REQUIRE(blobs().keep_cache("a", made("key", "", tree), 1000).value());
  auto now = [&] {
    std::this_thread::sleep_for(2ms);
    return blobs().unused_since(0ms).value();
  };
  CHECK(blobs().drop_trees(both(now())).value() == 0);
  CHECK(blobs().trees("a").value().size() == 1);
  CHECK(blobs().drop_caches(now()).value() == 1);
  CHECK(blobs().drop_trees(both(now())).value() == 1);
  CHECK_FALSE(blobs().keep_cache("a", made("key", "", tree), 1000).value()); // there is no such tree any more
}

TEST_CASE_METHOD(cache_fixture, "what is larger than all caches may be is refused, and nothing goes for it",
                 "[caches]") {
  auto tree = tree_of("a", 1);
  REQUIRE(blobs().keep_cache("a", made("key", "", tree, 90), 100).value());
  auto kept = blobs().keep_cache("a", made("other", "", tree, 101), 100);
  REQUIRE_FALSE(kept.has_value());
  CHECK(kept.error().code == errc::over_quota);
  CHECK(blobs().caches("a", "", {}, 10).value().size() == 1);
}
