// Which trees an engine could have ready, what their volumes are named, and what is known of them.
#include "actors/prepared_trees.hpp"
#include "actors/prepared_plan.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_adapters.hpp>
#include <catch2/generators/catch_generators_random.hpp>

#include <random>
#include <set>

using namespace davit;
using namespace std::chrono_literals;
using role = tree_volume::role;

namespace {

prepared_trees_table::time at(int second) {
  return prepared_trees_table::time{} + std::chrono::seconds{second};
}

task_spec with_input(const std::string& path) {
  task_spec spec;
  spec.image = "i";
  spec.inputs.push_back({"sha256:0", path});
  return spec;
}

std::vector<std::string> paths_of(const task_spec& spec, const std::vector<used_cache>& caches = {}) {
  std::vector<std::string> paths;
  for (const auto& one : places_of(spec, caches))
    paths.push_back(one.path);
  return paths;
}

used_cache cache_at(const std::string& path, const std::string& tree) {
  used_cache cache;
  cache.path = path;
  cache.tree = tree;
  return cache;
}

std::string key_of(int which) {
  return prepared_key("f", "o", "", "sha256:1", {"sha256:" + std::to_string(which), "/src", false, {}});
}

std::string nonce_of(int which) {
  auto digits = std::to_string(which);
  return std::string(32 - digits.size(), '0') + digits;
}

volume_summary volume(const std::string& name, std::map<std::string, std::string> labels) {
  return {name, std::move(labels), {}, {}};
}

/// The two volumes of a tree that is whole.
void add_tree(std::vector<volume_summary>& all, const std::string& key, std::uint64_t bytes) {
  auto nonce = nonce_of(1);
  all.push_back(volume(name_of_volume({role::lower, key, nonce}), {{"davit.fleet", "f"}, {tree_label, key}}));
  all.push_back(
    volume(name_of_volume({role::mark, key, {}}),
           {{"davit.fleet", "f"}, {tree_label, key}, {lower_label, nonce}, {bytes_label, std::to_string(bytes)}}));
}

} // namespace

TEST_CASE("trees may be ready where their containers look the same", "[prepared]") {
  for (auto* path : {"/src", "/src/", "/home/me/src", "/etcetera", "/devel/x", "/running"})
    CHECK(paths_of(with_input(path)).size() == 1);
  for (auto* path :
       {"/", "//", "/etc", "/etc/x", "/dev/shm/x", "/proc/1", "/sys", "/run/x", "/var/run/x", "/var", "src", ""})
    CHECK(paths_of(with_input(path)).empty());
  CHECK(paths_of(task_spec{}).empty());
  auto changed = [](auto change) {
    auto spec = with_input("/a/src/");
    change(spec);
    return !paths_of(spec).empty();
  };
  CHECK(changed([](task_spec&) {}));
  CHECK(!changed([](task_spec& spec) { spec.read_only = true; }));
  CHECK(!changed([](task_spec& spec) { spec.start = start_mode::cold; }));
  CHECK(!changed([](task_spec& spec) { spec.start = start_mode::warm; }));
  CHECK(!changed([](task_spec& spec) { spec.userns_mode = "host"; }));
  CHECK(!changed([](task_spec& spec) { spec.cache_scope = "pr/7"; }));
  CHECK(!changed([](task_spec& spec) { spec.privileged = true; }));
  CHECK(!changed([](task_spec& spec) { spec.cap_add = {"sys_admin"}; }));
  CHECK(!changed([](task_spec& spec) { spec.devices = {"/dev/sda"}; }));
  CHECK(!changed([](task_spec& spec) { spec.inputs.push_back({"sha256:0", "/a//src"}); }));
  for (auto type : {mount_type::bind, mount_type::volume, mount_type::tmpfs}) {
    for (auto* target : {"/a/src", "/a/./src", "/", "/etc", "/etc/passwd"})
      CHECK(!changed([&](task_spec& spec) { spec.mounts.push_back({type, "", target, false, {}}); }));
    for (auto* target : {"/a", "/b", "/a/s", "/a/src2", "/a/src/deep"})
      CHECK(changed([&](task_spec& spec) { spec.mounts.push_back({type, "", target, false, {}}); }));
  }
}

TEST_CASE("what is mounted in a tree belongs to its place, and what a cache begins with is a tree", "[prepared]") {
  auto spec = with_input("/ws");
  spec.inputs.push_back({"sha256:1", "/ws/lib/x"});
  spec.caches.push_back({"k", "/ws/node_modules/", {}, {}});
  spec.caches.push_back({"k", "/cache", {}, {}});
  spec.mounts.push_back({mount_type::tmpfs, "", "/ws/b", false, {}});
  auto places = places_of(spec, {cache_at("/ws/node_modules/", "sha256:2"), cache_at("/cache", "")});
  REQUIRE(places.size() == 3);
  CHECK(places[0].path == "/ws");
  CHECK(!places[0].empty);
  CHECK(places[0].nested == std::vector<std::string>{"b", "lib/x", "node_modules"});
  CHECK(places[1].path == "/ws/lib/x");
  CHECK(places[1].nested.empty());
  CHECK(places[2].path == "/ws/node_modules");
  CHECK(places[2].tree == "sha256:2");
  CHECK(places[2].empty);
}

TEST_CASE("whose tree, where, and for whom: each makes another key", "[prepared]") {
  std::set<std::string> keys;
  for (auto* fleet : {"", "a"})
    for (auto* owner : {"", "a", "b"})
      for (auto* user : {"", "a", "0"})
        for (auto* image : {"sha256:1", "sha256:2"})
          for (const auto& place : std::vector<tree_place>{{"sha256:1", "/a", false, {}},
                                                           {"sha256:2", "/a", false, {}},
                                                           {"sha256:1", "/b", false, {}},
                                                           {"sha256:1", "/a", true, {}},
                                                           {"sha256:1", "/a", false, {"b"}},
                                                           {"sha256:1", "/a", false, {"b", "c"}},
                                                           {"sha256:1", "/a", false, {"b/c"}}})
            CHECK(keys.insert(prepared_key(fleet, owner, user, image, place)).second);
}

TEST_CASE("a volume's name is read as it was made, and no other is", "[prepared]") {
  auto key = key_of(1), nonce = nonce_of(7);
  std::set<std::string> names;
  for (auto is : {role::mark, role::lower, role::tree, role::upper, role::work}) {
    auto name = name_of_volume({is, key, is == role::mark ? std::string{} : nonce});
    CHECK(names.insert(name).second);
    auto read = read_tree_volume(name);
    REQUIRE(read);
    CHECK(read->is == is);
    CHECK(read->key == key);
    CHECK(read->nonce == (is == role::mark ? "" : nonce));
    for (const auto& other : {name + "0", name + ".", name.substr(0, name.size() - 1), "x" + name, name + ".tree"})
      CHECK(!read_tree_volume(other));
  }
  for (const auto& other : {"davit-tree-alice-data", "davit-tree.", "davit-use..tree", "davit-tree.x", "davit-engine"})
    CHECK(!read_tree_volume(other));
}

TEST_CASE("a container with a tree that is ready has all of its parts, and the other volumes", "[prepared]") {
  container_plan plan;
  plan.image = "i";
  plan.mounts = {{mount_type::volume, "", "/data", false, {}},
                 {mount_type::volume, "", "/src/", false, {}},
                 {mount_type::volume, "mine", "/src", false, {}},
                 {mount_type::volume, "", "/cache", false, {}}};
  plan.empty_volumes = {"/cache"};
  auto tree_at = [](const std::string& path, int which) {
    auto name = [&](role is) { return name_of_volume({is, key_of(which), nonce_of(which)}); };
    return prepared_tree{path, name(role::tree), name(role::lower), name(role::upper), name(role::work)};
  };
  prepared_trees ready{"sha256:1", {tree_at("/src", 1), tree_at("/cache", 2)}};
  auto made = with_prepared(plan, ready);
  CHECK(made.image == "i");
  REQUIRE(made.mounts.size() == 10);
  CHECK(made.mounts[0].source.empty());
  CHECK(made.mounts[1].source == ready.trees[0].name);
  CHECK(!made.mounts[1].read_only);
  CHECK(made.mounts[2].source == "mine");
  CHECK(made.mounts[3].source == ready.trees[1].name);
  std::map<std::string, std::string> volumes; // as the engine tells of them
  for (const auto& one : made.mounts) {
    if (one.source != "mine")
      volumes[plain_path(one.target)] = one.source;
    if (one.target.starts_with("/."))
      CHECK(one.read_only);
  }
  auto found = prepared_in(volumes);
  REQUIRE(found.size() == 2);
  CHECK(found[0] == ready.trees[1]);
  CHECK(found[1] == ready.trees[0]);
  CHECK(prepared_in({{"/src", "davit-tree-alice-data"}, {"/x", ready.trees[0].lower}}).empty());
  CHECK(with_prepared(plan, {}).mounts.size() == plan.mounts.size());
}

TEST_CASE("a tree is made ready after the second time, one at a time, and not at once again if it can't be",
          "[prepared]") {
  prepared_trees_table all;
  CHECK(!all.unpacked("e", key_of(1), at(1)));
  CHECK(!all.unpacked("f", key_of(1), at(1))); // another engine
  CHECK(all.unpacked("e", key_of(1), at(2)));
  CHECK(!all.unpacked("e", key_of(1), at(3)));
  CHECK(!all.unpacked("e", key_of(2), at(3)));
  CHECK(!all.unpacked("e", key_of(2), at(4))); // it is at work
  all.not_made("e", key_of(1), at(100));
  CHECK(!all.unpacked("e", key_of(1), at(99)));
  CHECK(all.unpacked("e", key_of(2), at(99)));
  all.made("e", key_of(2), 5, at(100));
  CHECK(all.has("e", key_of(2)));
  CHECK(all.has_any("e"));
  CHECK(!all.has("f", key_of(2)));
  CHECK(!all.has_any("f"));
  CHECK(!all.unpacked("e", key_of(2), at(101)));
  CHECK(all.unpacked("e", key_of(1), at(101)));
}

TEST_CASE("trees that never come again cost nothing but a bounded memory", "[prepared]") {
  prepared_trees_table all;
  for (int i = 0; i < 5000; ++i)
    CHECK(!all.unpacked("e", key_of(i), at(i)));
  CHECK(all.unpacked("e", key_of(4999), at(5000)));
  all.not_made("e", key_of(4999), at(0));
  CHECK(!all.unpacked("e", key_of(1), at(5001))); // forgotten
}

TEST_CASE("only what davit has marked is a tree; what is nobody's goes, but not at once", "[prepared]") {
  prepared_trees_table all;
  auto key = key_of(1), other = key_of(2), third = key_of(3);
  std::vector<volume_summary> there;
  add_tree(there, key, 5);
  auto fleet = std::pair<const std::string, std::string>{"davit.fleet", "f"};
  auto without_mark = name_of_volume({role::lower, other, nonce_of(1)});
  there.push_back(volume(without_mark, {fleet, {tree_label, other}}));
  auto lonely_mark = name_of_volume({role::mark, third, {}});
  there.push_back(volume(lonely_mark, {fleet, {tree_label, third}, {lower_label, nonce_of(1)}}));
  // The engine has made it anew, for a container.
  auto made_anew = name_of_volume({role::lower, third, nonce_of(1)});
  there.push_back(volume(made_anew, {fleet, {"davit.task", "x"}}));
  auto second = name_of_volume({role::lower, key, nonce_of(2)});
  there.push_back(volume(second, {fleet, {tree_label, key}}));
  std::set<std::string> orphans{without_mark, lonely_mark, made_anew, second};
  for (auto is : {role::work, role::upper, role::tree}) {
    orphans.insert(name_of_volume({is, key, nonce_of(3)}));
    there.push_back(volume(name_of_volume({is, key, nonce_of(3)}), {fleet, {tree_label, key}}));
  }
  auto anonymous = std::string(64, 'a');
  orphans.insert(anonymous);
  there.push_back(volume(anonymous, {fleet, {"davit.task", "x"}}));
  auto of_sandbox = std::string(64, 'd');
  orphans.insert(of_sandbox);
  there.push_back(volume(of_sandbox, {fleet, {"davit.sandbox", "x"}}));
  there.push_back(volume(std::string(64, 'b'), {{"davit.fleet", "g"}, {"davit.task", "x"}}));
  there.push_back(volume(std::string(64, 'c'), {fleet}));
  there.push_back(volume("davit-f-o-data", {fleet, {"davit.task", "x"}}));
  there.push_back(volume(name_of_volume({role::lower, key_of(4), nonce_of(1)}), {{"davit.fleet", "g"}}));
  all.list("e", "f", there, at(0));
  CHECK(all.has("e", key));
  CHECK(all.bytes("e") == 5);
  for (const auto& one : {other, third, key_of(4)})
    CHECK(!all.has("e", one));
  CHECK(all.orphans("e", at(0)).empty());
  all.list("e", "f", there, at(299));
  CHECK(all.orphans("e", at(299)).empty());
  all.list("e", "f", there, at(300));
  auto first = all.orphans("e", at(300));
  CHECK(std::set<std::string>(first.begin(), first.end()) == orphans);
  CHECK(first.size() == orphans.size());
  CHECK(first[0].ends_with(".tree"));
  all.list("e", "f", there, at(301)); // something uses them
  CHECK(all.orphans("e", at(301)).empty());
  CHECK(all.orphans("e", at(600)).size() == orphans.size());
  all.list("e", "f", {}, at(900));
  CHECK(all.orphans("e", at(900)).empty());
  CHECK(!all.has_any("e"));
}

TEST_CASE("what an engine has is taken over; random uses, and the longest unused go first", "[prepared]") {
  auto seed = GENERATE(take(20, random(1u, 1'000'000u)));
  CAPTURE(seed);
  std::minstd_rand random{seed};
  auto pick = [&](int below) { return std::uniform_int_distribution<int>{0, below - 1}(random); };
  prepared_trees_table all;
  std::map<std::string, std::pair<int, std::uint64_t>> model; // when it was used, bytes
  for (int now = 1; now < 300; ++now) {
    auto key = key_of(pick(12));
    switch (pick(5)) {
      case 0: {
        auto bytes = static_cast<std::uint64_t>(pick(100));
        all.made("e", key, bytes, at(now));
        model[key] = {now, bytes};
        break;
      }
      case 1:
        all.use("e", key, at(now));
        if (model.contains(key))
          model[key].first = now;
        break;
      case 2:
        all.drop("e", key);
        model.erase(key);
        break;
      case 3: { // a look: some were removed by others
        std::vector<volume_summary> there;
        for (auto one = model.begin(); one != model.end();)
          if (pick(5) == 0) {
            one = model.erase(one);
          } else {
            add_tree(there, one->first, one->second.second);
            ++one;
          }
        std::shuffle(there.begin(), there.end(), random);
        all.list("e", "f", there, at(now));
        break;
      }
      default: {
        auto limit = static_cast<std::uint64_t>(pick(400)), more = static_cast<std::uint64_t>(pick(100));
        std::vector<std::pair<int, std::string>> order;
        std::uint64_t sum = 0;
        for (const auto& [name, one] : model) {
          order.emplace_back(one.first, name);
          sum += one.second;
        }
        std::sort(order.begin(), order.end());
        std::vector<std::string> expected;
        for (const auto& [used, name] : order)
          if (sum + more > limit) {
            expected.push_back(name);
            sum -= model.at(name).second;
          }
        CHECK(all.over("e", limit, more) == expected);
      }
    }
    for (int i = 0; i < 12; ++i)
      CHECK(all.has("e", key_of(i)) == model.contains(key_of(i)));
  }
}

TEST_CASE("trees have as much of an engine's disk as leaves what is to stay free", "[prepared]") {
  prepared_trees_table all;
  all.made("e", key_of(1), 30, at(1));
  all.made("e", key_of(2), 50, at(2));
  CHECK(all.room("e", 100, 1000, {}) == 100); // nobody can see that disk
  CHECK(all.room("e", 100, 10, 10) == 100);
  CHECK(all.room("e", 100, 0, 0) == 100);
  CHECK(all.room("e", 100, 10, 9) == 79);
  CHECK(all.room("e", 60, 10, 9) == 60);
  CHECK(all.room("e", 100, 80, 0) == 0);
  CHECK(all.room("e", 100, 1000, 10) == 0);
  CHECK(all.room("other", 100, 10, 9) == 0);
  CHECK(all.over("e", all.room("e", 100, 10, 9), 0) == std::vector{key_of(1)});
}
