// Whose volume is whose: names on the engine that no two owners can share.
#include "actors/container_plan.hpp"
#include "actors/volume_names.hpp"
#include "sandbox/program.hpp"
#include "transport/docker_json.hpp"
#include "transport/engine_client.hpp"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <random>
#include <tuple>

using namespace davit;

namespace {

std::shared_ptr<const policy> sharing(std::vector<std::string> names) {
  policy_settings settings;
  settings.volumes_allow = std::move(names);
  std::string error;
  auto made = policy::make(settings, error);
  INFO(error);
  REQUIRE(made);
  return made;
}

task_spec with_volume(std::string source) {
  task_spec spec;
  spec.image = "alpine";
  spec.mounts = {{mount_type::volume, std::move(source), "/x", false, {}}};
  return spec;
}

std::string mounted(std::string source, const std::string& owner, const policy& rules) {
  auto spec = with_volume(std::move(source));
  own_volumes(spec, "main", owner, rules);
  return spec.mounts[0].source;
}

} // namespace

TEST_CASE("a volume's name on the engine tells its fleet, its owner and its name") {
  CHECK(owned_volume("main", "loopback", "cache") == "davit-main-loopback-cache");
  CHECK(owned_volume("main", "token team-a", "go-mod") == "davit-main-token_20team_2da-go-mod");
  CHECK(owned_volume("main", "", "cache") == "davit-main--cache");
  // What would be one volume if the dashes were as they come.
  CHECK(owned_volume("main", "a", "b-c") != owned_volume("main", "a-b", "c"));
  CHECK(owned_volume("main", "a_2db", "c") != owned_volume("main", "a-b", "c"));
  CHECK(owned_volume("a-b", "c", "d") != owned_volume("a", "b-c", "d"));
}

TEST_CASE("no two of all short fleets, owners and names share a volume, however long they become") {
  const std::vector<std::string> pieces{"a", "-", "_", "2",  "d",        "_2d",
                                        "A", ".", " ", "\n", "\xc3\xbc", std::string(90, 'x')};
  std::mt19937 random{18};
  auto text = [&](std::size_t least) {
    std::string made;
    for (auto n = least + random() % 3; n > 0; --n)
      made += pieces[random() % pieces.size()];
    return made;
  };
  std::map<std::string, std::tuple<std::string, std::string, std::string>> seen;
  const auto taken = [] {
    auto name = init::volume_name();
    return std::vector<std::string>{name, std::string{transport::engine_volume}};
  }();
  for (int i = 0; i < 20'000; ++i) {
    std::tuple parts{text(1), text(0), text(1)};
    auto name = owned_volume(std::get<0>(parts), std::get<1>(parts), std::get<2>(parts));
    auto [there, added] = seen.try_emplace(name, parts);
    CHECK(there->second == parts);
    CHECK(name.size() <= 255);
    CHECK(name.starts_with("davit-"));
    CHECK(std::find(taken.begin(), taken.end(), name) == taken.end());
  }
  CHECK(seen.size() > 5000);
}

TEST_CASE("a volume of an engine is an owner's if its name and its labels say so alike, and no other") {
  const std::vector<std::string> pieces{"a", "-", "_", "2d", "A", ".", " ", "\n", std::string(90, 'x')};
  std::mt19937 random{19};
  auto text = [&](std::size_t least) {
    std::string made;
    for (auto n = least + random() % 3; n > 0; --n)
      made += pieces[random() % pieces.size()];
    return made;
  };
  int plain = 0, of_digest = 0;
  for (int i = 0; i < 5'000; ++i) {
    auto fleet = text(1), owner = text(0), name = text(1);
    volume_key key{owner, name};
    volume_summary made{owned_volume(fleet, owner, name), volume_labels(fleet, owner), {}, {}};
    CHECK(is_volume_of(made, fleet, key));
    if (made.name.size() == 6 + 64 && made.name.find('-', 6) == std::string::npos) { // a digest tells nothing
      CHECK_FALSE(key_of_volume(made, fleet));
      ++of_digest;
    } else {
      CHECK(key_of_volume(made, fleet) == key);
      ++plain;
    }
    auto none = [&](const volume_summary& one, const std::string& of) {
      CHECK_FALSE(key_of_volume(one, of));
      CHECK_FALSE(is_volume_of(one, of, key));
    };
    none(made, fleet + "x");
    for (auto label : {"davit.fleet", "davit.owner"}) {
      auto other = made;
      other.labels.erase(label);
      none(other, fleet);
      other.labels[label] = made.labels.at(label) + "x";
      none(other, fleet);
    }
    auto other = made;
    other.name = "x" + made.name;
    none(other, fleet);
    CHECK_FALSE(is_volume_of(made, fleet, {owner, name + "x"}));
    CHECK_FALSE(is_volume_of(made, fleet, {owner + "x", name}));
  }
  CHECK(plain > 1000);
  CHECK(of_digest > 10);
  CHECK_FALSE(key_of_volume({"davit-main-a-", volume_labels("main", "a"), {}, {}}, "main"));
  CHECK_FALSE(key_of_volume({"davit-engine", volume_labels("main", "a"), {}, {}}, "main"));
}

TEST_CASE("a task mounts its owner's volume, unless the operator has all owners share it") {
  auto own = sharing({}), shared = sharing({"cache", "tools-.*"});
  CHECK(mounted("cache", "a", *own) == "davit-main-a-cache");
  CHECK(mounted("cache", "b", *own) == "davit-main-b-cache");
  CHECK(mounted("cache", "a", *shared) == "cache");
  CHECK(mounted("tools-7", "a", *shared) == "tools-7");
  CHECK(mounted("my-cache", "a", *shared) == "davit-main-a-my-cache"); // whole names
  CHECK(mounted("", "a", *own).empty());                               // anonymous: the container's own
  // No pattern opens what is davit's or another owner's.
  auto all = sharing({".*"});
  for (auto name : {"davit-main-b-cache", "davit-engine"})
    CHECK_FALSE(all->judge(with_volume(name), policy_profile::privileged).violations.empty());
  task_spec others;
  others.mounts = {{mount_type::bind, "/srv", "/x", false, {}}, {mount_type::tmpfs, "", "/y", false, {}}};
  auto before = others;
  own_volumes(others, "main", "a", *own);
  CHECK(others == before);
}

TEST_CASE("an engine that makes an owner's volume is told whose it is, and nothing of the task") {
  agent_settings settings;
  settings.fleet = "main";
  auto spec = with_volume("cache");
  spec.mounts.push_back({mount_type::volume, "shared", "/y", false, {}});
  own_volumes(spec, settings.fleet, "token ci", *sharing({"shared"}));
  auto plan = plan_container(settings, {uuid::make_v7(), 1}, spec, "token ci", {});
  REQUIRE(plan.volume_labels.size() == 1);
  CHECK(plan.volume_labels.at("davit-main-token_20ci-cache")
        == std::map<std::string, std::string>{{"davit.fleet", "main"}, {"davit.owner", "token ci"}});
  CHECK(
    transport::create_body(plan).find(
      R"("Source":"davit-main-token_20ci-cache","VolumeOptions":{"Labels":{"davit.fleet":"main","davit.owner":"token ci"}})")
    != std::string::npos);
}
