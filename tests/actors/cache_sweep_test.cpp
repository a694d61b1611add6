// What only caches have used goes soon after the caches; what a client or a task has used keeps its time.
#include "actors/file_sweep.hpp"
#include "actors/owner_blobs.hpp"
#include "blobs/directory_medium.hpp"
#include "blobs/manifest.hpp"
#include "fixture/environment.hpp"
#include "fixture/result_text.hpp"
#include "fixture/test_engine.hpp"
#include "store/task_store.hpp"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <random>
#include <set>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

class cache_world {
public:
  explicit cache_world(std::uint64_t seed) : random_(seed) {
    store_ = store::task_store::open("sqlite://" + folder_ / "davit.db").value();
    medium_ = blobs::directory_medium::open_folder(folder_ / "blobs").value();
  }

  void step() {
    switch (below(6)) {
      case 0: // a client sends a tree; a task may use it some hours later
        named_.merge(bring(store::blob_purpose::task).second);
        break;
      case 1: { // a client asks
        auto content = blobs::digest_of(text_of(below(12)));
        auto there = known().missing("team", {content}).value().empty();
        CHECK(there == sizes_.contains(content));
        if (there)
          named_.insert(content);
        break;
      }
      case 2:
        REQUIRE(known().drop_cache("team", "", "key" + std::to_string(below(4)), {}));
        break;
      case 3: {
        auto found = known().find_cache("team", {""}, "key" + std::to_string(below(4)), {});
        REQUIRE(found);
        break;
      }
      default: // a task keeps a cache; others may go for it
        keep("key" + std::to_string(below(4)));
    }
    if (below(3) == 0)
      sweep(0ms);
  }

  void keep(const std::string& key) {
    auto [tree, content] = bring(store::blob_purpose::cache);
    kept_cache made;
    made.key = key;
    made.tree = to_text(tree);
    made.bytes = below(60);
    contents_[made.tree] = content;
    REQUIRE(known().keep_cache("team", made, 100));
  }

  /// What is left is what somebody but a cache has used, and what caches are made of.
  void sweep(duration grace) {
    shell("sleep 0.005"); // what was used in this millisecond is not unused
    REQUIRE(sweep_blobs(
      medium_, [this](auto work) { return work(known()); }, "agent", uuid{}, 1h, 1h, grace));
    if (grace != 0ms)
      return;
    auto expected = named_;
    for (const auto& one : known().caches("team", "", {}, 100).value())
      expected.insert(contents_.at(one.tree).begin(), contents_.at(one.tree).end());
    std::uint64_t bytes = 0;
    std::vector<blobs::digest> wanted;
    for (const auto& [one, size] : sizes_) {
      wanted.push_back(one);
      bytes += expected.contains(one) ? size : 0;
    }
    std::set<blobs::digest> left;
    for (const auto& one : known().find("team", wanted).value())
      left.insert(one.content);
    CHECK(left == expected);
    auto usage = known().usage().value();
    CHECK((usage.empty() ? 0 : usage.at(0).bytes) == bytes);
    std::erase_if(sizes_, [&](const auto& one) { return !left.contains(one.first); });
  }

  store::blob_catalogue& known() { return store_->blobs(); }

private:
  std::uint64_t below(std::uint64_t end) { return random_() % end; }
  static std::string text_of(std::uint64_t number) { return std::string(10 + number, static_cast<char>('a' + number)); }

  std::pair<blobs::digest, std::set<blobs::digest>> bring(store::blob_purpose purpose) {
    blobs::tree tree;
    std::set<blobs::digest> content;
    blob_writer writer{medium_, [this](auto work) { return work(known()); }, {"team", "agent", uuid{}, ~0ull, purpose}};
    auto add = [&](const std::string& bytes) {
      auto name = blobs::digest_of(bytes);
      REQUIRE(writer.write(bytes));
      REQUIRE(writer.end(name, bytes.size()));
      content.insert(name);
      sizes_[name] = bytes.size();
      return name;
    };
    for (std::uint64_t i = 0, count = 1 + below(3); i < count; ++i) {
      auto bytes = text_of(below(12));
      blobs::tree_entry file;
      file.path = std::to_string(i);
      file.mode = 0644;
      file.size = bytes.size();
      file.content = add(bytes);
      tree.entries.push_back(std::move(file));
    }
    auto name = add(blobs::write_manifest(tree));
    REQUIRE(writer.finish());
    owner_blobs mine{medium_, [this](auto work) { return work(known()); }, "team"};
    REQUIRE(mine.keep(name, tree, purpose)->empty());
    return {name, content};
  }

  scratch_folder folder_;
  std::mt19937_64 random_;
  std::unique_ptr<store::task_store> store_;
  std::shared_ptr<blobs::medium> medium_;
  std::set<blobs::digest> named_;                ///< By somebody who may take an hour to need it.
  std::map<blobs::digest, std::uint64_t> sizes_; ///< Of what may be there.
  std::map<std::string, std::set<blobs::digest>> contents_;
};

} // namespace

TEST_CASE("what is dropped from caches frees its room, and nothing else goes with it", "[caches][blobs]") {
  const std::uint64_t base = number_from("DAVIT_SEED", std::random_device{}());
  for (std::uint64_t seed = base; seed < base + 8; ++seed) {
    CAPTURE(seed);
    cache_world world{seed};
    for (int i = 0; i < 60; ++i)
      world.step();
    world.sweep(0ms);
  }
}

TEST_CASE("the files of a cache that is dropped stay for a moment, for tasks that begin with it", "[caches][blobs]") {
  cache_world world{1};
  world.keep("key");
  auto kept = world.known().usage().value().at(0).blobs;
  REQUIRE(world.known().drop_cache("team", "", "key", {}).value());
  world.sweep(1h);
  CHECK(world.known().usage().value().at(0).blobs == kept);
  world.sweep(0ms);
  CHECK(world.known().usage().value().empty());
}
