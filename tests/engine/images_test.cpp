// Which image a task gets: the one that its name was judged as.
#include "cli/task_flags.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/test_registry.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace davit;
using namespace davit::test;

namespace {

std::string id_of(const test_engine& engine, const std::string& image) {
  auto id = engine.docker("image inspect -f '{{.Id}}' " + image);
  return id.substr(0, id.find('\n'));
}

} // namespace

TEST_CASE("an image's id, or its beginning, is no way around the names that the policy allows", "[images]") {
  auto start = GENERATE(start_mode::warm, start_mode::cold);
  test_engine engine{"a"};
  auto settings = engine.settings(2);
  settings.sandboxes = start == start_mode::warm ? 2 : 0;
  test_agent agent{{settings}, [](agent_settings& s) { s.policy.images_allow = {"docker.io/library/.*"}; }};
  auto id = id_of(engine, "busybox:test");
  REQUIRE(id.size() == 71);
  auto spec = busybox("echo ran");
  spec.start = start;
  spec.pull = pull_policy::never;
  CHECK(agent.run(spec).outcome == outcome::succeeded);
  for (std::size_t digits : {4, 12, 63}) {
    spec.image = id.substr(7, digits); // is the name of a repository at Docker Hub
    auto ended = agent.run(spec);
    CAPTURE(spec.image, ended.message);
    CHECK(ended.outcome == outcome::image_unavailable);
    CHECK(ended.message.find("docker.io/library/" + spec.image + ":latest") != std::string::npos);
  }
  for (auto text : {id, id.substr(7), id.substr(0, 20)}) {
    spec.image = text;
    auto refused = agent.http("POST", "/v1/tasks", {}, submission(spec));
    CHECK(refused.status == 403);
    CHECK(refused.body.find("image.reference") != std::string::npos);
  }
}

TEST_CASE("where the policy allows ids, an image that the engine has can be named by its whole id", "[images]") {
  auto start = GENERATE(start_mode::warm, start_mode::cold);
  test_engine engine{"a"};
  auto settings = engine.settings(2);
  settings.sandboxes = start == start_mode::warm ? 2 : 0;
  test_agent agent{{settings}, [](agent_settings& s) { s.policy.allow_ids = true; }};
  auto spec = busybox("echo ran");
  spec.start = start;
  spec.image = id_of(engine, "busybox:test");
  CHECK(agent.logs(agent.run(spec).id).out == "ran\n");
  spec.image = "sha256:" + std::string(64, '7');
  auto ended = agent.run(spec); // nor is anything else asked of a registry
  CHECK(ended.outcome == outcome::image_unavailable);
  CHECK(ended.message.find("an id can't be pulled") != std::string::npos);
}

TEST_CASE("an image is found under each way to write its name", "[images]") {
  test_engine engine{"a"};
  test_agent agent{{engine.settings(2)}};
  engine.docker("tag busybox:test localhost/local:1");
  engine.docker("tag busybox:test 127.0.0.1:5000/folder/local");
  for (auto name : {"busybox:test", "library/busybox:test", "docker.io/busybox:test",
                    "index.docker.io/library/busybox:test", "localhost/local:1", "127.0.0.1:5000/folder/local"}) {
    auto spec = busybox("echo ran");
    spec.image = name;
    spec.pull = pull_policy::never;
    auto ended = agent.run(spec);
    CAPTURE(name, ended.message);
    CHECK(ended.outcome == outcome::succeeded);
    CHECK(agent.find(ended.id).spec.image == name); // shown as it was submitted
  }
}

TEST_CASE("each attempt tells which image it ran, however its container came to be", "[images][restart]") {
  struct way {
    const char* name;
    start_mode start;
    bool init, restarted;
  };
  auto how
    = GENERATE(way{"cold", start_mode::cold, true, false}, way{"without an init", start_mode::cold, false, false},
               way{"warm", start_mode::warm, true, false}, way{"cold, resumed", start_mode::cold, true, true},
               way{"without an init, resumed", start_mode::cold, false, true});
  auto pull = GENERATE(false, true);
  test_engine engine{"a"};
  auto settings = engine.settings(2);
  settings.sandboxes = how.start == start_mode::warm ? 2 : 0;
  test_agent agent{{settings}};
  auto id = id_of(engine, "busybox:test");
  std::optional<test_registry> registry;
  auto spec = busybox(how.restarted ? "sleep 3" : "true");
  spec.start = how.start;
  spec.init = how.init;
  if (pull) {
    registry.emplace();
    registry->push(engine, "kept/busybox:1");
    spec.image = registry->image("kept/busybox:1");
  }
  INFO(how.name << (pull ? ", pulled" : ""));
  auto task = agent.submit(spec);
  if (how.restarted) {
    agent.await_state(task, task_state::running);
    CHECK(agent.find(task).attempts.back().image_id == id); // while it runs, too
    agent.restart();
  }
  auto ended = agent.wait(task);
  CHECK(ended.outcome == outcome::succeeded);
  REQUIRE(ended.attempts.size() == 1);
  CHECK(ended.attempts.back().image_id == id);
}
