// Blobs through packs and the catalogue: what was kept can be read, to the byte, whatever was given up beside it; what
// nothing needs goes.
#include "actors/owner_blobs.hpp"

#include "actors/file_sweep.hpp"
#include "blobs/directory_medium.hpp"
#include "blobs/manifest.hpp"
#include "fixture/result_text.hpp"
#include "fixture/test_engine.hpp"
#include "store/task_store.hpp"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <random>
#include <set>

using namespace davit;
using namespace davit::test;

namespace {

class blob_world {
public:
  explicit blob_world(std::uint64_t seed) : random_(seed) {
    auto opened = store::task_store::open("sqlite://" + folder_ / "davit.db");
    REQUIRE(opened);
    store_ = std::move(*opened);
    open_medium();
  }

  void step() {
    auto owner = "owner" + std::to_string(below(2));
    switch (below(8)) {
      case 0: // the agent dies with what it had open, and another begins
        incarnation_ = uuid::make_v4();
        open_medium();
        break;
      case 1:
      case 2:
        sweep();
        break;
      case 3:
        if (!kept_[owner].empty()) { // a task that used a tree is forgotten
          auto one = std::next(kept_[owner].begin(), static_cast<std::ptrdiff_t>(below(kept_[owner].size())));
          kept_[owner].erase(one);
          uses_changed_ = true;
        }
        break;
      default:
        bring(owner);
    }
    check();
  }

  /// Nothing is used any more: nothing stays.
  void end() {
    kept_.clear();
    uses_changed_ = true;
    forget_uses();
    sweep();
    sweep();
    CHECK(medium_->list({}, 1000)->objects.empty());
    CHECK(store_->blobs().usage()->empty());
  }

private:
  std::uint64_t below(std::uint64_t end) { return random_() % end; }

  void open_medium() {
    medium_.reset();
    auto opened = blobs::directory_medium::open_folder(folder_ / "blobs");
    REQUIRE(opened);
    medium_ = std::move(*opened);
  }

  catalogue_access catalogue() {
    return [this](std::function<store::result<void>(store::blob_catalogue&)> work) { return work(store_->blobs()); };
  }

  /// A tree with new and old files; it may be given up at any moment.
  void bring(const std::string& owner) {
    blobs::tree tree;
    std::map<blobs::digest, std::string> files;
    for (std::uint64_t i = 0, count = below(6); i < count; ++i) {
      std::string bytes(below(2000), static_cast<char>('a' + below(20)));
      blobs::tree_entry file;
      file.path = std::to_string(i);
      file.mode = 0644;
      file.size = bytes.size();
      file.content = blobs::digest_of(bytes);
      files[file.content] = bytes;
      tree.entries.push_back(std::move(file));
    }
    auto manifest = blobs::write_manifest(tree);
    auto name = blobs::digest_of(manifest);
    files[name] = manifest;
    blob_writer writer{medium_, catalogue(), {owner, "agent", incarnation_, ~0ull}};
    auto gives_up = below(files.size() * 3);
    for (const auto& [content, bytes] : files) {
      if (gives_up-- == 0)
        return;
      for (std::size_t at = 0; at < bytes.size(); at += 700)
        REQUIRE(writer.write(std::string_view{bytes}.substr(at, 700)));
      REQUIRE(writer.end(content, bytes.size()));
    }
    if (below(6) == 0)
      return;
    REQUIRE(writer.finish());
    owner_blobs mine{medium_, catalogue(), owner};
    auto lacking = mine.keep(name, tree);
    REQUIRE(lacking);
    CHECK(lacking->empty());
    if (below(3) == 0)
      return;
    store::new_task task;
    task.id = uuid::make_v7();
    task.owner = owner;
    REQUIRE(store_->accept(task));
    REQUIRE(store_->cancel(task.id)); // it has finished, and can be forgotten
    REQUIRE(*store_->blobs().use_tree(owner, name, task.id));
    if (auto before = tasks_[owner].find(name); before != tasks_[owner].end())
      REQUIRE(store_->forget({before->second}));
    tasks_[owner][name] = task.id;
    kept_[owner][name] = files;
  }

  void forget_uses() {
    if (!std::exchange(uses_changed_, false))
      return;
    std::vector<task_id> gone;
    for (auto& [owner, trees] : tasks_)
      std::erase_if(trees, [&, &owner = owner](const auto& one) {
        if (kept_[owner].contains(one.first))
          return false;
        gone.push_back(one.second);
        return true;
      });
    REQUIRE(store_->forget(gone));
  }

  void sweep() {
    forget_uses();
    shell("sleep 0.005"); // what was used in this millisecond is not unused
    auto swept = sweep_blobs(medium_, catalogue(), "agent", incarnation_, duration{0}, duration{0});
    REQUIRE(swept);
  }

  void check() {
    for (const auto& [owner, trees] : kept_)
      for (const auto& [name, files] : trees) {
        owner_blobs mine{medium_, catalogue(), owner};
        auto tree = mine.tree(name);
        REQUIRE(tree);
        auto wanted = blobs::blobs_of(*tree);
        auto source = mine.source(wanted);
        REQUIRE(source);
        for (const auto& one : wanted) {
          auto bytes = (*source)->read(one, 1 << 20);
          REQUIRE(bytes);
          CHECK(*bytes == files.at(one));
        }
        owner_blobs other{medium_, catalogue(), "nobody"};
        CHECK(other.tree(name).error().code == blobs::errc::missing);
      }
  }

  scratch_folder folder_;
  std::mt19937_64 random_;
  std::unique_ptr<store::task_store> store_;
  std::shared_ptr<blobs::medium> medium_;
  uuid incarnation_ = uuid::make_v4();
  std::map<std::string, std::map<blobs::digest, std::map<blobs::digest, std::string>>> kept_;
  std::map<std::string, std::map<blobs::digest, task_id>> tasks_;
  bool uses_changed_ = false;
};

} // namespace

TEST_CASE("trees that tasks use can be read whatever is given up and swept, and the rest goes", "[files]") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    blob_world world{seed};
    for (int i = 0; i < 40; ++i)
      world.step();
    world.end();
  }
}

TEST_CASE("an owner's quota counts what is there, once", "[files]") {
  scratch_folder folder;
  auto store = store::task_store::open("sqlite://" + folder / "davit.db").value();
  std::shared_ptr<blobs::medium> medium = blobs::directory_medium::open_folder(folder / "blobs").value();
  catalogue_access catalogue
    = [&](std::function<store::result<void>(store::blob_catalogue&)> work) { return work(store->blobs()); };
  auto bring = [&](const std::string& bytes) {
    blob_writer writer{medium, catalogue, {"team", "agent", uuid{}, 10}};
    REQUIRE(writer.write(bytes));
    REQUIRE(writer.end({}, bytes.size()));
    return writer.finish();
  };
  CHECK(bring("123456"));
  CHECK(bring("123456"));
  CHECK(medium->list({}, 10)->objects.size() == 1); // not kept twice
  auto more = bring("12345");
  REQUIRE_FALSE(more);
  CHECK(more.error().code == blobs::errc::full);
  CHECK(more.error().message.find("11 bytes of 10") != std::string::npos);
  CHECK(bring("1234"));
}

TEST_CASE("what an owner has already takes no room in the pack of what is new", "[files]") {
  scratch_folder folder;
  auto store = store::task_store::open("sqlite://" + folder / "davit.db").value();
  std::shared_ptr<blobs::medium> medium = blobs::directory_medium::open_folder(folder / "blobs").value();
  catalogue_access catalogue
    = [&](std::function<store::result<void>(store::blob_catalogue&)> work) { return work(store->blobs()); };
  const std::string large(100'000, 'x');
  for (int i = 0; i < 5; ++i) {
    blob_writer writer{medium, catalogue, {"team", "agent", uuid{}, ~0ull}};
    for (const auto& one : {large, std::to_string(i), large}) {
      REQUIRE(writer.write(one));
      REQUIRE(writer.end({}, one.size()));
    }
    REQUIRE(writer.finish());
  }
  std::uint64_t bytes = 0;
  auto all = medium->list({}, 100).value();
  for (const auto& one : all.objects)
    bytes += one.size;
  CHECK(bytes < 110'000);
  owner_blobs mine{medium, catalogue, "team"};
  for (const auto& one : {large, std::string{"0"}, std::string{"4"}}) {
    auto source = mine.source({blobs::digest_of(one)}).value();
    CHECK(source->read(blobs::digest_of(one), 1 << 20).value() == one);
  }
}

TEST_CASE("a tree that is lost keeps nothing of others' from being removed", "[files]") {
  scratch_folder folder;
  auto store = store::task_store::open("sqlite://" + folder / "davit.db").value();
  std::shared_ptr<blobs::medium> medium = blobs::directory_medium::open_folder(folder / "blobs").value();
  catalogue_access catalogue
    = [&](std::function<store::result<void>(store::blob_catalogue&)> work) { return work(store->blobs()); };
  auto bring = [&](const std::string& owner, const std::string& bytes) {
    blob_writer writer{medium, catalogue, {owner, "agent", uuid{}, ~0ull}};
    REQUIRE(writer.write(bytes));
    REQUIRE(writer.end({}, bytes.size()));
    REQUIRE(writer.finish());
  };
  auto manifest = blobs::write_manifest({});
  bring("a", manifest);
  auto lost = medium->list({}, 10).value().objects.at(0).key;
  REQUIRE(owner_blobs{medium, catalogue, "a"}.keep(blobs::digest_of(manifest), {}));
  REQUIRE(*store->blobs().use_tree("a", blobs::digest_of(manifest), uuid::make_v4()));
  REQUIRE(medium->remove(lost));
  bring("b", "needed by nothing");
  shell("sleep 0.005"); // what was used in this millisecond is not unused
  REQUIRE(sweep_blobs(medium, catalogue, "agent", uuid{}, duration{0}, duration{0}));
  CHECK(medium->list({}, 10).value().objects.empty());
}

TEST_CASE("a cache that nobody begins with goes, and what it was of with it", "[blobs][caches]") {
  scratch_folder folder;
  auto store = store::task_store::open("sqlite://" + folder / "davit.db").value();
  std::shared_ptr<blobs::medium> medium = blobs::directory_medium::open_folder(folder / "blobs").value();
  catalogue_access catalogue
    = [&](std::function<store::result<void>(store::blob_catalogue&)> work) { return work(store->blobs()); };
  auto manifest = blobs::write_manifest({});
  auto name = blobs::digest_of(manifest);
  blob_writer writer{medium, catalogue, {"a", "agent", uuid{}, ~0ull}};
  REQUIRE(writer.write(manifest));
  REQUIRE(writer.end(name, manifest.size()));
  REQUIRE(writer.finish());
  REQUIRE(owner_blobs{medium, catalogue, "a"}.keep(name, {}));
  kept_cache made;
  made.key = "key";
  made.tree = to_text(name);
  REQUIRE(store->blobs().keep_cache("a", made, 1000).value());
  auto sweep = [&](duration caches_unused) {
    shell("sleep 0.005"); // what was used in this millisecond is not unused
    REQUIRE(sweep_blobs(medium, catalogue, "agent", uuid{}, duration{0}, caches_unused));
    return store->blobs().caches("a", "", {}, 10).value().size();
  };
  CHECK(sweep(std::chrono::hours{1}) == 1);
  CHECK(owner_blobs{medium, catalogue, "a"}.tree(name));
  CHECK(sweep(duration{0}) == 0);
  CHECK(medium->list({}, 10).value().objects.empty());
}
