// Packs that are removed, cut off or changed: whoever reads them finds out, and what is sent again takes their place.
#include "actors/file_sweep.hpp"
#include "actors/owner_blobs.hpp"
#include "blobs/directory_medium.hpp"
#include "blobs/manifest.hpp"
#include "fixture/environment.hpp"
#include "fixture/result_text.hpp"
#include "fixture/test_engine.hpp"
#include "store/task_store.hpp"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>

using namespace davit;
using namespace davit::test;

namespace {

/// A medium whose objects can't be read now.
class away final : public blobs::medium {
public:
  explicit away(std::shared_ptr<blobs::medium> real) : real_(std::move(real)) {}
  blobs::result<std::unique_ptr<blobs::object_writer>> create(std::string_view key) override {
    return real_->create(key);
  }
  blobs::result<std::unique_ptr<blobs::object_reader>> open(std::string_view) override { return trouble; }
  blobs::result<void> remove(std::string_view key) override { return real_->remove(key); }
  blobs::result<blobs::object_page> list(std::string_view from, std::size_t limit) override {
    return real_->list(from, limit);
  }

  blobs::error trouble;

private:
  std::shared_ptr<blobs::medium> real_;
};

struct sample {
  blobs::tree tree;
  blobs::digest name;
  std::map<blobs::digest, std::string> files; ///< The manifest too.
};

class pack_world {
public:
  explicit pack_world(std::uint64_t seed) : random_(seed) {
    store_ = store::task_store::open("sqlite://" + folder_ / "davit.db").value();
    medium_ = blobs::directory_medium::open_folder(folder_ / "blobs").value();
    for (int i = 0; i < 6; ++i)
      samples_.push_back(made());
  }

  std::uint64_t below(std::uint64_t end) { return random_() % end; }
  sample& any_sample() { return samples_[below(samples_.size())]; }
  std::string any_owner() { return "owner" + std::to_string(below(2)); }

  catalogue_access catalogue() {
    return [this](std::function<store::result<void>(store::blob_catalogue&)> work) { return work(store_->blobs()); };
  }
  owner_blobs blobs_of(const std::string& owner) { return {medium_, catalogue(), owner}; }
  store::blob_catalogue& known() { return store_->blobs(); }
  std::shared_ptr<blobs::medium>& medium() { return medium_; }

  /// As a client does: asks for what is missing, sends that, and keeps the tree.
  void bring(const std::string& owner, const sample& what) {
    auto mine = blobs_of(owner);
    for (int round = 0; round < 2; ++round) {
      std::vector<blobs::digest> all;
      for (const auto& [content, bytes] : what.files)
        all.push_back(content);
      blob_writer writer{medium_, catalogue(), {owner, "agent", uuid{}, ~0ull}};
      for (const auto& one : known().missing(owner, all).value()) {
        REQUIRE(writer.write(what.files.at(one)));
        REQUIRE(writer.end(one, what.files.at(one).size()));
      }
      REQUIRE(writer.finish());
      if (mine.keep(what.name, what.tree)->empty())
        return;
    }
    FAIL("the tree is not kept");
  }

  /// Reads all of a tree. False: something of it is lost; its pack is one that was damaged, and is missing from now on.
  bool read(const std::string& owner, const sample& what) {
    auto mine = blobs_of(owner);
    auto places = [&](const blobs::digest& one) { return known().find(owner, {one}).value().at(0).pack; };
    auto lost = [&](const blobs::digest& one, const blobs::error& why) {
      CAPTURE(why.message);
      CHECK(why.code == blobs::errc::missing);
      CHECK(why.message.find("is lost") != std::string::npos);
      CHECK(why.message.find("davit run --input") != std::string::npos);
      CHECK(damaged_.contains(places(one)));
      CHECK(known().missing(owner, {one}).value() == std::vector{one});
      return false;
    };
    auto tree = mine.tree(what.name);
    if (!tree)
      return lost(what.name, tree.error());
    CHECK(*tree == what.tree);
    auto wanted = blobs::blobs_of(*tree);
    auto source = mine.source(wanted).value();
    for (const auto& one : wanted) {
      auto bytes = source->read(one, 1 << 20);
      if (!bytes)
        return lost(one, bytes.error());
      CHECK(*bytes == what.files.at(one));
    }
    return true;
  }

  /// Removes one, cuts it off, or changes a byte of it.
  void damage() {
    auto all = medium_->list({}, 1000).value().objects;
    if (all.empty())
      return;
    auto key = all[below(all.size())].key;
    auto path = folder_ / "blobs/" + key[34] + '/' + key[35] + '/' + key;
    auto size = std::filesystem::file_size(path);
    switch (size == 0 ? 0 : below(3)) {
      case 0:
        std::filesystem::remove(path);
        break;
      case 1:
        std::filesystem::resize_file(path, below(size));
        break;
      default: {
        std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
        auto at = static_cast<std::streamoff>(below(size));
        file.seekg(at);
        auto byte = static_cast<char>(file.get() ^ 0x10);
        file.seekp(at);
        file.put(byte);
      }
    }
    damaged_.insert(key);
  }

  void sweep() {
    shell("sleep 0.005"); // what was used in this millisecond is not unused
    auto seems_away = medium_->list({}, 1)->objects.empty() && !known().usage()->empty();
    auto swept = sweep_blobs(medium_, catalogue(), "agent", uuid{}, duration{0}, duration{0});
    CHECK(swept.has_value() == !seems_away);
  }

  std::size_t damages() const { return damaged_.size(); }

private:
  sample made() {
    sample one;
    for (std::uint64_t i = 0, count = 1 + below(6); i < count; ++i) {
      std::string bytes(1 + below(3000), static_cast<char>('a' + below(5)));
      blobs::tree_entry file;
      file.path = std::to_string(i);
      file.mode = 0644;
      file.size = bytes.size();
      file.content = blobs::digest_of(bytes);
      one.files[file.content] = bytes;
      one.tree.entries.push_back(std::move(file));
    }
    auto manifest = blobs::write_manifest(one.tree);
    one.name = blobs::digest_of(manifest);
    one.files[one.name] = manifest;
    return one;
  }

  scratch_folder folder_;
  std::mt19937_64 random_;
  std::unique_ptr<store::task_store> store_;
  std::shared_ptr<blobs::medium> medium_;
  std::vector<sample> samples_;
  std::set<std::string> damaged_; ///< Packs, by their keys.
};

} // namespace

TEST_CASE("whatever becomes of packs, what is sent again can be read, and what is whole is not sent",
          "[files][blobs]") {
  const std::uint64_t base = number_from("DAVIT_SEED", std::random_device{}());
  for (std::uint64_t seed = base; seed < base + 8; ++seed) {
    CAPTURE(seed);
    pack_world world{seed};
    for (int i = 0; i < 40; ++i) {
      auto owner = world.any_owner();
      const auto& what = world.any_sample();
      if (world.below(3) == 0)
        world.damage();
      if (world.below(8) == 0)
        world.sweep();
      world.bring(owner, what);
      std::size_t rounds = 0; // each finds one more pack that is damaged
      while (!world.read(owner, what)) {
        REQUIRE(++rounds <= world.damages());
        world.bring(owner, what);
      }
      std::vector<blobs::digest> all;
      for (const auto& [content, bytes] : what.files)
        all.push_back(content);
      for (const auto& one : world.known().missing(owner, all).value()) // a neighbour in its pack was read
        CHECK(world.known().find(owner, {one})->size() == 1);
    }
    const auto& last = world.any_sample(); // an empty medium would not be swept
    do
      world.bring("owner0", last);
    while (!world.read("owner0", last));
    world.sweep(); // of nothing that a task uses
    world.sweep();
    CHECK(world.medium()->list({}, 1000)->objects.empty());
    CHECK(world.known().usage()->empty());
  }
}

TEST_CASE("a medium that is away or full loses nothing", "[files][blobs]") {
  pack_world world{1};
  const auto& what = world.any_sample();
  world.bring("a", what);
  auto gone = std::make_shared<away>(world.medium());
  for (auto code : {blobs::errc::failed, blobs::errc::full}) {
    gone->trouble = {code, "the disk does not answer"};
    auto read = owner_blobs{gone, world.catalogue(), "a"}.tree(what.name);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == code);
    CHECK(read.error().message == "the disk does not answer");
    CHECK(world.known().missing("a", {what.name})->empty());
  }
  gone->trouble = {blobs::errc::missing, "there is no such object"};
  CHECK_FALSE(owner_blobs{gone, world.catalogue(), "a"}.tree(what.name));
  CHECK(world.known().missing("a", {what.name})->size() == 1);
  CHECK(world.read("a", what)); // it was there all the time: whoever has it reads it
}

TEST_CASE("a sweep takes a place with nothing in it for one that is not mounted", "[files][blobs]") {
  pack_world world{3};
  const auto& what = world.any_sample();
  world.bring("a", what);
  scratch_folder empty;
  auto mounted = blobs::directory_medium::open_folder(empty / "blobs").value();
  shell("sleep 0.005");
  auto swept = sweep_blobs(std::shared_ptr<blobs::medium>{std::move(mounted)}, world.catalogue(), "agent", uuid{},
                           duration{0}, duration{0});
  REQUIRE_FALSE(swept);
  CHECK(swept.error().message.find("is its disk mounted?") != std::string::npos);
  CHECK(world.read("a", what));
}

TEST_CASE("a tree whose manifest is lost is none until it was sent again", "[files][blobs]") {
  pack_world world{2};
  const auto& what = world.any_sample();
  world.bring("a", what);
  auto task = uuid::make_v4();
  REQUIRE(*world.known().use_tree("a", what.name, task));
  world.bring("b", what);
  auto pack = world.known().find("a", {what.name}).value().at(0).pack;
  REQUIRE(world.medium()->remove(pack));
  world.sweep(); // nobody knows any more what it names
  CHECK_FALSE(*world.known().use_tree("a", what.name, uuid::make_v4()));
  world.bring("a", what);
  CHECK(*world.known().use_tree("a", what.name, uuid::make_v4()));
  world.sweep();
  CHECK(world.read("a", what));
}
