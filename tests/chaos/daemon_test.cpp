// The agent as a process: drain, signals, deadlines over a restart, what belongs to nobody.
#include "fixture/test_daemon.hpp"
#include "fixture/test_registry.hpp"

#include <catch2/catch_test_macros.hpp>

#include <csignal>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

TEST_CASE("SIGTERM drains: what runs ends, nothing new begins, and the agent leaves with 0", "[drain]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(1)}};
  agent.start();
  auto running = agent.submit(busybox("sleep 2; echo done; exit 4"));
  auto queued = agent.submit(busybox("echo later"));
  agent.await_state(running, task_state::running);
  agent.signal(SIGTERM);
  CHECK(eventually([&] { return agent.http("GET", "/readyz").status == 503; }));
  CHECK(agent.http("POST", "/v1/tasks", {}, R"({"image":"busybox:test"})").status == 503);
  auto end = agent.wait_end();
  INFO(end.err);
  CHECK(end.exit_code == 0);
  agent.start();
  auto ended = agent.wait(running);
  CHECK(ended.exit_code == 4);
  CHECK(agent.logs(running).out == "done\n");
  CHECK(agent.wait(queued).outcome == outcome::succeeded);
  CHECK(agent.find(queued).attempts.size() == 1);
}

TEST_CASE("when the drain timeout is over, what runs is left running, and taken up by the next start", "[drain]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(1)}, {"--davit.agent.drain-timeout=300ms"}};
  agent.start();
  auto id = agent.submit(busybox("for i in $(seq 30); do echo $i; sleep 0.1; done; exit 5"));
  agent.await_state(id, task_state::running);
  agent.signal(SIGTERM);
  CHECK(agent.wait_end().exit_code == 0);
  CHECK(engine.docker("ps -q") != "");
  agent.start();
  auto ended = agent.wait(id);
  CHECK(ended.exit_code == 5);
  CHECK(ended.attempts.size() == 1);
  std::string expected;
  for (int i = 1; i <= 30; ++i)
    expected += std::to_string(i) + "\n";
  CHECK(agent.logs(id).out == expected);
}

TEST_CASE("or it is stopped, if the configuration says so; the task is tried again by its policy", "[drain]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(1)}, {"--davit.agent.drain-timeout=300ms", "--davit.agent.drain-action=stop"}};
  agent.start();
  auto spec = busybox("test $DAVIT_ATTEMPT = 2 && exit 0; echo first; sleep 600");
  spec.retry.backoff = {10ms, 10ms};
  auto id = agent.submit(spec);
  agent.await_state(id, task_state::running);
  agent.signal(SIGTERM);
  CHECK(agent.wait_end().exit_code == 0);
  CHECK(engine.docker("ps -aq") == "");
  agent.start();
  auto ended = agent.wait(id);
  CHECK(ended.outcome == outcome::succeeded);
  REQUIRE(ended.attempts.size() == 2);
  CHECK(ended.attempts[0].outcome == outcome::agent_lost);
  CHECK(ended.attempts[0].message.find("shut down") != std::string::npos);
  CHECK(agent.logs(id, 1).out == "first\n"); // each attempt keeps its own log
}

TEST_CASE("a stop that a drain has begun is the drain's, also if the agent dies over it", "[drain]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(1)}, {"--davit.agent.drain-timeout=300ms", "--davit.agent.drain-action=stop"}};
  for (auto late : {false, true}) {
    agent.start();
    auto spec = busybox("test $DAVIT_ATTEMPT = 2 && exit 0; trap '' TERM; echo first; while :; do sleep 1; done");
    spec.stop_timeout = 2s;
    spec.retry.backoff = {10ms, 10ms};
    auto id = agent.submit(spec);
    agent.await_state(id, task_state::running);
    agent.signal(SIGTERM);
    REQUIRE(eventually([&] { return !agent.find(id).attempts.at(0).evidence.kills.empty(); }));
    agent.kill();
    if (late)
      REQUIRE(eventually([&] { return engine.docker("ps -q") == ""; }));
    agent.start();
    auto ended = agent.wait(id);
    INFO(ended.attempts[0].message << "; " << ended.attempts[0].evidence.note);
    CHECK(ended.outcome == outcome::succeeded);
    REQUIRE(ended.attempts.size() == 2);
    CHECK(ended.attempts[0].outcome == outcome::agent_lost);
    CHECK_FALSE(ended.attempts[0].evidence.kills.empty());
    agent.kill();
  }
}

TEST_CASE("a second signal ends the agent now", "[drain]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(1)}};
  agent.start();
  auto id = agent.submit(busybox("sleep 600"));
  agent.await_state(id, task_state::running);
  agent.signal(SIGTERM);
  CHECK(eventually([&] { return agent.http("GET", "/readyz").status == 503; }));
  agent.signal(SIGTERM);
  CHECK(agent.wait_end().exit_code == 0);
  agent.start();
  agent.cancel(id);
  CHECK(agent.wait(id).outcome == outcome::cancelled);
}

TEST_CASE("a timeout that is over while no agent runs is kept by the next start", "[deadlines]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(2)}};
  agent.start();
  auto spec = busybox("sleep 600");
  spec.timeout = 2s;
  auto late = agent.submit(spec);
  spec = busybox("sleep 1; exit 3");
  spec.timeout = 600s;
  auto in_time = agent.submit(spec);
  agent.await_state(late, task_state::running);
  agent.await_state(in_time, task_state::running);
  agent.kill();
  shell("sleep 3");
  agent.start();
  auto ended = agent.wait(late);
  CHECK(ended.outcome == outcome::timed_out);
  CHECK(eventually([&] {
    return engine.docker("ps -aq --filter label=davit.task=" + to_string(late)) == "";
  })); // reported, then removed
  CHECK(agent.wait(in_time).exit_code == 3);
}

TEST_CASE("a queue timeout ends what waits, also over a restart; what runs is none of its business", "[deadlines]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(1)}};
  agent.start();
  auto spec = busybox("sleep 4; exit 2");
  spec.queue_timeout = 60s;
  auto running = agent.submit(spec);
  agent.await_state(running, task_state::running);
  spec = busybox("true");
  spec.queue_timeout = 1s;
  auto waiting = agent.submit(spec);
  agent.kill();
  shell("sleep 1.2");
  agent.start();
  auto ended = agent.wait(waiting);
  CHECK(ended.outcome == outcome::timed_out);
  CHECK(ended.attempts.empty());
  CHECK(ended.message.find("queue_timeout") != std::string::npos);
  CHECK(agent.wait(running).exit_code == 2);
}

TEST_CASE("a queued task says why it waits, and an engine that is free does not say that it is about to run it") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(1)}};
  agent.start();
  auto spec = busybox("exit 3");
  spec.retry.on = {outcome::failed};
  spec.retry.attempts = 2;
  spec.retry.backoff.least = spec.retry.backoff.most = 1h;
  auto id = agent.submit(spec);
  std::string said;
  CHECK(eventually([&] {
    said = agent.http("GET", "/v1/tasks/" + to_string(id)).body;
    return said.find("the next attempt starts at") != std::string::npos;
  }));
  INFO(said);
  CHECK(said.find(R"({"engine":"a","reason":"it can run the task then"})") != std::string::npos);
}

TEST_CASE("a pull that hangs has its timeout counted over the agent's restart", "[deadlines]") {
  test_engine engine{"a"};
  silent_listener registry;
  test_daemon agent{{engine.settings(1)}};
  agent.start();
  auto spec = busybox("true");
  spec.image = "localhost:" + std::to_string(registry.port()) + "/never:1";
  spec.pull_timeout = 4s;
  auto id = agent.submit(spec);
  agent.await_phase(id, "pull");
  agent.kill();
  shell("sleep 4");
  agent.start();
  auto ended = agent.wait(id, 20s);
  CHECK(ended.outcome == outcome::image_unavailable);
  CHECK(ended.message.find("the pull took longer than 4s") != std::string::npos);
}

TEST_CASE(
  "what is davit's and nobody's is removed; what only looks like it, and what is another agent's, is not touched",
  "[reaper]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(4)}};
  agent.start();
  auto labels = [](const std::string& task, const std::string& agent, const std::string& fleet) {
    return " --label davit.task=" + task + " --label davit.attempt=1 --label davit.agent=" + agent
         + " --label davit.fleet=" + fleet + " ";
  };
  auto make = [&](const std::string& name, const std::string& more) {
    engine.docker("run -d --network none --name " + name + more + " busybox:test sleep 600");
  };
  const std::string nobody = "01a20d32-0000-7000-8000-000000000001";
  auto finished = agent.run(busybox("true"));
  auto running = agent.submit(busybox("sleep 60"));
  agent.await_state(running, task_state::running);
  agent.kill(); // or it would remove some of them before the next one counts
  make("unknown", labels(nobody, "test", "default"));
  engine.docker("create --network none -v /data --name ended" + labels(to_string(finished.id), "test", "default")
                + " busybox:test true");
  make("plain", " ");
  make("davit-" + nobody + "-1", " ");                     // a name is no label
  make("other-agent", labels(nobody, "test2", "default")); // not worker-11 for worker-1
  make("other-fleet", labels(nobody, "test", "default2"));
  make("half", " --label davit.agent=test --label davit.fleet=default "); // says of no attempt
  agent.start();                                                          // looks at once, not in half a minute
  CHECK(eventually([&] {
    auto left = engine.docker("ps -a --format '{{.Names}}'");
    return left.find("unknown") == std::string::npos && left.find("ended") == std::string::npos;
  }));
  auto left = engine.docker("ps -a --format '{{.Names}}'");
  for (auto name : {"plain", "other-agent", "other-fleet", "half"})
    CHECK(left.find(name) != std::string::npos);
  CHECK(left.find("davit-" + nobody) != std::string::npos);
  CHECK(left.find("davit-" + to_string(running)) != std::string::npos);
  CHECK(engine.docker("volume ls -q | grep -v -x -e davit-engine -e 'davit-init-.*' || true")
        == ""); // its anonymous volume went with it
  CHECK(eventually(
    [&] { return agent.metric("davit_orphans_removed_total") == 2; })); // counted when the engine has answered
  agent.cancel(running);
  CHECK(agent.wait(running).outcome == outcome::cancelled);
}

TEST_CASE("two agents on the same data: the second is refused, the first does not notice", "[daemon]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(1)}};
  agent.start();
  auto second = run_process({DAVIT_BINARY, "agent", "--config-file=" + agent.config()});
  CHECK(second.exit_code == 1);
  CHECK(second.err.find("another agent uses the data directory") != std::string::npos);
  CHECK(agent.run(busybox("exit 3")).exit_code == 3);
}

TEST_CASE("an engine that is short of disk is given nothing, and everybody is told why", "[daemon]") {
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(1)}, {"--davit.engines.a.min-free-disk=900000g"}};
  agent.start();
  agent.await_engine("a", engine_state::ready);
  auto id = agent.submit(busybox("true"));
  CHECK(agent.http("GET", "/v1/tasks/" + to_string(id)).body.find("less than min-free-disk") != std::string::npos);
  CHECK(agent.http("GET", "/readyz").status == 503);
  CHECK(agent.http("GET", "/readyz").body.find("less than min-free-disk") != std::string::npos);
  CHECK(agent.find(id).state == task_state::queued);
}

TEST_CASE("CAF's own endpoint serves davit's metrics, and the actors' ones where they are asked for", "[daemon]") {
  test_engine engine{"a"};
  auto port = [] {
    silent_listener listener;
    return std::to_string(listener.port());
  }();
  test_daemon agent{{engine.settings(1)},
                    {"--caf.middleman.prometheus-http.port=" + port,
                     "--caf.middleman.prometheus-http.address=127.0.0.1",
                     "--caf.metrics-filters.actors.includes=[\"*\"]"}};
  agent.start();
  agent.run(busybox("true"));
  auto page = shell("curl -sf http://127.0.0.1:" + port + "/metrics");
  CHECK(page.find("davit_tasks_total{outcome=\"succeeded\"} 1") != std::string::npos);
  CHECK(page.find("davit_attempt_phase_seconds_count{phase=\"start\"} 1") != std::string::npos);
  for (auto actor :
       {"supervisor", "scheduler", "executor", "engine_connection", "store_keeper", "log_keeper", "reaper", "api"})
    CHECK(page.find("caf_actor_mailbox_size{name=\"" + std::string{actor} + "\"}") != std::string::npos);
  CHECK(agent.http("GET", "/metrics").body.find("caf_actor_mailbox_size{name=\"scheduler\"}") != std::string::npos);
}

TEST_CASE("an engine short of disk loses images that davit pulled and nobody used for long; no others, and none in use",
          "[images]") {
  test_engine engine{"a"};
  test_registry registry;
  test_daemon agent{{engine.settings(4)}, {"--davit.engines.a.image-gc-below=900000g"}};
  for (auto name : {"old:1", "used:1", "fresh:1"})
    registry.push(engine, name);
  auto task = [&](const std::string& name, std::vector<std::string> command) {
    auto spec = busybox(std::move(command));
    spec.image = registry.image(name);
    return spec;
  };
  agent.start();
  CHECK(agent.run(task("old:1", {"true"})).outcome == outcome::succeeded);
  CHECK(agent.run(task("fresh:1", {"true"})).outcome == outcome::succeeded);
  auto running = agent.submit(task("used:1", {"sleep", "600"}));
  agent.await_state(running, task_state::running);
  agent.kill();
  // An hour goes by, but for the fresh one.
  shell("sqlite3 " + agent.data() + "/davit.db \"UPDATE image SET used_at = 1 WHERE name NOT LIKE '%fresh%'\"");
  agent.start(); // looks at once
  auto images = [&] { return engine.docker("images --format '{{.Repository}}:{{.Tag}}'"); };
  CHECK(eventually([&] { return images().find("/old:1") == std::string::npos; }));
  CHECK(eventually([&] { return agent.metric("davit_images_removed_total") == 1; }));
  for (auto name : {"/used:1", "/fresh:1", "busybox:test"})
    CHECK(images().find(name) != std::string::npos);
  CHECK(agent.run(task("old:1", {"true"})).outcome == outcome::succeeded); // pulled again
  agent.cancel(running);
  CHECK(agent.wait(running).outcome == outcome::cancelled);
}
