// Trees that an engine has ready, and its disk: they make room for what needs it.
#include "fixture/file_client.hpp"
#include "fixture/small_disk.hpp"
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

task_spec with_input(test_agent& agent, const scratch_folder& scratch, const std::string& megabytes) {
  auto folder = scratch / megabytes;
  shell("mkdir -p " + folder + " && head -c " + megabytes + "M /dev/urandom >" + folder + "/file");
  auto spec = busybox("wc -c </src/file");
  spec.inputs.push_back({upload(agent, folder), "/src"});
  spec.retry.attempts = 1;
  return spec;
}

std::string trees_of(const any_engine& engine) {
  return engine.docker("volume ls -q --filter label=davit.tree");
}

bool was_ready(const task& ended) {
  return ended.attempts.back().evidence.start == "cold: its files were ready on the engine";
}

} // namespace

TEST_CASE("a tree that is ready goes when a task's input has no room on the engine's disk", "[files][prepared]") {
  scratch_folder scratch;
  small_disk disk{scratch / "disk", "260m"};
  test_engine engine{"a", {"--data-root", disk.where}};
  auto settings = engine.settings(2);
  settings.min_free_disk = settings.image_gc_below = {};
  test_agent agent{{settings}};
  auto small = with_input(agent, scratch, "70"), large = with_input(agent, scratch, "200");
  REQUIRE(eventually([&] { return was_ready(agent.run(small)); }, 60s));
  auto ended = agent.run(large);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::succeeded);
  CHECK(agent.logs(ended.id).out == "209715200\n");
  CHECK(trees_of(engine).empty());
  // What has no room at all says so.
  auto huge = agent.run(with_input(agent, scratch, "280"));
  CHECK(huge.outcome == outcome::engine_lost);
  CHECK(huge.message.find("no space left on device") != std::string::npos);
  auto again = agent.run(small);
  CHECK(again.outcome == outcome::succeeded);
}

TEST_CASE("on a disk that has less room than is to stay free, trees are not kept ready", "[files][prepared]") {
  test_engine engine{"a"};
  scratch_folder scratch;
  {
    test_agent agent{{engine.settings(2)}};
    auto spec = with_input(agent, scratch, "65");
    REQUIRE(eventually([&] { return was_ready(agent.run(spec)); }, 60s));
    REQUIRE(eventually([&] { return engine.docker("volume ls -q --filter label=davit.used-by").empty(); }));
  }
  auto settings = engine.settings(2);
  settings.image_gc_below = byte_size{1ull << 60};
  test_agent agent{{settings}};
  auto spec = with_input(agent, scratch, "65");
  for (int i = 0; i < 4; ++i)
    CHECK(agent.run(spec).outcome == outcome::succeeded);
  CHECK(eventually([&] { return trees_of(engine).empty(); }));
  CHECK(agent.metric("davit_prepared_size_bytes_total") == 0);
}
