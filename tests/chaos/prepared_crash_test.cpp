// Trees that an engine has ready, at every point where an agent can die while it makes one or uses one: each task has
// its inputs, and nothing is left behind but whole trees that the next agent knows.
#include "actors/crash_point.hpp"
#include "actors/prepared_plan.hpp"
#include "fixture/file_client.hpp"
#include "fixture/test_daemon.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <csignal>
#include <set>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

TEST_CASE("kill -9 of the agent around a tree that is ready: every task sees its inputs", "[crash][files][prepared]") {
  static const test_engine engine{"a"};
  auto settings = engine.settings(1);
  settings.prepared_trees = byte_size{10ull << 30};
  settings.sandboxes = 0;
  for (auto point : prepared_crash_points) {
    INFO("kill -9 at: " << point);
    scratch_folder scratch;
    auto folder = scratch / "files";
    shell("mkdir -p " + folder + "/d && cd " + folder + "/d && for i in $(seq 1000); do echo $i > f$i; done; echo '"
          + std::string{point} + "' > ../which");
    test_daemon agent{{settings}, {}, DAVIT_CRASHING};
    agent.start({"DAVIT_CRASH_AT=" + std::string{point}});
    agent.await_engine("a", engine_state::ready);
    auto spec = busybox("cat /src/which; find /src -type f | sort | xargs cat | sha256sum; stat -c %u:%g /src/which");
    spec.user = "5:6";
    spec.inputs.push_back({upload(agent, folder), "/src"});
    std::vector<task_id> ids;
    try {
      for (int i = 0; i < 40; ++i) {
        ids.push_back(agent.submit(spec));
        agent.wait(ids.back());
      }
    } catch (const std::exception&) { // it is dead
    }
    REQUIRE(agent.wait_end().exit_code == 128 + 9);
    agent.start();
    for (int i = 0; i < 3; ++i)
      ids.push_back(agent.submit(spec));
    std::set<std::string> seen;
    for (auto id : ids) {
      auto ended = agent.wait(id);
      INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
      CHECK(ended.outcome == outcome::succeeded);
      CHECK(ended.attempts.size() == 1);
      seen.insert(agent.logs(id).out);
    }
    CHECK(seen.size() == 1);
    CHECK(seen.begin()->starts_with(std::string{point} + "\n"));
    CHECK(eventually(
      [&] {
        auto ended = agent.run(spec);
        return ended.attempts.back().evidence.start == "cold: its files were ready on the engine";
      },
      60s));
    // Also what was made for a container that never was.
    CHECK(eventually([&] { return engine.docker("volume ls -q --filter label=davit.used-by").empty(); }));
    agent.signal(SIGTERM);
    CHECK(agent.wait_end().exit_code == 0);
    CHECK(engine.docker("ps -aq") == "");
    CHECK(engine.leftovers() == "");
  }
}

TEST_CASE("a volume that an engine has made anew for a container is not taken for the tree",
          "[crash][files][prepared]") {
  static const test_engine engine{"a"};
  auto settings = engine.settings(1);
  settings.sandboxes = 0;
  auto removed = GENERATE(as<std::string>{}, "tree", "lower", "upper", "work", "none");
  CAPTURE(removed);
  scratch_folder scratch;
  auto folder = scratch / "files";
  shell("mkdir -p " + folder + " && cd " + folder + " && for i in $(seq 1000); do echo $i " + removed + " > f$i; done");
  test_daemon agent{{settings}, {}, DAVIT_CRASHING};
  agent.start({"DAVIT_CRASH_AT=prepared chosen"});
  agent.await_engine("a", engine_state::ready);
  auto spec = busybox("ls /src | wc -l; cat /src/f7");
  spec.inputs.push_back({upload(agent, folder), "/src"});
  spec.at_most_once = true; // it is known then that nobody has asked for a start: the container is gone on with
  task_id id;
  try {
    for (int i = 0; i < 40; ++i) {
      id = agent.submit(spec);
      agent.wait(id);
    }
  } catch (const std::exception&) { // it is dead, and there is no container
  }
  REQUIRE(agent.wait_end().exit_code == 128 + 9);
  auto only = [&](const std::string& which) {
    auto name = engine.docker("volume ls -q --filter " + which);
    REQUIRE(std::count(name.begin(), name.end(), '\n') == 1);
    name.pop_back();
    return name;
  };
  auto tree = only("label=davit.used-by | grep '[.]tree$'");
  auto read = read_tree_volume(tree).value();
  auto name = [&](const std::string& part) {
    return part == "lower" ? only("name=davit-tree." + read.key + ".")
                           : tree.substr(0, tree.size() - std::string{"tree"}.size()) + part;
  };
  auto lower = name("lower");
  if (removed != "none")
    engine.docker("volume rm " + name(removed));
  auto parts = "/.davit-tree-" + read.nonce + "/";
  auto fleet = engine.docker("volume inspect -f '{{index .Labels \"davit.fleet\"}}' davit-tree." + read.key);
  fleet.pop_back();
  auto task = to_string(id);
  engine.docker("create --network none --name davit-" + task + "-1 --label davit.task=" + task
                + " --label davit.attempt=1 --label davit.fleet=" + fleet + " -v " + tree + ":/src -v " + lower + ":"
                + parts + "lower:ro -v " + name("upper") + ":" + parts + "upper:ro -v " + name("work") + ":" + parts
                + "work:ro busybox:test sh -c '" + spec.command.back() + "'");
  auto before = engine.docker("ps -aq --no-trunc");
  agent.start();
  auto ended = agent.wait(id);
  INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
  CHECK(ended.outcome == outcome::succeeded);
  CHECK(ended.attempts.size() == 1);
  CHECK(agent.logs(id).out == "1000\n7 " + removed + "\n");
  CHECK(before.starts_with(ended.attempts.back().container) == (removed == "none"));
  agent.signal(SIGTERM);
  CHECK(agent.wait_end().exit_code == 0);
  CHECK(engine.docker("ps -aq") == "");
}
