#include "actors/scheduler.hpp"

#include "actors/crash_point.hpp"
#include "actors/disk.hpp"
#include "actors/metrics.hpp"
#include "actors/scheduler_state.hpp"
#include "policy/adoption.hpp"

#include <caf/actor_system.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace davit {

namespace {

using namespace std::chrono_literals;

/// Events are the wake-up call; this is for the case that one was lost with an actor.

/// An agent that drains waits so long for the store to say what it has at work.
constexpr duration drain_patience = 5s;

/// An agent that could not write its tasks' logs takes none.
void look_at_disk(scheduler_pointer self) {
  auto& state = self->state;
  const auto& settings = state.context->settings;
  auto free = free_disk(settings);
  if (!free)
    return;
  state.context->metrics->disk_free(static_cast<std::int64_t>(*free));
  auto blocked = why_no_room(settings, free);
  if (blocked.empty() != state.blocked.empty())
    spdlog::warn("{}", blocked.empty() ? "there is room on the disk again: tasks are claimed"
                                       : blocked + ": no tasks are claimed");
  state.blocked = std::move(blocked);
}

/// One timer, for the task that may be claimed first.
void look_again(scheduler_pointer self, timestamp due) {
  auto& state = self->state;
  auto wait
    = std::max<duration>(std::chrono::duration_cast<duration>(due - std::chrono::system_clock::now()) + 1ms, 1ms);
  auto at = self->clock().now() + wait;
  if (state.look_at && *state.look_at <= at) // the claim that is made then tells again
    return;
  if (state.look_at)
    state.look_timer.dispose();
  state.look_at = at;
  state.look_timer = self->run_delayed(wait, [self] {
    self->state.look_at.reset();
    claim(self);
  });
}

/// Who is to go on with what the store says is open: an attempt that was adopted is nobody's if its engine is not
/// known here.
void go_on_with(scheduler_pointer self, claimed_attempt one, bool first) {
  if (!first && one.adopted && !self->state.engines.knows(one.task.attempts.back().engine_id))
    store_end(self, end_of_orphan(one, std::chrono::system_clock::now(), 0.5));
  else
    take_up(self, std::move(one));
}

void claimed(scheduler_pointer self, claim_answer& answer, bool first) {
  auto& state = self->state;
  state.caught_up = true;
  state.answer_lost = false;
  auto open
    = std::count_if(answer.attempts.begin(), answer.attempts.end(), [](const auto& one) { return one.resumed; });
  if (open != 0 && first)
    spdlog::info("{} attempts were open when the agent {}; resuming them", open,
                 state.given_up.empty() ? "last stopped" : "gave its tasks up");
  else if (open != 0)
    spdlog::warn("{} attempts were given to this agent in an answer that was lost; resuming them", open);
  if (answer.attempts.size() != static_cast<std::size_t>(open))
    crash_point("attempt claimed");
  for (auto& one : answer.attempts) {
    one.adopted |= state.given_up.contains(one.token.key);
    if (one.resumed)
      go_on_with(self, std::move(one), first);
    else
      take_up(self, std::move(one));
  }
  state.given_up.clear();
  if (answer.next_due)
    look_again(self, *answer.next_due);
  answer_drain(self);
}

} // namespace

void answer_drain(scheduler_pointer self) {
  auto& state = self->state;
  if (!state.draining() || !state.live.empty() || (state.drain_waits && !state.caught_up))
    return;
  for (auto& promise : std::exchange(state.drained, {}))
    promise.deliver();
}

/// Asks the store for what this agent should work at. The first question of an incarnation is for what was left to it;
/// an answer that was lost is asked for also when there is no room.
void claim(scheduler_pointer self) {
  auto& state = self->state;
  if (!state.addresses.store || (state.shared() && !state.lease.held()) || state.fenced_executors_live())
    return;
  if (state.claiming) {
    state.claim_again = true;
    return;
  }
  const auto& settings = state.context->settings;
  claim_request request{settings.name, state.incarnation, {}, state.engines.reached(), settings.placement};
  request.first = !state.caught_up;
  if (request.first)
    request.dead_agents = settings.dead_agents;
  else if (!state.draining() && state.blocked.empty())
    request.offers = state.engines.offers(state.counting_slots(), state.blocking());
  if (request.offers.empty() && state.caught_up && !state.answer_lost)
    return;
  request.at_work.reserve(state.live.size() + state.ending.size());
  for (const auto& [key, one] : state.live)
    request.at_work.push_back(key);
  request.at_work.insert(request.at_work.end(), state.ending.begin(), state.ending.end());
  state.claiming = true;
  state.claim_again = request.first; // then for what is new
  auto first = request.first;
  auto go_on = [self] {
    self->state.claiming = false;
    if (self->state.claim_again)
      claim(self);
  };
  self->request<caf::message_priority::high>(state.addresses.store, caf::infinite, claim_atom_v, std::move(request))
    .then(
      [self, go_on, first, incarnation = state.incarnation](claim_answer& answer) {
        // Or else this scheduler was fenced meanwhile: its next incarnation takes over what the answer holds.
        if (incarnation == self->state.incarnation)
          claimed(self, answer, first);
        go_on();
      },
      [self](const caf::error& e) {
        spdlog::warn("no tasks were claimed: {}", text_of(e));
        self->state.answer_lost = true;
        self->state.claiming = false; // it is asked again with the next tick, or when the store is back
      });
}

namespace {

/// What every tick is for.
void look_around(scheduler_pointer self) {
  auto& state = self->state;
  self->delayed_send(self, look_interval, tick_atom_v);
  look_at_disk(self);
  if (state.shared()) {
    beat(self);
    adopt(self);
  }
  claim(self);
  if (!state.addresses.store)
    return;
  self->request(state.addresses.store, caf::infinite, expire_atom_v).then([] {}, [](const caf::error&) {});
  self->request(state.addresses.store, caf::infinite, count_atom_v)
    .then([](const task_counts&) {}, [](const caf::error&) {});
}

/// Sends a message to the executor of each attempt that `which` takes.
template <class Which, class... Args>
void tell_executors(scheduler_pointer self, Which which, const Args&... args) {
  for (auto& [key, one] : self->state.live)
    if (one.executor && which(key, one))
      self->send(one.executor, args...);
}

constexpr auto all_of_them = [](const attempt_key&, const live_attempt&) { return true; };

scheduler_actor::behavior_type
scheduler(scheduler_pointer self, context_ptr context, scheduler_handles addresses, executor_factory make_executor) {
  auto& state = self->state;
  state.context = context;
  state.addresses = std::move(addresses);
  state.stage = state.addresses.stage;
  state.make_executor = std::move(make_executor);
  state.engines = engine_roster{context->settings.engines};
  state.lease = agent_lease{context->settings.lease};
  self->set_down_handler([self](const caf::down_msg& down) { executor_down(self, down); });
  look_at_disk(self);
  self->delayed_send(self, look_interval, tick_atom_v);
  return {
    [=](const task_event& event) {
      if (event.kind == "accepted" || event.kind == "retrying") {
        claim(self);
      } else if (event.kind == "cancel_requested") {
        tell_executors(
          self, [&](const auto& key, const auto&) { return key.task == event.task; }, cancel_atom_v);
        if (!event.message.empty())
          limit_end(self, event.task);
      }
    },
    [=](const engine_status& now) {
      auto& engines = self->state.engines;
      for (const auto& sentence : engines.doubles_of(now))
        spdlog::warn("{}", sentence);
      engines.update(now);
      tell_of_engine(self, now.name);
      if (now.state == engine_state::ready)
        claim(self);
    },
    [=](ended_atom, const attempt_key& key) {
      auto& live = self->state.live;
      if (auto found = live.find(key); found != live.end() && std::exchange(found->second.slot, {}))
        claim(self);
    },
    [=](progress_atom, const attempt_key& key, const pull_progress& progress) {
      tell_executors(
        self, [&](const auto& one, const auto&) { return one == key; }, progress);
    },
    [=](progress_atom, task_id id) -> caf::result<std::optional<attempt_status>> {
      auto& live = self->state.live;
      auto found = std::find_if(live.rbegin(), live.rend(), [&](const auto& one) { return one.first.task == id; });
      if (found == live.rend() || !found->second.executor)
        return std::optional<attempt_status>{};
      auto promise = self->make_response_promise<std::optional<attempt_status>>();
      self->request(found->second.executor, 2s, progress_atom_v)
        .then([promise](const attempt_status& now) mutable { promise.deliver(std::optional{now}); },
              [promise](const caf::error&) mutable { promise.deliver(std::optional<attempt_status>{}); });
      return promise;
    },
    [=](engines_atom) {
      std::vector<engine_status> list;
      for (auto [name, status] : self->state.engines.all()) {
        status.busy = self->state.counting_slots()(name);
        status.blocked = self->state.blocked_by(status);
        list.push_back(std::move(status));
      }
      return list;
    },
    [=](list_atom) {
      live_executors list;
      for (const auto& [key, one] : self->state.live)
        if (one.executor)
          list.executors.emplace(key, one.executor);
      return list;
    },
    [=](drain_atom) {
      auto& state = self->state;
      auto promise = self->make_response_promise<void>();
      state.drained.push_back(promise);
      state.stage = std::max(state.stage, drain_stage::draining);
      if (!state.caught_up && !std::exchange(state.drain_waits, true)) {
        self->run_delayed(drain_patience, [self] {
          self->state.drain_waits = false;
          answer_drain(self);
        });
      }
      answer_drain(self);
      return promise;
    },
    [=](retire_atom) -> caf::result<void> {
      auto promise = self->make_response_promise<void>();
      auto& state = self->state;
      if (!state.shared() || !state.lease.held()) {
        promise.deliver();
        return promise;
      }
      self
        ->request(state.addresses.store, caf::infinite, retire_atom_v, state.context->settings.name, state.incarnation)
        .then([promise]() mutable { promise.deliver(); },
              [promise](const caf::error& e) mutable { promise.deliver(e); });
      return promise;
    },
    [=](tick_atom) { look_around(self); },
    [=](wire_atom, const scheduler_handles& addresses) {
      auto& state = self->state;
      state.addresses = addresses;
      const executor_handles& theirs = addresses;
      tell_executors(self, all_of_them, wire_atom_v, theirs);
      if (state.stage != drain_stage::stopping && addresses.stage == drain_stage::stopping)
        tell_executors(self, all_of_them, stop_atom_v);
      state.stage = std::max(state.stage, addresses.stage);
      if (state.shared())
        beat(self);
      if (!state.caught_up || state.answer_lost)
        claim(self);
    },
  };
}

} // namespace

scheduler_actor spawn_scheduler(caf::actor_system& system, context_ptr context, scheduler_handles addresses,
                                executor_factory make_executor) {
  return system.spawn(scheduler, std::move(context), std::move(addresses), std::move(make_executor));
}

} // namespace davit
