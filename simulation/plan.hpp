// What a seed stands for: agents, engines, tasks, and what goes wrong when. Each seed draws which kinds of faults there
// are at all, so that rare combinations are met.
#pragma once

#include "messages/task.hpp"
#include "simulation/model_connection.hpp"

#include <string>
#include <vector>

namespace davit::simulation {

struct planned_engine {
  std::string name;
  bool live_restore = false;
};

struct planned_agent {
  std::string name;
  std::vector<std::string> engines; ///< That it reaches.
  std::uint32_t slots = 2;          ///< On each.
};

struct planned_task {
  nanoseconds at{0};
  std::size_t agent = 0; ///< That is asked to take it.
  task_spec spec;
  script does;
  std::optional<nanoseconds> cancelled_after; ///< After it was accepted.
};

struct planned_fault {
  enum class kind {
    engine_killed,  ///< And starts again after `lasts`.
    engine_stopped, ///< The same, but it ends its containers first.
    engine_frozen,
    link_cut,     ///< Between the agent and the engine.
    agent_killed, ///< And starts again.
    agent_frozen,
    actor_killed, ///< One of the agent's actors fails.
  } what;
  nanoseconds at{0}, lasts{0};
  std::size_t agent = 0, engine = 0;
  std::uint64_t which = 0;
};

std::string to_string(planned_fault::kind kind);

struct plan {
  std::uint64_t seed = 0;
  std::vector<planned_engine> engines;
  std::vector<planned_agent> agents;
  std::vector<planned_task> tasks;
  std::vector<planned_fault> faults;
  call_faults calls;
  double commits_refused = 0, commits_doubted = 0; ///< Not done; done or not, with a lost answer.
  nanoseconds chaos_ends{0};
  duration lease{20'000};
};

plan draw_plan(std::uint64_t seed);

/// For people: what there is.
std::string describe(const plan& all);

} // namespace davit::simulation
