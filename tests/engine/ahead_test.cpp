// What is made ready for tasks that have a container of their own: the network that it joins, the image that it is of.
#include "fixture/test_agent.hpp"
#include "fixture/test_daemon.hpp"
#include "fixture/test_registry.hpp"

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <set>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

void allow(agent_settings& settings) {
  settings.policy.networks_allow = {"none", "n1"};
}

/// Runs at most once, and so in no sandbox.
task_spec with_network(std::string script) {
  auto spec = busybox(std::move(script));
  spec.network = "n1";
  spec.at_most_once = true;
  return spec;
}

const std::string& way(const task& ended) {
  return ended.attempts.back().evidence.start;
}

const std::string made_ahead = "; its network was made ahead";

} // namespace

TEST_CASE("a container joins a network that was made before its task came; each is one task's alone", "[ahead]") {
  engine_with_network on;
  test_agent agent{{on.settings()}, allow};
  const std::string look
    = "hostname -i; ip addr show eth0 | grep -o 'inet 10.213.77.[0-9]*'; ls /sys/class/net | wc -l; "
      "nc -w5 10.213.77.1 1 2>&1 | grep -q refused && echo reached; cat /etc/resolv.conf | wc -l; exit 4";
  auto own = agent.run(with_network(look));
  CHECK(own.exit_code == 4);
  CHECK_FALSE(way(own).ends_with(made_ahead));
  std::set<std::string> used;
  for (int i = 0; i < 3; ++i) {
    REQUIRE(eventually([&] { return !on.networks_that_wait().empty(); }));
    auto waits = on.networks_that_wait();
    auto ended = agent.run(with_network(look));
    INFO(ended.message);
    CHECK(way(ended).ends_with(made_ahead));
    CHECK(ended.exit_code == 4);
    auto text = agent.logs(ended.id).out;
    CHECK(text.find("reached\n") != std::string::npos);
    // As in a network of its own, but for the address.
    auto plain = agent.logs(own.id).out;
    CHECK(std::count(text.begin(), text.end(), '\n') == std::count(plain.begin(), plain.end(), '\n'));
    CHECK(text.substr(text.find("\n2\n")) == plain.substr(plain.find("\n2\n")));
    REQUIRE(eventually([&] { return on.engine.docker("ps -aq --filter name=" + to_string(ended.id)).empty(); }));
    CHECK(used.insert(waits).second);
  }
  // What waits for one image's tasks serves another's.
  on.engine.docker("tag busybox:test other:test");
  REQUIRE(eventually([&] { return !on.networks_that_wait().empty(); }));
  auto other = with_network("true");
  other.image = "other:test";
  CHECK(way(agent.run(other)).ends_with(made_ahead));
  // A task that wants everything made for it gets that.
  REQUIRE(eventually([&] { return !on.networks_that_wait().empty(); }));
  auto cold = with_network("true");
  cold.start = start_mode::cold;
  CHECK_FALSE(way(agent.run(cold)).ends_with(made_ahead));
}

TEST_CASE("a task that no sandbox waits for takes a network that does", "[ahead]") {
  engine_with_network on;
  test_agent agent{{on.settings()}, allow};
  agent.run(with_network("true"));
  REQUIRE(eventually([&] { return !on.networks_that_wait().empty(); }));
  auto spec = busybox("echo ran");
  spec.network = "n1";
  auto ended = agent.run(spec);
  CHECK(way(ended) == "cold: no sandbox of its kind waited" + made_ahead);
  CHECK(agent.logs(ended.id).out == "ran\n");
  REQUIRE(eventually([&] { return agent.metric("davit_sandboxes{engine=\"a\"}") >= 1; }));
  CHECK(way(agent.run(spec)) == "warm");
}

TEST_CASE("networks that somebody stops, kills or removes cost no task anything", "[ahead]") {
  engine_with_network on;
  test_agent agent{{on.settings(1)}, allow};
  agent.run(with_network("true"));
  for (std::string act : {"stop", "kill", "rm -f"}) {
    INFO(act);
    REQUIRE(eventually([&] { return !on.networks_that_wait().empty(); }));
    auto victim = on.networks_that_wait();
    on.engine.docker(act + " " + victim);
    auto ended = agent.run(with_network("nc -w5 10.213.77.1 1 2>&1 | grep -q refused && echo reached"));
    INFO(ended.message << ' ' << way(ended));
    CHECK(ended.outcome == outcome::succeeded);
    CHECK(agent.logs(ended.id).out == "reached\n");
    CHECK(ended.attempts.size() == 1);
  }
}

TEST_CASE("an agent that is killed goes on with a task in a network that was made ahead; nothing of it is left",
          "[ahead]") {
  engine_with_network on;
  test_daemon agent{{on.settings()}, {"--davit.policy.networks.allow=[\"none\",\"n1\"]"}};
  agent.start();
  agent.await_engine("a", engine_state::ready);
  agent.wait(agent.submit(with_network("true")));
  REQUIRE(eventually([&] { return !on.networks_that_wait().empty(); }));
  auto id = agent.submit(with_network("for i in $(seq 40); do echo $i; sleep 0.1; done; nc -w5 10.213.77.1 1 2>&1 | "
                                      "grep -q refused && echo reached; exit 3"));
  REQUIRE(eventually([&] { return agent.logs(id).out.find("5\n") != std::string::npos; }));
  REQUIRE(eventually([&] { return !on.networks_that_wait().empty(); }));
  auto waits = on.networks_that_wait();
  agent.kill();
  agent.start();
  auto ended = agent.wait(id);
  INFO(ended.message);
  CHECK(ended.exit_code == 3);
  CHECK(ended.attempts.size() == 1);
  CHECK(agent.logs(id).out.ends_with("40\nreached\n"));
  CHECK(eventually([&] { return on.engine.docker("ps -aq --filter name=" + to_string(id)).empty(); }));
  // Those that waited for the agent's former life are gone.
  auto gone
    = eventually([&] { return on.engine.docker("ps -aq --no-trunc").find(waits.substr(0, 64)) == std::string::npos; });
  INFO(on.engine.docker("ps -a --no-trunc") << waits << agent.said());
  CHECK(gone);
  agent.signal(SIGTERM);
  CHECK(agent.wait_end().exit_code == 0);
  CHECK(on.engine.docker("ps -aq") == "");
}

TEST_CASE("an engine whose slots are all taken pulls what the next tasks need", "[ahead][pull]") {
  test_engine engine{"a"};
  test_registry registry;
  for (auto name : {"one:1", "two:1", "three:1", "four:1"})
    registry.push(engine, name);
  auto there = [&](const std::string& name) { return !engine.docker("images -q " + registry.image(name)).empty(); };
  auto settings = engine.settings(1);
  settings.images_ahead = 4;
  test_agent agent{{settings}};
  auto holds = agent.submit(busybox("while true; do sleep 0.1; done"));
  agent.await_state(holds, task_state::running);
  auto next = [&](const std::string& name) {
    auto spec = busybox("echo ran");
    spec.image = registry.image(name);
    return spec;
  };
  CHECK_FALSE(there("one:1"));
  auto never = next("four:1");
  never.pull = pull_policy::never;
  auto waits = agent.submit(never);
  auto private_one = next("two:1");
  private_one.secrets["DOCKER_AUTH_CONFIG"].value = R"({"auths": {}})";
  auto own = agent.submit(private_one);
  auto one = agent.submit(next("one:1")), again = agent.submit(next("one:1")), three = agent.submit(next("three:1"));
  CHECK(eventually([&] { return there("one:1"); }));
  CHECK(agent.find(one).state == task_state::queued);
  CHECK_FALSE(there("four:1"));  // never to be pulled
  CHECK_FALSE(there("two:1"));   // only with the task's own credentials
  CHECK_FALSE(there("three:1")); // further behind than the four that are looked at
  agent.cancel(waits);
  CHECK(eventually([&] { return there("three:1"); }));
  agent.cancel(holds);
  for (auto id : {own, one, again, three})
    CHECK(agent.wait(id).outcome == outcome::succeeded);
  CHECK(agent.metric("davit_image_pulls_total{result=\"pulled\"}") == 3); // each once
}
