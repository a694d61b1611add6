// What hurts users of such systems, as they told in public trackers; what is not tested elsewhere already.
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

TEST_CASE("agents whose names begin alike leave each other's containers alone, whoever of them is restarted",
          "[pains]") {
  test_engine engine{"a"};
  std::vector<std::unique_ptr<test_agent>> agents;
  std::vector<task_id> tasks;
  std::vector<std::string> names{"worker", "worker-"};
  for (int i = 1; i <= 11; ++i)
    names.push_back("worker-" + std::to_string(i));
  for (const auto& name : names) {
    agents.push_back(std::make_unique<test_agent>(std::vector{engine.settings(1)},
                                                  [&](agent_settings& settings) { settings.name = name; }));
    tasks.push_back(agents.back()->submit(busybox("until test -e /tmp/go; do sleep 0.1; done; echo went")));
  }
  for (std::size_t i = 0; i < agents.size(); ++i)
    agents[i]->await_state(tasks[i], task_state::running);
  for (std::size_t one : {0u, 1u, 2u}) { // worker, worker-, worker-1
    agents[one]->restart();
    agents[one]->await_engine("a", engine_state::ready);
    CHECK(agents[one]->reap() == 0);
  }
  CHECK(engine.docker("ps -q | wc -l") == std::to_string(names.size()) + "\n");
  engine.docker("ps -q | xargs -n1 -I{} docker -H unix://" + engine.socket() + " exec {} touch /tmp/go");
  for (std::size_t i = 0; i < agents.size(); ++i) {
    auto ended = agents[i]->wait(tasks[i]);
    INFO(names[i] << ": " << ended.message);
    CHECK(ended.outcome == outcome::succeeded);
    CHECK(ended.attempts.size() == 1);
    CHECK(agents[i]->logs(tasks[i]).out == "went\n");
  }
}

TEST_CASE("an image's volumes go with the container, however it ended", "[pains]") {
  test_engine engine{"a"};
  engine.docker("create --name base --network none busybox:test true && docker -H unix://" + engine.socket()
                + " commit -c 'VOLUME /data /more' base volumes:test && docker -H unix://" + engine.socket()
                + " rm base");
  test_agent agent{{engine.settings(4)}};
  auto with_volumes = [](std::string script) {
    auto spec = busybox(std::move(script));
    spec.image = "volumes:test";
    spec.retry.attempts = 1;
    return spec;
  };
  CHECK(agent.run(with_volumes("echo x > /data/x")).outcome == outcome::succeeded);
  CHECK(agent.run(with_volumes("exit 3")).outcome == outcome::failed);
  auto slow = with_volumes("sleep 600");
  slow.timeout = 1s;
  slow.stop_timeout = 1s;
  CHECK(agent.run(slow).outcome == outcome::timed_out);
  auto missing = with_volumes("");
  missing.command = {"/nowhere"};
  CHECK(agent.run(missing).outcome == outcome::failed);
  auto cancelled = agent.submit(with_volumes("sleep 600"));
  agent.await_state(cancelled, task_state::running);
  CHECK(engine.docker("volume ls -q | grep -vxc -e davit-engine -e \"davit-init-.*\"") == "2\n");
  agent.cancel(cancelled);
  CHECK(agent.wait(cancelled).outcome == outcome::cancelled);
  CHECK(eventually(
    [&] { return engine.docker("volume ls -q | grep -vx -e davit-engine -e \"davit-init-.*\" || true") == ""; }));
  CHECK(engine.docker("ps -aq") == "");
}

TEST_CASE("a task that is cancelled at whatever moment ends, and leaves no container", "[pains]") {
  test_engine engine{"a"};
  cutting_proxy proxy{engine.socket()};
  auto settings = engine.settings(4);
  settings.endpoint = "unix://" + proxy.socket();
  settings.grace = 2min;
  test_agent agent{{settings}};
  agent.await_engine("a", engine_state::ready);

  SECTION("while the engine does not answer to its creation") {
    proxy.lose_answer_to("/containers/create");
    auto id = agent.submit(busybox("sleep 600"));
    agent.await_phase(id, "create");
    agent.cancel(id);
    auto ended = agent.wait(id);
    CHECK(ended.outcome == outcome::cancelled);
    CHECK_FALSE(ended.exit_code);
  }
  SECTION("while the engine does not answer to its start") {
    proxy.lose_answer_to("/start");
    auto id = agent.submit(busybox("trap 'exit 5' TERM; while true; do sleep 0.1; done"));
    agent.await_phase(id, "start");
    agent.cancel(id);
    CHECK(agent.wait(id).outcome == outcome::cancelled);
  }
  SECTION("at moments that lie close together") {
    std::vector<task_id> tasks;
    for (int i = 0; i < 60; ++i) {
      auto id = agent.submit(busybox("sleep 0.2; echo done"));
      tasks.push_back(id);
      if (i % 3 != 0)
        shell("sleep 0." + std::to_string(10 + i)); // the moment is what is tried
      agent.cancel(id);
    }
    for (auto id : tasks) {
      auto ended = agent.wait(id);
      INFO(ended.message);
      CHECK((ended.outcome == outcome::cancelled || ended.outcome == outcome::succeeded));
      CHECK(ended.attempts.size() <= 1);
    }
  }
  eventually([&] { return engine.docker("ps -aq") == ""; });
  CHECK(engine.docker("ps -a --format '{{.Names}} {{.Status}}'") == "");
}

TEST_CASE("an engine that comes up late, again and again: tasks wait for it, and each runs once", "[pains]") {
  test_engine engine{"a"};
  auto settings = engine.settings(4);
  settings.grace = 3min;
  test_agent agent{{settings}};
  for (int round = 0; round < 6; ++round) {
    engine.kill();
    auto id = agent.submit(busybox("echo round " + std::to_string(round)));
    agent.await_engine("a", engine_state::down);
    engine.launch(); // it opens its socket some time before it answers
    auto ended = agent.wait(id);
    INFO(ended.message);
    CHECK(ended.outcome == outcome::succeeded);
    CHECK(ended.attempts.size() == 1);
    CHECK(agent.logs(id).out == "round " + std::to_string(round) + "\n");
  }
}

TEST_CASE("a child that the kernel kills for the memory limit is told of, whatever its parent makes of it", "[pains]") {
  test_engine engine{"a"};
  test_agent agent{{engine.settings(4)}};
  auto spec = busybox("tail /dev/zero; echo the child ended with $?; exit 3");
  spec.resources.memory = byte_size{16 << 20};
  auto failed = agent.run(spec);
  CHECK(failed.outcome == outcome::oom_killed);
  CHECK(failed.exit_code == 3);
  CHECK(agent.logs(failed.id).out == "the child ended with 137\n");
  spec.command = {"sh", "-c", "tail /dev/zero; exit 0"};
  auto mended = agent.run(spec);
  CHECK(mended.outcome == outcome::succeeded);
  CHECK(mended.exit_code == 0);
  CHECK(mended.message.find("memory limit") != std::string::npos);
  CHECK(mended.attempts.back().evidence.note.find("memory limit") != std::string::npos);
  CHECK(agent.metric("davit_attempts_memory_kills_total") == 2);
}

TEST_CASE("a timeout is tried again if the retry policy names it", "[pains]") {
  test_engine engine{"a"};
  test_agent agent{{engine.settings(2)}};
  auto spec = busybox("sleep 30");
  spec.timeout = 200ms;
  spec.stop_timeout = 100ms;
  spec.retry.attempts = 3;
  spec.retry.on = {outcome::timed_out};
  spec.retry.backoff = {10ms, 20ms};
  for (auto start : {start_mode::automatic, start_mode::cold}) {
    spec.start = start;
    auto ended = agent.run(spec);
    CHECK(ended.outcome == outcome::timed_out);
    CHECK(ended.attempts.size() == 3);
  }
}
