#include "actors/container_plan.hpp"
#include "actors/metrics.hpp"
#include "actors/scheduler_state.hpp"
#include "policy/adoption.hpp"

#include <spdlog/spdlog.h>

namespace davit {

namespace {

/// Others may take over what runs here before long: nothing of it may be left running by then.
void fence(scheduler_pointer self) {
  auto& state = self->state;
  // One that was frozen for longer wakes up to find that its tasks may be others': their containers stay.
  auto over = state.lease.over(self->clock().now());
  spdlog::error(
    "no heartbeat has reached the store for two thirds of fleet.lease ({}): this agent's {} tasks are given "
    "up {}",
    format_duration(state.context->settings.lease), state.live.size(),
    over ? "to the agents that have them now" : "before others take them over");
  state.lease.lose();
  state.caught_up = false;
  state.incarnation = uuid::make_v4();
  std::erase_if(state.live, [&](auto& one) {
    auto& [key, entry] = one;
    state.given_up.insert(key);
    if (entry.executor) {
      self->send(entry.executor, fence_atom_v, !over);
      return false;
    }
    if (auto engine = state.addresses.engines.find(entry.engine); engine != state.addresses.engines.end() && !over)
      self->send(engine->second, remove_atom_v, container_name(key)); // there is no executor to do it
    return true;
  });
}

} // namespace

void beat(scheduler_pointer self) {
  auto& state = self->state;
  const auto& settings = state.context->settings;
  auto now = self->clock().now();
  if (state.lease.must_give_up(now))
    fence(self);
  if (!state.addresses.store || !state.lease.beat_due(now))
    return;
  state.lease.beat_sent(now);
  agent_status me;
  me.name = settings.name;
  me.home = settings.home;
  me.incarnation = state.incarnation;
  me.version = DAVIT_VERSION;
  me.state = state.draining() ? agent_state::draining : agent_state::ready;
  me.engines = state.engines.described(state.counting_slots(), state.blocking());
  me.address = settings.peers.advertise.empty() ? settings.peers.listen : settings.peers.advertise;
  self->request<caf::message_priority::high>(state.addresses.store, caf::infinite, beat_atom_v, me, settings.lease)
    .then(
      [self, now, incarnation = state.incarnation](bool good) {
        auto& state = self->state;
        if (incarnation != state.incarnation) { // fenced meanwhile: the next one counts
          state.lease.unanswered();
          return;
        }
        auto answered = self->clock().now();
        state.lease.answered(good, now, answered);
        state.beat_failing = false;
        if (good && state.lease.is_late(now, answered) && !state.lease.must_give_up(answered))
          beat(self); // there may be just time enough for one that counts
        if (!good) {
          spdlog::error("another agent named {} uses the store; give this agent its own name (davit.agent.name)",
                        state.context->settings.name);
          if (state.lease.held())
            fence(self);
        } else if (!state.caught_up) {
          claim(self);
        }
      },
      [self](const caf::error& e) {
        auto& state = self->state;
        state.lease.unanswered();
        if (!std::exchange(state.beat_failing, true))
          spdlog::warn("the store did not take the heartbeat: {}", text_of(e));
        // The store may be back at any moment, and every moment of the lease counts.
        state.beat_timer.dispose();
        state.beat_timer
          = self->run_delayed(std::min(look_interval, state.context->settings.lease / 30), [self] { beat(self); });
      });
}

void adopt(scheduler_pointer self) {
  auto& state = self->state;
  const auto& settings = state.context->settings;
  if (state.adopting || state.draining() || !state.caught_up || !state.lease.steady(self->clock().now()))
    return;
  state.adopting = true;
  adopt_request request{settings.name, state.incarnation,
                        state.engines.described(state.counting_slots(), state.blocking()), settings.lease / 2};
  self->request<caf::message_priority::high>(state.addresses.store, caf::infinite, adopt_atom_v, request)
    .then(
      [self, incarnation = state.incarnation](adoption& found) {
        auto& state = self->state;
        state.adopting = false;
        if (incarnation != state.incarnation)
          return;
        for (auto& one : found.adopted) {
          spdlog::warn("task {}: attempt {} is taken over from an agent whose lease has ended",
                       to_string(one.token.key.task), one.token.key.number);
          state.context->metrics->attempt_adopted();
          take_up(self, std::move(one));
        }
        for (const auto& one : found.orphans) {
          auto end = end_of_orphan(one, std::chrono::system_clock::now(), 0.5);
          spdlog::warn("task {}: {}", to_string(one.token.key.task), end.message);
          store_end(self, end);
        }
      },
      [self](const caf::error& e) {
        self->state.adopting = false;
        self->state.answer_lost = true;
        spdlog::warn("the store did not say which attempts other agents left: {}", text_of(e));
      });
}

} // namespace davit
