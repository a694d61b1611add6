// A fleet's files lie in a bucket: every agent has them all.
#include "fixture/file_client.hpp"
#include "fixture/test_daemon.hpp"
#include "fixture/test_database.hpp"
#include "fixture/test_s3.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

struct fleet {
  test_s3 server;
  test_database database;
  std::string store = database.url(database.create());

  test_daemon member(const std::string& name, std::vector<engine_settings> engines) const {
    auto settings = server.settings();
    return test_daemon{std::move(engines),
                       {"--davit.agent.name=\"" + name + "\"", "--davit.store.url=\"" + store + "\"",
                        "--davit.fleet.lease=9s", "--davit.blobs.url=\"" + to_string(settings) + "\"",
                        "--davit.blobs.endpoint=\"" + settings.endpoint + "\"", "--davit.blobs.path-style=true"}};
  }

  static std::vector<std::string> credentials() {
    return {std::string{"AWS_ACCESS_KEY_ID="} + test_s3::environment("AWS_ACCESS_KEY_ID"),
            std::string{"AWS_SECRET_ACCESS_KEY="} + test_s3::environment("AWS_SECRET_ACCESS_KEY")};
  }
};

std::string folder_of_files(const scratch_folder& scratch) {
  auto path = scratch / "files";
  shell("mkdir " + path + " && cd " + path
        + " && for i in $(seq 50); do mkdir d$i; head -c $((i * 1000)) /dev/urandom > d$i/f; done"
          " && head -c 12000000 /dev/urandom > large");
  return path;
}

std::string output_path(task_id id, const std::string& name) {
  return "/v1/tasks/" + to_string(id) + "/outputs/" + name;
}

} // namespace

TEST_CASE("what one agent of a fleet takes in another's engine gets, and every agent gives what comes out",
          "[fleet][files][s3]") {
  if (auto why = test_s3::unavailable(); !why.empty())
    SKIP(why);
  fleet all;
  test_engine engine{"e"};
  scratch_folder scratch;
  auto folder = folder_of_files(scratch);
  auto tree = scan(folder);
  auto a = all.member("a", {engine.settings(4)}), b = all.member("b", {});
  a.start(all.credentials());
  b.start(all.credentials());
  auto spec = busybox("cp -a /src /out && echo copied && sleep 2");
  spec.inputs.push_back({upload(b, folder, tree), "/src"});
  spec.outputs["all"].path = "/out";
  auto id = b.submit(spec);
  auto ended = b.wait(id);
  INFO(ended.message);
  REQUIRE(ended.outcome == outcome::succeeded);
  CHECK(read_archive(b.call("GET", output_path(id, "all"))).tree == through_engine(tree));

  SECTION("the server dies while outputs are collected: they are when it is back") {
    auto second = a.submit(spec);
    REQUIRE(eventually([&] { return a.logs(second).out == "copied\n"; }));
    all.server.kill();
    a.await_phase(second, "output");
    all.server.start();
    CHECK(a.wait(second).outcome == outcome::succeeded);
    CHECK(read_archive(a.call("GET", output_path(second, "all"))).tree == through_engine(tree));
  }
  SECTION("the agent dies: another takes the task over, and collects") {
    auto second = a.submit(spec);
    REQUIRE(eventually([&] { return a.logs(second).out == "copied\n"; }));
    auto c = all.member("c", {engine.settings(4)});
    c.start(all.credentials());
    a.kill();
    auto taken_over = c.wait(second);
    INFO(taken_over.message);
    CHECK(taken_over.outcome == outcome::succeeded);
    CHECK(taken_over.attempts.size() == 1);
    CHECK(read_archive(b.call("GET", output_path(second, "all"))).tree == through_engine(tree));
    CHECK(eventually([&] { return engine.leftovers().empty(); }));
  }
}

TEST_CASE("a fleet without a bucket refuses files, and runs other tasks", "[fleet][files]") {
  test_database database;
  test_daemon agent{{}, {"--davit.store.url=\"" + database.url(database.create()) + "\""}};
  agent.start();
  auto refused = agent.http("POST", "/v1/uploads");
  CHECK(refused.status == 501);
  CHECK(refused.body.find("blobs.url") != std::string::npos);
  auto spec = busybox("true");
  agent.submit(spec);
  spec.outputs["out"].path = "/out";
  CHECK_THROWS(agent.submit(spec));
}
