// A tree that an engine has ready, and an engine that is restarted beside its containers.
#include "fixture/file_client.hpp"
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <map>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

TEST_CASE("an engine that is restarted beside its containers still gives what they have changed", "[files][prepared]") {
  auto how = GENERATE(as<std::string>{}, "stop", "kill");
  CAPTURE(how);
  test_engine engine{"a", {"--live-restore"}};
  test_agent agent{{engine.settings(2)}};
  scratch_folder scratch;
  auto folder = scratch / "many";
  shell("mkdir -p " + folder + "/d && cd " + folder + " && for i in $(seq 1000); do echo $i > d/f$i; done");
  auto spec = busybox("echo new > /src/d/f1; rm /src/d/f2; mv /src/d /src/e; until [ -e /src/go ]; do sleep 0.1; done; "
                      "echo more >> /src/e/f1; ls /src/e | wc -l");
  auto quick = busybox("true");
  quick.inputs.push_back({upload(agent, folder), "/src"});
  spec.inputs = quick.inputs;
  spec.outputs["all"].path = "/src";
  auto was_ready = [](const task& ended) {
    return ended.attempts.back().evidence.start == "cold: its files were ready on the engine";
  };
  REQUIRE(eventually([&] { return was_ready(agent.run(quick)); }, 60s));
  auto id = agent.submit(spec);
  std::string name;
  REQUIRE(eventually([&] {
    name = engine.docker("ps -q --filter label=davit.task=" + to_string(id));
    return !name.empty();
  }));
  name.pop_back();
  REQUIRE(
    eventually([&] { return engine.docker("exec " + name + " sh -c '[ ! -e /src/e ] || echo yes'") == "yes\n"; }));
  how == "stop" ? engine.stop() : engine.kill();
  engine.start();
  // The engine mounts the overlay once more, beside the container that has it.
  auto now = read_archive(agent.call("GET", "/v1/tasks/" + to_string(id) + "/files?path=/src/e/f1")).files;
  CHECK(now == std::map<std::string, std::string>{{"f1", "new\n"}});
  engine.docker("exec " + name + " touch /src/go");
  auto ended = agent.wait(id);
  INFO(ended.message);
  CHECK(ended.outcome == outcome::succeeded);
  CHECK(was_ready(ended));
  CHECK(agent.logs(id).out == "999\n");
  REQUIRE(output_of(ended, "all").state == output_state::kept);
  auto files = read_archive(agent.call("GET", "/v1/tasks/" + to_string(id) + "/outputs/all")).files;
  CHECK(files.at("e/f1") == "new\nmore\n");
  CHECK(files.at("e/f3") == "3\n");
  CHECK(!files.contains("e/f2"));
  // Docker 20.10 may forget, when it ends beside a container, that an overlay is mounted; what is in it goes all the
  // same.
  auto left = "volume ls -q --filter label=davit.used-by | grep -v '[.]tree$' || true";
  CHECK(eventually([&] { return engine.docker(left).empty(); }));
  CHECK(was_ready(agent.run(quick)));
}
