// Agents, their leases, and what passes from one to another.
#pragma once

#include "store/sql_events.hpp"
#include "store/sql_tasks.hpp"

namespace davit::store {

class sql_agents {
public:
  sql_agents(sql_session& session, sql_tasks& tasks, sql_events& events)
    : session_(session), tasks_(tasks), events_(events) {}

  // Each is one transaction, or a part of the batch: see task_store.

  result<bool> heartbeat(const agent_status& agent, duration lease);
  result<void> retire(const std::string& agent, uuid incarnation);
  result<std::vector<agent_status>> agents();
  result<adoption> adopt(const adopt_request& request);

  // Within a transaction, or guarded. They throw.

  /// All agents that were ever heard of, by name, as they are at `now` by the database's clock.
  std::vector<agent_status> read(number now);

  /// The database's own time, which is the only one that leases know.
  number clock();

  /// The asker's open attempts that it does not work at: see claim_request.
  std::vector<claimed_attempt> open_attempts(const claim_request& request);

  result<std::size_t> take_name(const std::string& agent);

  /// Hands the attempts that `from` has left open to the asker.
  std::vector<claimed_attempt> take_over(const std::string& from, const claim_request& request);

private:
  claimed_attempt resumed(const std::string& task, number attempt, uuid incarnation, bool adopted);
  bool was_adopted(const std::string& task, number attempt);

  sql_session& session_;
  sql_tasks& tasks_;
  sql_events& events_;
};

} // namespace davit::store
