// One attempt, told event by event.
#pragma once

#include "actors/attempt_samples.hpp"

#include <string>
#include <utility>
#include <vector>

namespace davit::test {

struct story {
  attempt_run run;
  std::vector<action> last;
  bool images_guarded = false;

  story& hears(const event& happened, std::chrono::milliseconds when = {}) {
    auto at = moment(when);
    at.images_guarded = images_guarded;
    auto [after, actions] = next(std::move(run), happened, at);
    run = std::move(after);
    last = std::move(actions);
    return *this;
  }
  template <class Ask>
  const Ask* asks() const {
    for (const auto& one : last)
      if (auto* found = std::get_if<Ask>(&one))
        return found;
    return nullptr;
  }
  const attempt_result& result() const { return *std::get<reporting>(run.now).result; }
};

inline reply<ask::judge> judged(const attempt_run& run, std::string forbidden = {}) {
  reply<ask::judge> answer;
  answer.value.effective = run.work.task.spec;
  answer.value.forbidden = std::move(forbidden);
  return answer;
}

inline attempt_run resumed(task_state state = task_state::running) {
  auto run = fresh_attempt();
  run.work.resumed = true;
  run.work.task.state = state;
  if (state == task_state::running)
    run.work.task.attempts.back().container = container_id;
  return run;
}

inline event engine_is(const attempt_run& run, engine_state state) {
  auto status = run.engine;
  status.state = state;
  return engine_changed{status};
}

} // namespace davit::test
