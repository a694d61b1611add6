// What the storms have in common: tasks whose end is known beforehand, the engines' witnesses, and the verdict.
#pragma once

#include "fixture/agent_client.hpp"
#include "fixture/process.hpp"
#include "fixture/test_engine.hpp"

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace davit::test {

/// Writes down what an engine says it does, for as long as it lives and again after each restart.
class witness {
public:
  explicit witness(const test_engine& engine) : engine_(engine) { watch(); }

  /// The engine has been started anew: its memory of events begins anew too.
  void watch();

  /// How often each container was created, or started.
  std::map<std::string, int> count(const std::string& wanted) const;

private:
  const test_engine& engine_;
  std::unique_ptr<process> follower_;
  std::string past_;
};

/// Prints numbered lines and ends with a code.
struct planned {
  task_id id;
  task_spec spec;
  int lines = 0;
  int code = 0;
};

struct tally {
  int rounds = 0, tasks = 0, attempts = 0, gaps = 0;
  std::map<std::string, int> faults, outcomes;

  std::string text() const;
};

using dice = std::mt19937;
int draw(dice& random, int least, int most);

/// The moment is what is tried.
void pause(dice& random, int least_ms, int most_ms);

/// Half of them in `network`, if there is one.
planned plan_task(dice& random, const std::string& network = "");

/// Submits one as a client does: no answer, ask again with the same key.
planned submit_for_certain(dice& random, agent_client& agent, const std::string& network = "");

/// A round: tasks are submitted before and between some faults, drawn from `faults`. Gives the tasks.
std::vector<planned> rough_round(dice& random, tally& count, const std::vector<std::string>& faults,
                                 const std::function<planned()>& submit,
                                 const std::function<void(const std::string&)>& strike);

/// Promises 1, 3 and 4 for one task, as the agent tells of it; `said` is printed if one does not hold.
void judge(agent_client& agent, const planned& one, tally& count, const std::string& said);

/// Promise 2: of each attempt, one container is started, once.
void check_witness(const witness& one);

/// A number from the environment.
int number_of(const char* name, int standard);

} // namespace davit::test
