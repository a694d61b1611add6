// The promises under random faults: tasks that print numbered lines and end with known codes, while the agent and its
// engines are killed, frozen and restarted. DAVIT_CHAOS_SEED and DAVIT_CHAOS_ROUNDS choose; scripts/chaos runs it for
// long.
#include "chaos/storm.hpp"
#include "fixture/test_daemon.hpp"

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <iostream>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// A stranger's commands on an engine; they may come too late for what they name.
void meddle(const test_engine& engine, const std::string& commands) {
  shell("export DOCKER_HOST=unix://" + engine.socket() + "; { " + commands + "; } >/dev/null 2>&1 || true");
}

class storm {
public:
  explicit storm(unsigned seed) : random_(seed) {
    for (auto& one : engines_) {
      one->docker("network create --subnet 10.213.77.0/24 n1");
      witnesses_.push_back(std::make_unique<witness>(*one));
    }
    agent_.start();
  }

  void round(tally& count) {
    const std::vector<std::string> faults{"agent killed",      "agent frozen",        "agent drained",
                                          "engine killed",     "engine frozen",       "agent and engine killed",
                                          "containers paused", "a container renamed", "a flood of events"};
    auto tasks = rough_round(
      random_, count, faults, [&] { return submit_for_certain(random_, agent_, "n1"); },
      [&](const std::string& fault) { strike(fault); });
    for (const auto& one : tasks)
      judge(agent_, one, count, agent_.said());
    ++count.rounds;
    // Promise 7: nothing is left behind.
    for (const auto& engine : engines_) {
      auto clean = eventually([&] { return engine->leftovers().empty(); }, 90s);
      INFO(engine->docker("ps -a") << agent_.said());
      REQUIRE(clean);
    }
  }

  void final_check() {
    for (const auto& one : witnesses_)
      check_witness(*one);
  }

private:
  int draw(int least, int most) { return test::draw(random_, least, most); }
  void pause(int least, int most) { test::pause(random_, least, most); }

  void strike(const std::string& fault) {
    auto at = static_cast<std::size_t>(draw(0, static_cast<int>(engines_.size()) - 1));
    auto& engine = *engines_[at];
    if (fault == "agent killed") {
      agent_.kill();
      pause(0, 1000);
      agent_.start();
    } else if (fault == "agent frozen") {
      agent_.signal(SIGSTOP);
      pause(100, 3000);
      agent_.signal(SIGCONT);
    } else if (fault == "agent drained") {
      agent_.signal(SIGTERM);
      agent_.wait_end();
      agent_.start();
    } else if (fault == "engine killed") {
      engine.kill();
      pause(0, 2000);
      engine.start();
      witnesses_[at]->watch();
    } else if (fault == "engine frozen") {
      engine.freeze();
      pause(100, 6000);
      engine.thaw();
    } else if (fault == "containers paused") {
      meddle(engine, "for c in $(docker ps -q); do docker pause $c; done");
      pause(100, 4000);
      meddle(engine, "for c in $(docker ps -q --filter status=paused); do docker unpause $c; done");
    } else if (fault == "a container renamed") {
      meddle(engine, "n=$(docker ps --format '{{.Names}}' | grep -E '^davit-[0-9a-f]{8}-.*-[0-9]+$' | shuf -n1); "
                     "docker rename $n stranger-$RANDOM-$n");
    } else if (fault == "a flood of events") {
      meddle(engine, "for i in $(seq 150); do echo '{\"Name\":\"other'$i'\"}'; done | xargs -P2 -I{} curl -s -o "
                     "/dev/null --unix-socket ${DOCKER_HOST#unix://} -H 'Content-Type: application/json' -d {} "
                     "http://d/volumes/create; docker volume prune -f -a || docker volume prune -f");
    } else {
      agent_.kill();
      engine.kill();
      engine.start();
      witnesses_[at]->watch();
      agent_.start();
    }
  }

  static engine_settings patient(const test_engine& engine, bool files) {
    auto settings = engine.settings(4);
    settings.grace = 60s;
    settings.sandboxes = 2;
    if (files)
      settings.log_files = engine.containers();
    return settings;
  }

  dice random_;
  test_network around_[2]; ///< One for each engine, so that both can have a network of the same name.
  std::vector<std::unique_ptr<test_engine>> engines_ = [this] {
    std::vector<std::unique_ptr<test_engine>> list;
    list.push_back(std::make_unique<test_engine>("plain", std::vector<std::string>{}, around_[0].prefix()));
    list.push_back(
      std::make_unique<test_engine>("restoring", std::vector<std::string>{"--live-restore"}, around_[1].prefix()));
    return list;
  }();
  std::vector<std::unique_ptr<witness>> witnesses_;
  test_daemon agent_{{patient(*engines_[0], false), patient(*engines_[1], true)},
                     {"--davit.agent.drain-timeout=200ms", "--davit.policy.networks.allow=[\"none\",\"n1\"]"}};
};

} // namespace

TEST_CASE("random faults: every accepted task ends once, with its own code and its whole log, in one container per "
          "attempt, and nothing is left",
          "[random]") {
  auto seed = number_of("DAVIT_CHAOS_SEED", 1), rounds = number_of("DAVIT_CHAOS_ROUNDS", 2);
  INFO("seed " << seed);
  tally count;
  storm faults{static_cast<unsigned>(seed)};
  for (int i = 0; i < rounds; ++i)
    faults.round(count);
  faults.final_check();
  std::cout << "seed " << seed << ": " << count.text() << '\n';
}
