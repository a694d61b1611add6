// Caches at every point where an agent can die: a task sees one of them, whole, and leaves one, whole.
#include "actors/crash_point.hpp"
#include "fixture/file_client.hpp"
#include "fixture/test_daemon.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <csignal>

using namespace davit;
using namespace davit::test;

namespace {

task_spec with_cache(std::string script, std::string key, std::vector<std::string> restore = {}) {
  auto spec = busybox(std::move(script));
  spec.caches.push_back({std::move(key), "/cache", std::move(restore), {}});
  return spec;
}

std::string making(const std::string& what) {
  return "for i in $(seq 200); do echo " + what + " > /cache/" + what + "$i; done";
}

const char* const show = "ls /cache | wc -l; cat /cache/* | sort | uniq -c; ";

} // namespace

TEST_CASE("kill -9 of the agent at every point: a task begins with one whole cache, and leaves one", "[crash][files]") {
  static const test_engine engine{"a"};
  auto start = GENERATE(start_mode::cold, start_mode::warm);
  auto settings = engine.settings(4);
  settings.sandboxes = 1;
  for (auto point : cache_crash_points) {
    INFO("kill -9 at: " << point << ", " << to_string(start));
    scratch_folder folder;
    test_daemon agent{{settings}, {}, DAVIT_CRASHING};
    agent.start({"DAVIT_CRASH_AT=" + std::string{point}, "DAVIT_CRASH_IF=" + (folder / "now")});
    agent.await_engine("a", engine_state::ready);
    REQUIRE(agent.run(with_cache(making("good"), "old-1")).outcome == outcome::succeeded);
    REQUIRE(agent.run(with_cache(making("bad"), "bad")).outcome == outcome::succeeded);
    shell("touch " + (folder / "now"));
    auto spec = with_cache(show + making("new"), "new", {"old-"});
    spec.start = start;
    spec.dedupe_key = "the one"; // of a client that got no answer, and asks again
    try {
      agent.submit(spec);
    } catch (const std::exception&) {
      CHECK(point == "caches chosen"); // later than that the answer is out
    }
    REQUIRE(agent.wait_end().exit_code == 128 + 9);
    // Meanwhile there is a newer one, of other files.
    shell("sqlite3 " + agent.data()
          + "/davit.db \"INSERT INTO blob_cache SELECT owner, scope, 'old-2', digest, files, "
            "bytes, task, created_at + 1000000000, used_at FROM blob_cache WHERE name = 'bad'\"");
    agent.start();
    auto id = agent.submit(spec);
    auto ended = agent.wait(id);
    INFO(ended.message << ' ' << ended.attempts.back().evidence.start);
    CHECK(ended.outcome == outcome::succeeded);
    CHECK(ended.attempts.size() == 1);
    REQUIRE(ended.attempts.back().caches.size() == 1);
    const auto& used = ended.attempts.back().caches.front();
    CHECK(used.restored == "old-1");
    CHECK(used.kept);
    auto log = agent.logs(id).out;
    CHECK(log.starts_with("200\n"));
    CHECK(log.find("200 good\n") != std::string::npos);
    auto after = agent.logs(agent.run(with_cache(show, "new")).id).out;
    CHECK(after.starts_with("400\n"));
    CHECK(after.find("200 good\n") != std::string::npos);
    CHECK(after.find("200 new\n") != std::string::npos);
    agent.signal(SIGTERM);
    CHECK(agent.wait_end().exit_code == 0);
    CHECK(engine.docker("ps -aq") == "");
    CHECK(engine.leftovers() == "");
  }
}
