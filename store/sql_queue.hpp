// The queue: tasks that are accepted, and those that are claimed. What is decided about them is in policy/queue.hpp.
#pragma once

#include "policy/queue.hpp"
#include "store/sql_agents.hpp"
#include "store/sql_attempts.hpp"
#include "store/sql_turns.hpp"

#include <functional>

namespace davit::store {

class sql_queue {
public:
  sql_queue(sql_session& session, sql_events& events, sql_turns& turns, sql_tasks& tasks, sql_agents& agents,
            sql_attempts& attempts, sql_images& images, sql_volumes& volumes)
    : session_(session), events_(events), turns_(turns), tasks_(tasks), agents_(agents), attempts_(attempts),
      images_(images), volumes_(volumes) {}

  // Each is one transaction, or a part of the batch: see task_store.
  result<task_receipt> accept(const new_task& task);
  /// Why none is accepted now, if so.
  std::optional<error> why_full();
  /// As accept, within a transaction; throws.
  result<task_receipt> insert(const new_task& task);
  result<claim_answer> claim(const claim_request& request, bool private_only);
  result<task_page>
  next_tasks(const std::string& agent, bool private_only, const std::vector<std::string>& labels, std::uint32_t limit);
  result<std::vector<std::string>> limits_reached(const task& queued, const placement_rules& rules);
  result<std::uint32_t> expire(timestamp now);

private:
  using can_take = std::function<bool(const std::vector<std::string>& wanted)>;

  std::optional<result<task_receipt>>
  known_by_key(const new_task& task, const std::string& id, const std::string& spec, const std::string& secrets);
  std::optional<timestamp> ready_what_is_due(number now);
  std::vector<queue_lane> lanes(const std::vector<std::string>& pins, const can_take& possible);
  std::vector<engine_offer> shared_room(const claim_request& request);
  running_counts count_running(const placement_rules& rules);
  number put_off(const claim_choice& choice, number now);
  /// Ends a queued task that has waited for longer than its queue_timeout.
  void time_out(const std::string& id, number now);
  claimed_attempt
  make_attempt(claim_choice choice, const claim_request& request, const engine_offer& offer, number now);

  sql_session& session_;
  sql_events& events_;
  sql_turns& turns_;
  sql_tasks& tasks_;
  sql_agents& agents_;
  sql_attempts& attempts_;
  sql_images& images_;
  sql_volumes& volumes_;
};

} // namespace davit::store
