// A running agent: the actor system, the I/O threads, and what is between them and the operating system.
#pragma once

#include "actors/agent_tree.hpp"
#include "configuration/configuration.hpp"
#include "messages/actors.hpp"

#include <memory>
#include <string>

namespace davit {

class agent_process {
public:
  /// Starts everything; returns when the API listens. On a failure returns nothing and says why. `api` is davit's own,
  /// or a test's.
  static std::unique_ptr<agent_process> start(configuration config, std::string& error, const api_factory& api = {});
  ~agent_process();

  /// Takes no more work and waits for what runs, at most the time. False: something still runs.
  bool drain(duration limit);

  /// Stops what runs: containers get SIGTERM, then SIGKILL after their stop_timeout; the attempts end as agent_lost.
  void stop_tasks();

  /// True while the supervisor lives; false: it has given up, and why. What has not ended 20 s after that, or after
  /// `stop`, is not waited for: the process ends with exit code 1.
  bool alive(std::string& reason);

  /// Ends all actors at once; containers are left as they are.
  void stop();

  caf::actor_system& system();

  /// All handles, as they are at this moment.
  directory addresses();

private:
  struct state;
  explicit agent_process(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

/// Keeps what this process has in its memory (secrets, keys) out of core dumps and from other processes of its user.
void hide_memory();

/// `davit agent`: runs until a signal ends it. SIGTERM, SIGINT and SIGQUIT drain; the second one ends at once.
/// The exit code is 1 if it could not start, or had to give up.
int run_agent(configuration config, const api_factory& api = {});

} // namespace davit
