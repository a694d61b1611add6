#include "actors/engine_placement.hpp"
#include "actors/metrics.hpp"
#include "actors/scheduler_state.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace davit {

namespace {

/// What the attempt is to know of its engine. Its slot is of that engine then.
engine_status place(scheduler_state& state, live_attempt& one) {
  const auto& made = one.work.task.attempts.back();
  auto engine = made.engine_id.empty() ? state.engines.status_of(made.engine)
                                       : engine_for(state.engines.all(), made.engine, made.engine_id);
  one.placed = !engine.info.id.empty();
  if (engine.name == one.engine)
    return engine;
  if (!is_stand_in(engine))
    spdlog::info("task {} attempt {} continues: its engine {} is called {} now", to_string(one.work.token.key.task),
                 one.work.token.key.number, one.engine, engine.name);
  if (one.slot)
    one.slot = used_slot{state.busy[engine.name]};
  one.engine = engine.name;
  return engine;
}

void start_executor(scheduler_pointer self, live_attempt& one) {
  auto& state = self->state;
  const executor_handles& addresses = state.addresses;
  one.executor = state.make_executor(self, state.context, one.work, place(state, one), addresses);
  self->monitor(one.executor);
  if (state.stage == drain_stage::stopping)
    self->send(one.executor, stop_atom_v);
  if (one.work.task.cancel_requested)
    limit_end(self, one.work.token.key.task);
}

/// The attempt whose executor has failed, unless it has been fenced or taken up since.
live_attempt* waiting_for_restart(scheduler_state& state, const attempt_token& token) {
  auto found = state.live.find(token.key);
  if (found == state.live.end() || found->second.executor || found->second.work.token != token)
    return nullptr;
  return &found->second;
}

void restart_executor(scheduler_pointer self, const attempt_token& token) {
  if (!waiting_for_restart(self->state, token))
    return;
  self->request(self->state.addresses.store, caf::infinite, find_atom_v, token.key.task)
    .then(
      [self, token](task& now) {
        auto entry = waiting_for_restart(self->state, token);
        if (!entry)
          return;
        auto over
          = now.attempts.empty() || now.attempts.back().number != token.key.number || now.attempts.back().outcome;
        if (over) { // the outcome is stored; what is left of the container is the reaper's
          self->state.live.erase(token.key);
          answer_drain(self);
          claim(self);
          return;
        }
        entry->work.task = std::move(now);
        entry->work.resumed = true;
        start_executor(self, *entry);
      },
      [self, token](const caf::error& e) {
        spdlog::error("the store does not return task {}: {}", to_string(token.key.task), text_of(e));
        if (auto entry = waiting_for_restart(self->state, token)) {
          entry->work.resumed = true;
          start_executor(self, *entry);
        }
      });
}

} // namespace

void limit_end(scheduler_pointer self, task_id id) {
  auto& state = self->state;
  auto is_live = [id](const auto& one) { return one.first.task == id; };
  if (!state.addresses.store || std::none_of(state.live.begin(), state.live.end(), is_live))
    return;
  self->request(state.addresses.store, caf::infinite, cancel_atom_v, find_atom_v, id)
    .then(
      [=](duration left) {
        if (left == duration::max())
          return;
        for (const auto& [key, one] : self->state.live)
          if (key.task == id && one.executor)
            self->send(one.executor, cancel_atom_v, left);
      },
      [=](const caf::error& e) {
        spdlog::warn("how long the end of task {} may take is asked again: {}", to_string(id), text_of(e));
        self->run_delayed(std::chrono::seconds{1}, [=] { limit_end(self, id); });
      });
}

void take_up(scheduler_pointer self, claimed_attempt work) {
  auto& state = self->state;
  auto key = work.token.key;
  if (state.ending.contains(key) || state.live.contains(key))
    return;
  auto engine = work.task.attempts.back().engine;
  live_attempt one{{}, engine, false, used_slot{state.busy[engine]}, std::move(work), restart_budget{}};
  start_executor(self, state.live.emplace(key, std::move(one)).first->second);
}

void tell_of_engine(scheduler_pointer self, const std::string& changed) {
  auto& state = self->state;
  for (auto& [key, one] : state.live) {
    if (!one.executor)
      continue;
    if (!one.placed) {
      self->send(one.executor, place(state, one));
      continue;
    }
    if (one.engine != changed)
      continue;
    auto here = state.engines.status_of(changed);
    if (!may_be(here, one.work.task.attempts.back().engine_id)) {
      auto now = place(state, one);
      if (now.name != changed || is_stand_in(now)) { // what it has asked for was asked of another engine
        self->send_exit(one.executor, caf::exit_reason::kill);
        continue;
      }
    }
    self->send(one.executor, here);
  }
}

void store_end(scheduler_pointer self, const attempt_result& result) {
  auto key = result.token.key;
  self->state.ending.insert(key);
  self->request(self->state.addresses.store, caf::infinite, finish_atom_v, result)
    .then(
      [self, key, how = result.outcome] {
        self->state.ending.erase(key);
        self->state.context->metrics->task_finished(to_string(how));
      },
      [self, key](const caf::error& e) {
        self->state.ending.erase(key);
        self->state.answer_lost = true; // if the attempt is still open, the next claim brings it
        spdlog::warn("the end of task {} was not recorded: {}", to_string(key.task), text_of(e));
      });
}

void executor_down(scheduler_pointer self, const caf::down_msg& down) {
  auto& state = self->state;
  auto found = std::find_if(state.live.begin(), state.live.end(), [&](const auto& one) {
    return one.second.executor && one.second.executor.address() == down.source;
  });
  if (found == state.live.end())
    return;
  auto& entry = found->second;
  auto token = entry.work.token;
  entry.executor = nullptr;
  auto give_up = [&] {
    state.live.erase(found);
    answer_drain(self);
    claim(self);
  };
  if (!down.reason || down.reason == caf::exit_reason::normal || token.incarnation != state.incarnation)
    return give_up();
  state.context->metrics->actor_restarted("executor");
  if (auto wait = entry.budget.spend(self->clock().now())) {
    spdlog::warn("the executor of task {} failed ({}); another one continues", to_string(token.key.task),
                 caf::to_string(down.reason));
    self->run_delayed(*wait, [self, token] { restart_executor(self, token); });
    return;
  }
  spdlog::error("the executor of task {} fails repeatedly; its attempt is given up", to_string(token.key.task));
  attempt_result lost;
  lost.token = token;
  lost.outcome = outcome::agent_lost;
  lost.message = "the executor failed repeatedly: " + caf::to_string(down.reason);
  lost.finished_at = std::chrono::system_clock::now();
  store_end(self, lost);
  give_up();
}

} // namespace davit
