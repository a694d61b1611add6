// The promises under random faults: tasks that print numbered lines and end with known codes, while the agent and its engines
// are killed, frozen and restarted. DAVIT_CHAOS_SEED and DAVIT_CHAOS_ROUNDS choose; scripts/chaos runs it for long.
#include "fixture/test_daemon.hpp"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <csignal>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <sstream>
#include <thread>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// Writes down what an engine says it does, for as long as it lives and again after each restart.
class witness {
public:
  explicit witness(const test_engine& engine) : engine_(engine) { watch(); }

  /// The engine has been started anew: its memory of events begins anew too.
  void watch() {
    past_ += follower_ ? follower_->out() : "";
    follower_ = std::make_unique<process>(std::vector<std::string>{"/usr/bin/env", "docker", "-H", "unix://" + engine_.socket(), "events", "--since", "0", "--filter", "type=container",
                                                                   "--format", "{{.Action}} {{.Actor.Attributes.name}}"});
  }

  /// How often each container was created, or started.
  std::map<std::string, int> count(const std::string& wanted) const {
    std::map<std::string, int> counts;
    std::istringstream lines{past_ + follower_->out()};
    std::string line;
    while (std::getline(lines, line))
      if (auto blank = line.find(' '); blank != std::string::npos && line.substr(0, blank) == wanted)
        ++counts[line.substr(blank + 1)];
    return counts;
  }

private:
  const test_engine& engine_;
  std::unique_ptr<process> follower_;
  std::string past_;
};

struct planned {
  task_id id;
  task_spec spec;
  int lines = 0;
  int code = 0;
};

struct tally {
  int rounds = 0, tasks = 0, attempts = 0, gaps = 0;
  std::map<std::string, int> faults, outcomes;
};

class storm {
public:
  explicit storm(unsigned seed) : random_(seed) {
    for (auto& one : engines_)
      witnesses_.push_back(std::make_unique<witness>(*one));
    agent_.start();
  }

  void round(tally& count) {
    std::vector<planned> tasks;
    std::vector<std::string> faults{"agent killed", "agent frozen", "agent drained", "engine killed", "engine frozen", "agent and engine killed"};
    auto begin = [&] {
      for (int i = draw(3, 6); i > 0; --i)
        tasks.push_back(submit());
    };
    begin();
    for (int i = draw(2, 4); i > 0; --i) {
      pause(0, 1500);
      auto fault = faults[static_cast<std::size_t>(draw(0, static_cast<int>(faults.size()) - 1))];
      ++count.faults[fault];
      strike(fault);
      if (draw(0, 1))
        begin();
    }
    for (const auto& one : tasks)
      judge(one, count);
    ++count.rounds;
    // Promise 7: nothing is left behind.
    for (const auto& engine : engines_) {
      auto clean = eventually([&] { return engine->docker("ps -aq --filter label=davit.task").empty(); }, 90s);
      INFO(engine->docker("ps -a") << agent_.said());
      REQUIRE(clean);
      REQUIRE(engine->docker("volume ls -q").empty());
    }
  }

  void final_check() {
    for (const auto& one : witnesses_)
      for (const auto& action : {"create", "start"})
        for (const auto& [name, times] : one->count(action)) {
          INFO(name << ' ' << action);
          REQUIRE(times <= 1); // promise 2: one container per attempt, started once
        }
  }

private:
  int draw(int least, int most) { return std::uniform_int_distribution<int>{least, most}(random_); }
  void pause(int least, int most) { std::this_thread::sleep_for(std::chrono::milliseconds{draw(least, most)}); } // the moment is what is tried

  planned submit() {
    planned one;
    one.lines = draw(1, 30);
    one.code = draw(0, 3) == 0 ? 0 : draw(1, 120);
    auto nap = draw(0, 2) == 0 ? std::string{} : " sleep 0.0" + std::to_string(draw(1, 9)) + ";";
    one.spec = busybox("for i in $(seq " + std::to_string(one.lines) + "); do echo line $i;" + nap + " done; exit " + std::to_string(one.code));
    one.spec.at_most_once = draw(0, 4) == 0;
    one.spec.retry.attempts = 20;
    one.spec.retry.backoff = {10ms, 200ms};
    one.spec.dedupe_key = to_string(uuid::make_v7());
    // As a client does: no answer, ask again with the same key.
    eventually([&] {
      try {
        one.id = agent_.submit(one.spec);
        return true;
      } catch (const std::exception&) {
        return false;
      }
    });
    REQUIRE_FALSE(one.id.nil());
    return one;
  }

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
    } else {
      agent_.kill();
      engine.kill();
      engine.start();
      witnesses_[at]->watch();
      agent_.start();
    }
  }

  /// Promises 1, 3 and 4 for one task.
  void judge(const planned& one, tally& count) {
    std::string why;
    auto finished = eventually([&] {
      try {
        return agent_.find(one.id).state == task_state::finished;
      } catch (const std::exception& e) {
        why = e.what();
        return false;
      }
    }, 180s);
    auto text = agent_.http("GET", "/v1/tasks/" + to_string(one.id)).body;
    INFO(text << "\n" << agent_.said());
    REQUIRE(finished);
    auto ended = agent_.find(one.id);
    ++count.tasks;
    count.attempts += static_cast<int>(ended.attempts.size());
    ++count.outcomes[to_string(*ended.outcome)];
    auto events = agent_.http("GET", "/v1/tasks/" + to_string(one.id) + "/events").body;
    std::size_t ends = 0;
    for (std::size_t at = 0; (at = events.find("\"kind\":\"finished\"", at)) != std::string::npos; ++at)
      ++ends;
    REQUIRE(ends == 1);
    if (ended.outcome == outcome::engine_lost || ended.outcome == outcome::agent_lost) {
      REQUIRE(one.spec.at_most_once); // all others are tried again
      REQUIRE_FALSE(ended.exit_code);
      return;
    }
    REQUIRE(ended.outcome == (one.code == 0 ? outcome::succeeded : outcome::failed));
    REQUIRE(ended.exit_code == one.code);
    auto output = agent_.logs(one.id);
    std::string expected;
    for (int i = 1; i <= one.lines; ++i)
      expected += "line " + std::to_string(i) + "\n";
    if (output.notes.empty()) {
      REQUIRE(output.out == expected);
      return;
    }
    // The engine has lost bytes, and the log says so: what is there is in order, and there once.
    ++count.gaps;
    INFO(output.notes << output.out);
    std::istringstream lines{output.out};
    std::string line;
    int last = 0;
    while (std::getline(lines, line)) {
      if (lines.eof() || !line.starts_with("line "))
        continue; // a piece of a line beside the gap
      auto number = std::atoi(line.c_str() + 5);
      REQUIRE(number > last);
      last = number;
    }
  }

  static engine_settings patient(const test_engine& engine) {
    auto settings = engine.settings(4);
    settings.grace = 60s;
    return settings;
  }

  std::mt19937 random_;
  std::vector<std::unique_ptr<test_engine>> engines_ = [] {
    std::vector<std::unique_ptr<test_engine>> list;
    list.push_back(std::make_unique<test_engine>("plain"));
    list.push_back(std::make_unique<test_engine>("restoring", std::vector<std::string>{"--live-restore"}));
    return list;
  }();
  std::vector<std::unique_ptr<witness>> witnesses_;
  test_daemon agent_{{patient(*engines_[0]), patient(*engines_[1])}, {"--davit.agent.drain-timeout=200ms"}};
};

int number_of(const char* name, int standard) {
  auto text = std::getenv(name);
  return text ? std::atoi(text) : standard;
}

} // namespace

TEST_CASE("random faults: every accepted task ends once, with its own code and its whole log, in one container per attempt, and nothing is left", "[random]") {
  auto seed = number_of("DAVIT_CHAOS_SEED", 1), rounds = number_of("DAVIT_CHAOS_ROUNDS", 2);
  INFO("seed " << seed);
  tally count;
  storm faults{static_cast<unsigned>(seed)};
  for (int i = 0; i < rounds; ++i)
    faults.round(count);
  faults.final_check();
  std::cout << "seed " << seed << ": " << count.rounds << " rounds, " << count.tasks << " tasks, " << count.attempts << " attempts";
  for (const auto& list : {count.faults, count.outcomes}) {
    std::cout << ';';
    for (const auto& [what, times] : list)
      std::cout << ' ' << times << " x " << what << ',';
  }
  std::cout << " logs with a gap: " << count.gaps << '\n';
}
