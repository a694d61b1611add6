// What the store's disk can do: each is told, and nothing that was accepted is lost.
#include "fixture/small_disk.hpp"
#include "fixture/test_daemon.hpp"
#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

engine_settings nowhere() {
  engine_settings engine;
  engine.name = "nowhere";
  engine.endpoint = "unix:///nonexistent/docker.sock";
  engine.grace = 10s;
  return engine;
}

std::string read_file(const std::string& name) {
  std::ostringstream all;
  all << std::ifstream{name, std::ios::binary}.rdbuf();
  return all.str();
}

} // namespace

TEST_CASE("a store that is damaged is refused at the start, left as it is, and the message says how to restore it",
          "[store]") {
  test_daemon agent{{nowhere()}};
  agent.start();
  for (int i = 0; i < 200; ++i)
    agent.submit(busybox("true"));
  agent.kill();
  auto file = agent.data() + "/davit.db";
  std::filesystem::remove(file + "-wal"); // all is in one file then, or lost: it is damaged anyway
  std::filesystem::remove(file + "-shm");
  {
    std::fstream damage{file, std::ios::in | std::ios::out | std::ios::binary};
    damage.seekp(0);
    damage << std::string(200, 'x');
  }
  auto before = read_file(file);
  agent.launch();
  auto end = agent.wait_end();
  CHECK(end.exit_code == 1);
  CHECK(end.err.find("is damaged") != std::string::npos);
  CHECK(end.err.find("restore a backup") != std::string::npos);
  CHECK(read_file(file) == before);
}

TEST_CASE("a store of a newer davit is refused and left as it is", "[store]") {
  test_daemon agent{{nowhere()}};
  std::filesystem::create_directories(agent.data());
  agent.start();
  agent.kill();
  shell("sqlite3 " + agent.data() + "/davit.db 'PRAGMA user_version = 99'");
  agent.launch();
  auto end = agent.wait_end();
  CHECK(end.exit_code == 1);
  CHECK(end.err.find("run a newer davit") != std::string::npos);
}

TEST_CASE("a full disk: nothing is accepted and nothing that was is lost; with room again all goes on", "[store]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(2)}, {"--davit.agent.min-free-disk=1m"}};
  small_disk disk{agent.data(), "6m"};
  agent.start();
  agent.await_engine("a", engine_state::ready);
  auto running = agent.submit(busybox("for i in $(seq 60); do echo line $i; sleep 0.1; done; exit 9"));
  agent.await_state(running, task_state::running);
  shell("head -c 20m /dev/zero > " + disk.where + "/filler 2>/dev/null; true");
  std::vector<task_id> accepted;
  bool refused = false;
  for (int i = 0; i < 200 && !refused; ++i) {
    auto answer
      = agent.http("POST", "/v1/tasks", {},
                   R"({"image":"busybox:test","command":["true"],"env":{"A":")" + std::string(4000, 'x') + R"("}})");
    if (answer.status == 202) {
      uuid id;
      REQUIRE(from_string(answer.body.substr(answer.body.find("\"id\":\"") + 6, 36), id));
      accepted.push_back(id);
    } else {
      CHECK(answer.status == 503);
      CHECK((answer.body.find("the agent's log says why") != std::string::npos
             || answer.body.find("min-free-disk") != std::string::npos));
      refused = true;
    }
  }
  CHECK(refused);
  CHECK(eventually([&] { return agent.http("GET", "/readyz").body.find("min-free-disk") != std::string::npos; }));
  shell("sleep 7"); // the container ends while nothing can be written
  CHECK(agent.find(running).state != task_state::finished);
  std::filesystem::remove(disk.where + "/filler");
  auto ended = agent.wait(running);
  CHECK(ended.exit_code == 9);
  std::string expected;
  for (int i = 1; i <= 60; ++i)
    expected += "line " + std::to_string(i) + "\n";
  CHECK(agent.logs(running).out == expected);
  for (auto id : accepted)
    CHECK(agent.wait(id).outcome == outcome::succeeded);
}

TEST_CASE("a disk that fills up again and again while a task prints costs its log no byte", "[store]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(2)}, {"--davit.agent.min-free-disk=0"}};
  small_disk disk{agent.data(), "60m"};
  agent.start();
  agent.await_engine("a", engine_state::ready);
  auto id = agent.submit(busybox("i=0; while [ $i -lt 400 ]; do seq $((i*500)) $((i*500+499)); i=$((i+1)); "
                                 "[ $((i%4)) = 0 ] && sleep 0.05; done; until [ -e /go ]; do sleep 0.1; done; exit 9"));
  auto seed = static_cast<std::uint_fast32_t>(std::random_device{}());
  INFO(seed);
  std::minstd_rand random{seed};
  auto filler = disk.where + "/filler";
  for (int round = 0; round < 12 && agent.find(id).state != task_state::finished; ++round) {
    shell("head -c 80m /dev/zero > " + filler + " 2>/dev/null; true");
    // Room for a few records here and there: a small piece fits where a large one has not.
    for (int i = 0; i < 6; ++i)
      shell("sleep 0.0" + std::to_string(1 + random() % 9) + "; truncate -s -"
            + std::to_string(4096 * (1 + random() % 3)) + " " + filler);
    std::filesystem::remove(filler);
    shell("sleep 0." + std::to_string(1 + random() % 4));
  }
  std::string expected;
  for (int i = 0; i < 200'000; ++i)
    expected += std::to_string(i) + '\n';
  // While the task runs: whoever follows it sees all again. (A megabyte: not to be printed.)
  CHECK(eventually([&] { return agent.logs(id).out == expected; }, 60s));
  engine.docker("exec $(docker -H unix://" + engine.socket() + " ps -q --filter label=davit.task) touch /go");
  CHECK(agent.wait(id).exit_code == 9);
  CHECK((agent.logs(id).out == expected));
}

TEST_CASE("an agent that is killed on a full disk starts again: it shows and serves what it has, accepts nothing, "
          "finishes what ends",
          "[store]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(2)}, {"--davit.agent.min-free-disk=1m"}};
  small_disk disk{agent.data(), "6m"};
  agent.start();
  agent.await_engine("a", engine_state::ready);
  auto before = agent.run(busybox("echo before; head -c 300000 /dev/zero | tr '\\0' x"));
  REQUIRE(before.outcome == outcome::succeeded);
  auto running = agent.submit(busybox("echo begun; sleep 8; echo end; exit 9"));
  REQUIRE(eventually([&] { return agent.logs(running).out == "begun\n"; }));
  // Whatever was left behind, or not: the file of SQLite's shared memory can't be made on a full disk.
  auto shared_memory = GENERATE(true, false);
  CAPTURE(shared_memory);
  shell("head -c 20m /dev/zero > " + disk.where + "/filler 2>/dev/null; true");
  agent.kill();
  if (!shared_memory) {
    std::filesystem::remove(agent.data() + "/davit.db-shm");
    shell("head -c 20m /dev/zero >> " + disk.where + "/filler 2>/dev/null; true");
  }
  agent.start();
  CHECK(agent.find(before.id).outcome == outcome::succeeded);
  CHECK(agent.logs(before.id).out.starts_with("before\n"));
  CHECK(agent.http("GET", "/healthz").status == 200);
  CHECK(eventually([&] { return agent.http("GET", "/readyz").status == 503; }));
  auto refused
    = agent.http("POST", "/v1/tasks", {},
                 R"({"image":"busybox:test","command":["true"],"env":{"A":")" + std::string(4000, 'x') + R"("}})");
  CHECK(refused.status == 503);
  auto engines = run_process({DAVIT_BINARY, "engines", "--host", "unix://" + agent.socket()});
  CHECK(engines.out.find("min-free-disk") != std::string::npos);
  shell("sleep 9"); // the container ends meanwhile
  std::filesystem::remove(disk.where + "/filler");
  auto ended = agent.wait(running);
  CHECK(ended.exit_code == 9);
  CHECK(agent.logs(running).out == "begun\nend\n");
  CHECK(agent.run(busybox("exit 3")).exit_code == 3);
}

TEST_CASE("a store that is locked for a while makes writers wait, not fail", "[store]") {
  test_daemon agent{{nowhere()}};
  agent.start();
  auto first = agent.submit(busybox("true"));
  process locker{{"/bin/sh", "-c",
                  "(echo 'BEGIN IMMEDIATE;'; echo '.shell echo locked'; sleep 3; echo 'ROLLBACK;') | sqlite3 "
                    + agent.data() + "/davit.db"}};
  REQUIRE(locker.await_out("locked"));
  auto second = agent.submit(busybox("true"));
  CHECK(agent.find(first).state == task_state::queued);
  CHECK(agent.find(second).state == task_state::queued);
  locker.wait();
}

TEST_CASE("a disk whose every sync takes a second: writes share the waits, and no task comes to harm", "[store]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(8)}};
  agent.start({"LD_PRELOAD=" DAVIT_POWER_CUT, "DAVIT_SLOW_SYNC=1000"});
  agent.await_engine("a", engine_state::ready);
  std::vector<std::thread> submitters;
  std::vector<task_id> accepted(40);
  for (std::size_t i = 0; i < accepted.size(); ++i)
    submitters.emplace_back([&, i] {
      // Each a client of its own, as users are.
      auto answer = run_process({DAVIT_BINARY, "submit", "--host", "unix://" + agent.socket(), "--network", "none",
                                 "busybox:test", "--", "sh", "-c",
                                 "echo task " + std::to_string(i) + "; exit " + std::to_string(i % 7)});
      if (answer.exit_code == 0)
        from_string(answer.out.substr(0, 36), accepted[i]);
    });
  for (auto& one : submitters)
    one.join();
  for (std::size_t i = 0; i < accepted.size(); ++i) {
    REQUIRE(accepted[i] != task_id{});
    auto ended = agent.wait(accepted[i], 5min);
    INFO(ended.message);
    CHECK(ended.exit_code == static_cast<std::int64_t>(i % 7));
    CHECK(ended.attempts.size() == 1);
    CHECK(agent.logs(accepted[i]).out == "task " + std::to_string(i) + "\n");
  }
  // One by one, forty tasks would have taken a hundred commits and more.
  CHECK(agent.metric("davit_store_commit_seconds_count") < 100);
}

TEST_CASE("a power cut: whatever was answered before it is there, though all that was not synced is gone", "[store]") {
  int answered = 0;
  for (int round = 0; round < 8; ++round) {
    test_daemon agent{{nowhere()}};
    scratch_folder synced;
    agent.start({"LD_PRELOAD=" DAVIT_POWER_CUT, "DAVIT_POWER_CUT_FROM=" + agent.data(),
                 "DAVIT_POWER_CUT_TO=" + synced.path().string()});
    std::vector<task_id> accepted;
    std::thread cut{[&, wait = 150 * (round + 1)] {
      std::this_thread::sleep_for(std::chrono::milliseconds{wait}); // the moment is what is tried
      agent.signal(SIGKILL);
    }};
    try {
      while (true)
        accepted.push_back(agent.submit(busybox("true")));
    } catch (const std::exception&) {
      // The line is dead.
    }
    cut.join();
    agent.wait_end();
    REQUIRE_FALSE(accepted.empty());
    // The machine comes up with what its disk holds.
    std::filesystem::remove_all(agent.data());
    std::filesystem::create_directories(agent.data());
    for (auto name : {"davit.db", "davit.db-wal"})
      if (std::filesystem::exists(synced / name))
        std::filesystem::copy_file(synced / name, agent.data() + "/" + name);
    agent.start();
    for (auto id : accepted)
      REQUIRE(agent.http("GET", "/v1/tasks/" + to_string(id)).status == 200);
    answered += static_cast<int>(accepted.size());
  }
  WARN(answered << " tasks were accepted before 8 power cuts, and all of them were there");
}

TEST_CASE("a power cut: the log of every task whose end was told is whole, small ones and large ones", "[store]") {
  test_engine engine{"e"};
  test_daemon agent{{engine.settings(8)}};
  scratch_folder synced;
  agent.start({"LD_PRELOAD=" DAVIT_POWER_CUT, "DAVIT_POWER_CUT_FROM=" + agent.data(),
               "DAVIT_POWER_CUT_TO=" + synced.path().string()});
  std::vector<std::pair<task_id, std::string>> tasks;
  for (int i = 0; i < 12; ++i) {
    std::string text = "task " + std::to_string(i) + "\n";
    std::string command = "echo task " + std::to_string(i);
    if (i % 4 == 3) {
      text += std::string(40'000, 'x');
      command += "; head -c 40000 /dev/zero | tr '\\0' x";
    }
    tasks.emplace_back(agent.submit(busybox(command)), text);
  }
  for (const auto& [id, text] : tasks)
    REQUIRE(agent.wait(id).outcome == outcome::succeeded);
  agent.kill();
  // The machine comes up with what its disk holds: not the logs' own files, but for those that were synced.
  std::filesystem::remove_all(agent.data());
  std::filesystem::create_directories(agent.data());
  for (auto name : {"davit.db", "davit.db-wal", "logs"})
    std::filesystem::copy(synced / name, agent.data() + "/" + name, std::filesystem::copy_options::recursive);
  auto journal = std::fstream{agent.data() + "/logs/journal", std::ios::in | std::ios::out | std::ios::binary};
  std::string line;
  REQUIRE(std::getline(journal, line));
  REQUIRE(line.size() > 36);
  journal.seekp(static_cast<std::streamoff>(line.size()) - 36);
  journal << std::string(36, '0') << std::flush; // written in another boot
  agent.start();
  for (const auto& [id, text] : tasks) {
    CHECK(agent.find(id).outcome == outcome::succeeded);
    CHECK(agent.logs(id).out == text);
  }
}
