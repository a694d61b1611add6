#include "policy/recovery.hpp"

namespace davit {

recovery_action decide_recovery(const recovery_facts& facts) {
  // What has no row, or has its outcome, needs no container; what is not ours is never touched.
  if (facts.row == row_state::none || facts.row == row_state::ended)
    return facts.container == container_state::none || facts.container == container_state::foreign
           ? recovery_action::leave
           : recovery_action::remove;
  if (!facts.same_engine)
    return facts.row == row_state::claimed && facts.cancel_requested ? recovery_action::cancel : recovery_action::lose;
  switch (facts.container) {
    case container_state::none:
      // A container is removed after its outcome was stored: one that was announced and is gone was taken away by
      // others.
      if (facts.row == row_state::announced)
        return recovery_action::lose;
      return facts.cancel_requested ? recovery_action::cancel : recovery_action::create;
    case container_state::created:
      return facts.cancel_requested ? recovery_action::cancel : recovery_action::start;
    case container_state::running:
      return recovery_action::attach; // a cancelled one is stopped from there
    case container_state::ended:
      return recovery_action::collect;
    case container_state::foreign:
      return recovery_action::lose;
  }
  return recovery_action::lose;
}

container_state container_state_of(const std::string& engine_word) {
  if (engine_word == "created")
    return container_state::created;
  if (engine_word == "exited" || engine_word == "dead" || engine_word == "removing")
    return container_state::ended;
  return container_state::running;
}

} // namespace davit
