#include "actors/prepared_images.hpp"
#include "actors/prepared_plan.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_adapters.hpp>
#include <catch2/generators/catch_generators_random.hpp>

#include <random>
#include <set>

using namespace davit;
using namespace std::chrono_literals;

namespace {

const std::string base = "sha256:" + std::string(64, 'b'), other_base = "sha256:" + std::string(64, 'c');

prepared_images::time at(int second) {
  return prepared_images::time{} + std::chrono::seconds{second};
}

task_spec with_input(const std::string& path) {
  task_spec spec;
  spec.image = "i";
  spec.inputs.push_back({"sha256:0", path});
  return spec;
}

std::string tag_of(int which) {
  return prepared_tag(base, prepared_key("o", "", {{"sha256:" + std::to_string(which), "/src"}}));
}

} // namespace

TEST_CASE("inputs may be in an image where their containers look the same", "[prepared]") {
  for (auto* path : {"/src", "/src/", "/home/me/src", "/etcetera", "/devel/x", "/running"})
    CHECK(may_be_prepared(with_input(path)));
  for (auto* path :
       {"/", "//", "/etc", "/etc/x", "/dev/shm/x", "/proc/1", "/sys", "/run/x", "/var/run/x", "/var", "src", ""})
    CHECK(!may_be_prepared(with_input(path)));
  CHECK(!may_be_prepared(task_spec{}));
  auto changed = [](auto change) {
    auto spec = with_input("/a/src");
    change(spec);
    return may_be_prepared(spec);
  };
  CHECK(changed([](task_spec&) {}));
  CHECK(!changed([](task_spec& spec) { spec.read_only = true; }));
  CHECK(!changed([](task_spec& spec) { spec.start = start_mode::cold; }));
  CHECK(!changed([](task_spec& spec) { spec.start = start_mode::warm; }));
  CHECK(!changed([](task_spec& spec) { spec.userns_mode = "host"; }));
  CHECK(changed([](task_spec& spec) { spec.inputs.push_back({"sha256:0", "/a/src2"}); }));
  CHECK(!changed([](task_spec& spec) { spec.inputs.push_back({"sha256:0", "/a/src/deep"}); }));
  CHECK(!changed([](task_spec& spec) { spec.inputs.push_back({"sha256:0", "/a"}); }));
  for (auto type : {mount_type::bind, mount_type::volume, mount_type::tmpfs}) {
    for (auto* target : {"/a", "/a/", "/a/src", "/a/src/deep", "/a/./src", "/", "/etc", "/etc/passwd"})
      CHECK(!changed([&](task_spec& spec) { spec.mounts.push_back({type, "", target, false, {}}); }));
    for (auto* target : {"/b", "/a/s", "/a/src2", "/data"})
      CHECK(changed([&](task_spec& spec) { spec.mounts.push_back({type, "", target, false, {}}); }));
  }
  CHECK(keeps_clear_of({"/data", "/a/other"}, {{"sha256:0", "/a/src/"}}));
  for (auto* volume : {"/a", "/a/src", "/a/src/x/", "/"})
    CHECK(!keeps_clear_of({volume}, {{"sha256:0", "/a/src/"}}));
}

TEST_CASE("whose inputs, where and for whom: each makes another key", "[prepared]") {
  std::set<std::string> keys;
  for (auto* owner : {"", "a", "b"})
    for (auto* user : {"", "a", "0"})
      for (const auto& inputs : std::vector<std::vector<task_input>>{{{"sha256:1", "/a"}},
                                                                     {{"sha256:2", "/a"}},
                                                                     {{"sha256:1", "/b"}},
                                                                     {{"sha256:1", "/a"}, {"sha256:1", "/b"}}})
        CHECK(keys.insert(prepared_key(owner, user, inputs)).second);
  CHECK(prepared_key("o", "", {{"sha256:1", "/a/"}}) == prepared_key("o", "", {{"sha256:1", "/a"}}));
  auto tag = prepared_tag(base, *keys.begin());
  CHECK(tag.size() <= 128); // Docker's limit
  CHECK(read_prepared_tag(tag) == std::pair{base, *keys.begin()});
  for (auto cut : {tag.substr(1), tag + "0", std::string{}, std::string(tag.size(), 'x')})
    CHECK(!read_prepared_tag(cut));
  CHECK(prepared_repository("a") != prepared_repository("b"));
}

TEST_CASE("a prepared container has no volumes for its inputs, and keeps the others", "[prepared]") {
  auto spec = with_input("/src/");
  container_plan plan;
  plan.image = "i";
  plan.mounts = {{mount_type::volume, "", "/data", false, {}}, {mount_type::volume, "", "/src/", false, {}}};
  auto made = with_prepared(plan, spec, {"davit.invalid/prepared/0:1", "sha256:9", base});
  CHECK(made.image == "davit.invalid/prepared/0:1");
  CHECK(made.labels.at(prepared_label) == base);
  REQUIRE(made.mounts.size() == 1);
  CHECK(made.mounts[0].target == "/data");
}

TEST_CASE("an image is made after the second time, one at a time, and not at once again if it can't be", "[prepared]") {
  prepared_images all;
  CHECK(!all.unpacked("e", tag_of(1), at(1)));
  CHECK(!all.unpacked("f", tag_of(1), at(1))); // another engine
  CHECK(all.unpacked("e", tag_of(1), at(2)));
  CHECK(!all.unpacked("e", tag_of(1), at(3)));
  CHECK(!all.unpacked("e", tag_of(2), at(3)));
  CHECK(!all.unpacked("e", tag_of(2), at(4))); // it is at work
  all.not_made("e", tag_of(1), at(100));
  CHECK(!all.unpacked("e", tag_of(1), at(99)));
  CHECK(all.unpacked("e", tag_of(2), at(99)));
  all.made("e", tag_of(2), 5, at(100));
  CHECK(all.has("e", tag_of(2)));
  CHECK(!all.has("f", tag_of(2)));
  CHECK(!all.unpacked("e", tag_of(2), at(101)));
  CHECK(all.unpacked("e", tag_of(1), at(101)));
}

TEST_CASE("trees that never come again cost nothing but a bounded memory", "[prepared]") {
  prepared_images all;
  for (int i = 0; i < 5000; ++i)
    CHECK(!all.unpacked("e", tag_of(i), at(i)));
  CHECK(all.unpacked("e", tag_of(4999), at(5000)));
  all.not_made("e", tag_of(4999), at(0));
  CHECK(!all.unpacked("e", tag_of(1), at(5001))); // forgotten
}

TEST_CASE("what an engine has is taken over; random uses, and the longest unused go first", "[prepared]") {
  auto seed = GENERATE(take(20, random(1u, 1'000'000u)));
  CAPTURE(seed);
  std::minstd_rand random{seed};
  auto pick = [&](int below) { return std::uniform_int_distribution<int>{0, below - 1}(random); };
  prepared_images all;
  std::map<std::string, std::pair<int, std::uint64_t>> model; // when it was used, bytes
  for (int now = 1; now < 300; ++now) {
    auto tag = tag_of(pick(12));
    switch (pick(5)) {
      case 0: {
        auto bytes = static_cast<std::uint64_t>(pick(100));
        all.made("e", tag, bytes, at(now));
        model[tag] = {now, bytes};
        break;
      }
      case 1:
        all.use("e", tag, at(now));
        if (model.contains(tag))
          model[tag].first = now;
        break;
      case 2:
        all.drop("e", tag);
        model.erase(tag);
        break;
      case 3: { // a look: some were removed by others, and strangers are there
        std::vector<image_summary> there;
        for (auto one = model.begin(); one != model.end();)
          if (pick(5) == 0) {
            one = model.erase(one);
          } else {
            there.push_back({"sha256:9", {"r/x:5000/y:" + one->first}, 1000 + one->second.second});
            ++one;
          }
        there.push_back({"sha256:9", {"r:latest", "r:" + std::string(97, 'a')}, 5});
        there.push_back({"sha256:9", {}, 5});
        there.push_back({"sha256:9", {"r:" + prepared_tag(other_base, std::string(32, '0'))}, 5});
        all.list("e", there, {{base, 1000}}, at(now));
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
      CHECK(all.has("e", tag_of(i)) == model.contains(tag_of(i)));
  }
}
