#include "policy/adoption.hpp"

#include "policy/placement.hpp"

#include <algorithm>

namespace davit {

namespace {

const agent_engine* reached(const std::vector<agent_engine>& engines, const std::string& id) {
  auto found = std::find_if(engines.begin(), engines.end(),
                            [&](const agent_engine& one) { return one.id == id && one.state == engine_state::ready; });
  return found == engines.end() ? nullptr : &*found;
}

} // namespace

adoption_decision decide_adoption(const left_attempt& left, const adopt_request& request,
                                  const std::vector<agent_status>& agents, timestamp now) {
  if (auto mine = reached(request.engines, left.engine_id))
    return {adoption_verdict::adopt, mine->name};
  auto others = std::any_of(agents.begin(), agents.end(), [&](const agent_status& one) {
    return one.state != agent_state::gone && one.name != request.agent && reached(one.engines, left.engine_id);
  });
  auto dead
    = std::find_if(agents.begin(), agents.end(), [&](const agent_status& one) { return one.name == left.agent; });
  auto over = dead == agents.end() || !dead->lease_until
           || *dead->lease_until + std::chrono::nanoseconds{request.patience} < now;
  return {others || !over ? adoption_verdict::leave : adoption_verdict::give_up, {}};
}

attempt_result end_of_orphan(const claimed_attempt& orphan, timestamp now, double draw) {
  const auto& last = orphan.task.attempts.back();
  attempt_result lost;
  lost.token = orphan.token;
  lost.outcome = outcome::agent_lost;
  lost.message
    = "its agent is gone, and no other agent reaches the engine " + last.engine + "; how it ended is not known";
  lost.evidence.note = "the container, if there is one, may still run";
  lost.finished_at = now;
  auto may_have_started = orphan.task.state == task_state::running || !last.container.empty();
  if (!(orphan.task.spec.at_most_once && may_have_started))
    if (auto wait = retry_delay(orphan.task.spec.retry, orphan.token.key.number, lost.outcome, draw))
      lost.retry_at = now + *wait;
  return lost;
}

} // namespace davit
