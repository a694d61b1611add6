#include "chaos/storm.hpp"

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <cstdlib>
#include <sstream>
#include <thread>

namespace davit::test {

using namespace std::chrono_literals;

void witness::watch() {
  past_ += follower_ ? follower_->out() : "";
  follower_ = std::make_unique<process>(
    std::vector<std::string>{"/usr/bin/env", "docker", "-H", "unix://" + engine_.socket(), "events", "--since", "0",
                             "--filter", "type=container", "--format", "{{.Action}} {{.Actor.Attributes.name}}"});
}

std::map<std::string, int> witness::count(const std::string& wanted) const {
  std::map<std::string, int> counts;
  std::istringstream lines{past_ + follower_->out()};
  std::string line;
  while (std::getline(lines, line))
    if (auto blank = line.find(' '); blank != std::string::npos && line.substr(0, blank) == wanted)
      ++counts[line.substr(blank + 1)];
  return counts;
}

std::string tally::text() const {
  std::ostringstream out;
  out << rounds << " rounds, " << tasks << " tasks, " << attempts << " attempts";
  for (const auto& list : {faults, outcomes}) {
    out << ';';
    for (const auto& [what, times] : list)
      out << ' ' << times << " x " << what << ',';
  }
  out << " logs with a gap: " << gaps;
  return out.str();
}

int draw(dice& random, int least, int most) {
  return std::uniform_int_distribution<int>{least, most}(random);
}

void pause(dice& random, int least_ms, int most_ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds{draw(random, least_ms, most_ms)});
}

planned plan_task(dice& random, const std::string& network) {
  planned one;
  one.lines = draw(random, 1, 30);
  one.code = draw(random, 0, 3) == 0 ? 0 : draw(random, 1, 120);
  auto nap = draw(random, 0, 2) == 0 ? std::string{} : " sleep 0.0" + std::to_string(draw(random, 1, 9)) + ";";
  one.spec = busybox("for i in $(seq " + std::to_string(one.lines) + "); do echo line $i;" + nap + " done; exit "
                     + std::to_string(one.code));
  one.spec.at_most_once = draw(random, 0, 4) == 0;
  one.spec.start = std::array{start_mode::automatic, start_mode::automatic, start_mode::warm,
                              start_mode::cold}[static_cast<std::size_t>(draw(random, 0, 3))];
  if (one.spec.at_most_once && one.spec.start == start_mode::warm)
    one.spec.start = start_mode::automatic;
  if (!network.empty() && draw(random, 0, 1))
    one.spec.network = network;
  one.spec.retry.attempts = 20;
  one.spec.retry.backoff = {10ms, 200ms};
  one.spec.dedupe_key = to_string(uuid::make_v7());
  return one;
}

planned submit_for_certain(dice& random, agent_client& agent, const std::string& network) {
  auto one = plan_task(random, network);
  std::string why;
  eventually([&] {
    try {
      one.id = agent.submit(one.spec);
      return true;
    } catch (const std::exception& e) {
      why = e.what();
      return false;
    }
  });
  INFO(why);
  REQUIRE_FALSE(one.id.nil());
  return one;
}

std::vector<planned> rough_round(dice& random, tally& count, const std::vector<std::string>& faults,
                                 const std::function<planned()>& submit,
                                 const std::function<void(const std::string&)>& strike) {
  std::vector<planned> tasks;
  auto begin = [&] {
    for (int i = draw(random, 3, 6); i > 0; --i)
      tasks.push_back(submit());
  };
  begin();
  for (int i = draw(random, 2, 4); i > 0; --i) {
    pause(random, 0, 1500);
    const auto& fault = faults[static_cast<std::size_t>(draw(random, 0, static_cast<int>(faults.size()) - 1))];
    ++count.faults[fault];
    strike(fault);
    if (draw(random, 0, 1))
      begin();
  }
  return tasks;
}

void judge(agent_client& agent, const planned& one, tally& count, const std::string& said) {
  std::string why;
  auto finished = eventually(
    [&] {
      try {
        return agent.find(one.id).state == task_state::finished;
      } catch (const std::exception& e) {
        why = e.what();
        return false;
      }
    },
    180s);
  auto text = agent.http("GET", "/v1/tasks/" + to_string(one.id)).body;
  INFO(text << "\n" << said);
  REQUIRE(finished);
  auto ended = agent.find(one.id);
  ++count.tasks;
  count.attempts += static_cast<int>(ended.attempts.size());
  ++count.outcomes[to_string(*ended.outcome)];
  auto events = agent.http("GET", "/v1/tasks/" + to_string(one.id) + "/events").body;
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
  auto output = agent.logs(one.id);
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

void check_witness(const witness& one) {
  for (const auto& [name, times] : one.count("start")) {
    INFO(name);
    REQUIRE(times <= 1);
  }
}

int number_of(const char* name, int standard) {
  auto text = std::getenv(name);
  return text ? std::atoi(text) : standard;
}

} // namespace davit::test
