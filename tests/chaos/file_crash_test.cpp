// Promise 15 at every point where an agent can die: what goes in and comes out is whole, and each output is there once.
#include "actors/crash_point.hpp"
#include "fixture/file_client.hpp"
#include "fixture/test_daemon.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <csignal>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

const char* const some_files = "for i in $(seq 40); do mkdir -p d$i; head -c $((i * 500)) /dev/urandom > d$i/f; done";

struct folder_of_files {
  scratch_folder scratch;
  std::string path = scratch / "files";
  blobs::tree tree;

  folder_of_files() {
    shell("mkdir " + path + " && cd " + path + " && " + some_files);
    tree = scan(path);
  }
};

task_spec spec_for(const std::string& tree, start_mode start) {
  auto spec = busybox("cp -a /src /out && cp -a /src/d3 /more && exit 7");
  spec.inputs = {{tree, "/src"}, {tree, "/other"}};
  spec.outputs["all"].path = "/out";
  spec.outputs["more"].path = "/more";
  spec.start = start;
  spec.dedupe_key = "the one";
  return spec;
}

void check_outputs(test_daemon& agent, const task& ended, const blobs::tree& expected) {
  CHECK(ended.outcome == outcome::failed);
  CHECK(ended.exit_code == 7);
  CHECK(ended.attempts.size() == 1);
  REQUIRE(ended.attempts.back().outputs.size() == 2);
  auto path = "/v1/tasks/" + to_string(ended.id) + "/outputs/";
  CHECK(read_archive(agent.call("GET", path + "all")).tree == through_engine(expected));
  CHECK(read_archive(agent.call("GET", path + "more")).files.at("f").size() == 1500);
}

} // namespace

TEST_CASE("kill -9 of the agent at every point: inputs are whole, and each output is there once", "[crash][files]") {
  static const test_engine engine{"a"};
  static const folder_of_files files;
  auto start = GENERATE(start_mode::cold, start_mode::warm);
  auto settings = engine.settings(4);
  settings.sandboxes = 1;
  for (auto point : file_crash_points) {
    INFO("kill -9 at: " << point << ", " << to_string(start));
    scratch_folder folder;
    test_daemon agent{{settings}, {}, DAVIT_CRASHING};
    agent.start({"DAVIT_CRASH_AT=" + std::string{point}, "DAVIT_CRASH_IF=" + (folder / "now")});
    agent.await_engine("a", engine_state::ready);
    auto tree = upload(agent, files.path, files.tree);
    shell("touch " + (folder / "now"));
    auto id = agent.submit(spec_for(tree, start));
    REQUIRE(agent.wait_end().exit_code == 128 + 9);
    agent.start();
    auto ended = agent.wait(id);
    INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
    check_outputs(agent, ended, files.tree);
    agent.signal(SIGTERM); // draining, it gives its sandboxes up
    CHECK(agent.wait_end().exit_code == 0);
    CHECK(engine.docker("ps -aq") == "");
    CHECK(engine.leftovers() == "");
  }
}

TEST_CASE("kill -9 of the agent during an upload: nothing of it is seen, and the next one brings what is missing",
          "[crash][files]") {
  static const folder_of_files files;
  for (auto point : {"pack begun", "pack committed", "pack ended", "tree kept"}) {
    INFO("kill -9 at: " << point);
    test_daemon agent{{}, {}, DAVIT_CRASHING};
    agent.start({"DAVIT_CRASH_AT=" + std::string{point}});
    CHECK_THROWS(upload(agent, files.path, files.tree));
    REQUIRE(agent.wait_end().exit_code == 128 + 9);
    agent.start();
    auto tree = upload(agent, files.path, files.tree, 2);
    CHECK(read_archive(agent.call("GET", "/v1/trees/" + tree)).tree == files.tree);
  }
}
