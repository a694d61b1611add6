// The agent within `davit run`, where no other is named.
#pragma once

#include "cli/agent_process.hpp"
#include "cli/client.hpp"

#include <memory>

namespace davit {

class liveness_lock;

/// An agent in this process, for one task, on a store that it shares with its like. What others of them have left,
/// because they were killed, is cancelled and removed by it.
class embedded_agent {
public:
  /// Throws a command_failure.
  embedded_agent();
  ~embedded_agent();

  const transport::endpoint& where() const { return where_; }

  /// Waits until what runs has ended and is removed.
  void drain(duration limit) { process_->drain(limit); }

private:
  transport::endpoint where_;
  std::unique_ptr<liveness_lock> alive_;
  std::unique_ptr<agent_process> process_;
};

/// Waits for an engine to be ready, as one that was just started takes its time. If none comes up, says why
/// (command_failure).
void await_engine(api_client& client, duration limit);

} // namespace davit
