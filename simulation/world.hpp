// Agents, engines, a store and time: one schedule, from its plan. One thread; nothing waits.
#pragma once

#include "simulation/plan.hpp"
#include "store/task_store.hpp"

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace davit::simulation {

struct simulated_agent;

/// What is true of a task, whatever davit says.
struct task_truth {
  std::size_t planned = 0;   ///< In the plan.
  bool accepted = false;     ///< Somebody was told so.
  bool cancel_asked = false; ///< Somebody asked for it.
  int runs = 0;              ///< How often its command was begun.
};

class world {
public:
  /// `folder`: an empty folder, for stores and logs. `story`: hears of everything that happens; may be none.
  world(plan all, std::filesystem::path folder, std::function<void(const std::string&)> story = {});
  ~world() = delete; ///< It ends with its process.

  /// Until all is settled, or the time is over. False: the time was over.
  bool run();

  const plan& planned() const { return plan_; }
  const std::map<std::string, std::unique_ptr<engine_model>>& engines() const { return engines_; }
  const std::map<task_id, task_truth>& tasks() const { return tasks_; }
  /// Containers that were removed, with their names.
  const std::vector<container>& removed() const { return removed_; }
  store::task_store& store() { return *store_; }
  const std::vector<std::string>& broken() const { return broken_; } ///< Promises, as they were seen to be broken.
  std::uint64_t messages() const { return messages_; }
  int faults() const { return faults_; }

  /// Reads a log through a live agent, whole. Time goes on meanwhile.
  std::optional<std::vector<log_record>> read_log(const attempt_key& key);

private:
  friend struct simulated_agent;

  void at(nanoseconds when, std::function<void()> what);
  bool step();                       ///< One message is handled. False: there is none.
  bool pass_time(nanoseconds limit); ///< To the next event. False: there is none before the limit.
  void start(simulated_agent& one);
  void kill(simulated_agent& one);
  void begin_fault(const planned_fault& fault);
  void submit(std::size_t number);
  void cancel(task_id id);
  bool settled();
  void tell(const std::string& text);
  void look_at(const std::string& engine);
  simulated_agent* living(std::size_t first);

  plan plan_;
  std::filesystem::path folder_;
  std::function<void(const std::string&)> story_;
  dice chance_;
  call_faults no_faults_, faults_now_;
  bool chaos_ = true;
  std::multimap<nanoseconds, std::function<void()>> queue_;
  std::map<std::string, std::unique_ptr<engine_model>> engines_;
  std::vector<std::unique_ptr<simulated_agent>> agents_;
  std::vector<std::unique_ptr<simulated_agent>> dead_; ///< Nothing of them runs any more.
  std::unique_ptr<store::task_store> store_;
  std::map<task_id, task_truth> tasks_;
  std::vector<container> removed_;
  std::vector<std::string> broken_;
  std::uint64_t messages_ = 0;
  int faults_ = 0;
};

} // namespace davit::simulation
