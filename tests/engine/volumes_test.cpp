// Named volumes that nothing has used for long, on a real engine.
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

task_spec with_volume(const std::string& script, const std::string& name) {
  auto spec = busybox(script);
  spec.mounts.push_back({mount_type::volume, name, "/v", false, {}});
  return spec;
}

} // namespace

TEST_CASE("a volume that was unused for long is removed, and no other", "[volumes]") {
  test_engine engine{"a"};
  auto age = 0ms;
  test_agent agent{{engine.settings(4)}, [&](agent_settings& settings) {
                     settings.fleet = "main";
                     settings.engines.front().volume_gc_age = age;
                     settings.engines.front().sandboxes = 0;
                     settings.policy.volumes_allow = {"shared"};
                   }};
  auto there = [&](const std::string& name) {
    return engine.docker("volume ls -q --filter name=^" + name + "$ | wc -l") == "1\n";
  };
  auto run = [&](const std::string& script, const std::string& name) {
    auto ended = agent.run(with_volume(script, name));
    INFO(ended.message);
    CHECK(ended.outcome == outcome::succeeded);
    return agent.logs(ended.id).out;
  };
  auto of = [&](const std::string& name) {
    auto all = engine.docker("volume ls -q --filter label=davit.owner | grep -- '-" + name + "$'");
    return all.substr(0, all.find('\n'));
  };
  for (auto name : {"old", "held", "wanted"})
    run("echo data > /v/x", name);
  run("echo data > /v/x", "shared");
  auto old = of("old"), held = of("held"), wanted = of("wanted");
  REQUIRE(there(old));
  // What davit would call so, without its labels; and another fleet's.
  auto unlabelled = old + "2";
  engine.docker("volume create " + unlabelled);
  auto others = old;
  others.replace(others.find("main"), 4, "mine");
  engine.docker("volume create --label davit.fleet=mine --label davit.owner=x " + others);
  // In use by somebody's container, even one that has ended.
  engine.docker("run --name holder -v " + held + ":/v busybox:test true");
  // Named by a task that has no place to run.
  auto waiting = with_volume("cat /v/x", "wanted");
  waiting.engine.labels = {"nowhere"};
  auto queued = agent.submit(waiting);
  agent.restart(); // without the option nothing is removed, however old it is
  CHECK(agent.process().addresses().reaper);
  CHECK(there(old));
  age = 1s;
  agent.restart();
  CHECK(eventually([&] { return !there(old); }));
  CHECK(agent.metric("davit_volumes_removed_total") == 1);
  for (const auto& name : {held, wanted, unlabelled, others, std::string{"shared"}}) {
    INFO(name);
    CHECK(there(name));
  }
  CHECK(there("davit-engine"));
  CHECK(run("cat /v/x 2>/dev/null || echo nothing", "old") == "nothing\n"); // it is a new one, with davit's labels
  CHECK(of("old") == old);
  CHECK(run("cat /v/x", "shared") == "data\n");
  // Then the reasons to keep them end.
  engine.docker("rm holder");
  agent.cancel(queued);
  CHECK(eventually([&] { return !there(held) && !there(wanted); }, 150s));
  for (const auto& name : {unlabelled, others, std::string{"shared"}})
    CHECK(there(name));
}
