#include "actors/scheduler.hpp"

#include "actors/crash_point.hpp"
#include "actors/disk.hpp"
#include "actors/executor.hpp"
#include "actors/metrics.hpp"
#include "actors/restart_budget.hpp"
#include "policy/placement.hpp"
#include "transport/engine_client.hpp"

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

namespace davit {

namespace {

using namespace std::chrono_literals;

/// Events are the wake-up call; this is for the case that one was lost with an actor.
constexpr duration look_interval = 1000ms;

using steady = std::chrono::steady_clock;

struct live_attempt {
  executor_actor executor;
  std::string engine;
  bool takes_slot = true;
  claimed_attempt work;
  restart_budget budget;
};

struct scheduler_state {
  static inline const char* name = "scheduler";

  context_ptr context;
  scheduler_handles addresses;
  uuid incarnation = uuid::make_v4(); ///< Fences off the executors of a scheduler that has failed.
  std::map<std::string, engine_status> engines;
  std::map<attempt_key, live_attempt> live;
  bool taken_over = false;
  bool claiming = false;
  bool claim_again = false;
  bool draining = false;
  std::optional<steady::time_point> lease_from;  ///< When the heartbeat was sent that the lease rests on.
  std::optional<steady::time_point> leased_since; ///< Without a break.
  std::optional<steady::time_point> beaten_at;   ///< When the last heartbeat was sent.
  bool beating = false, adopting = false;
  bool refused = false; ///< Another agent has this one's name.
  std::string blocked; ///< Why nothing is claimed, if the agent itself is the reason.
  std::vector<caf::typed_response_promise<void>> drained;
};

using self_pointer = scheduler_actor::stateful_pointer<scheduler_state>;

void claim(self_pointer self);

std::uint32_t busy_slots(const scheduler_state& state, const std::string& engine) {
  std::uint32_t count = 0;
  for (const auto& [key, one] : state.live)
    count += one.takes_slot && one.engine == engine;
  return count;
}

engine_status status_of(const scheduler_state& state, const std::string& engine) {
  if (auto found = state.engines.find(engine); found != state.engines.end())
    return found->second;
  engine_status unknown;
  unknown.name = engine;
  unknown.state = engine_state::down;
  unknown.message = "it is not in the configuration";
  unknown.grace = 10s;
  return unknown;
}

/// Why the engine is given nothing although it may be ready; empty if it is.
std::string blocked_by(const scheduler_state& state, const engine_status& engine) {
  if (state.draining)
    return "the agent is draining";
  if (state.context->settings.shared_store && !state.lease_from)
    return state.refused ? "another agent of the name " + state.context->settings.name + " works with the store" : "the agent has no lease in the store: it can't reach it, or has just come back";
  if (!state.blocked.empty())
    return state.blocked;
  const auto& all = state.context->settings.engines;
  auto settings = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.name == engine.name; });
  if (settings != all.end() && engine.disk_free && *engine.disk_free < settings->min_free_disk.bytes)
    return "its disk (" + engine.info.data_root + ") has " + std::to_string(*engine.disk_free >> 20) + "m free, less than min-free-disk (" + to_string(settings->min_free_disk) + ")";
  return {};
}

/// An agent that could not write its tasks' logs takes none.
void look_at_disk(self_pointer self) {
  auto& state = self->state;
  const auto& settings = state.context->settings;
  auto free = free_disk(settings);
  if (!free)
    return;
  state.context->metrics->disk_free(static_cast<std::int64_t>(*free));
  auto blocked = why_no_room(settings, free);
  if (blocked.empty() != state.blocked.empty())
    spdlog::warn("{}", blocked.empty() ? "there is room on the disk again: tasks are claimed" : blocked + ": no tasks are claimed");
  state.blocked = std::move(blocked);
}

/// Two engines of one name to the world are told of when one comes.
void tell_of_doubles(const scheduler_state& state, const engine_status& now) {
  auto known = state.engines.find(now.name);
  if (now.info.id.empty() || (known != state.engines.end() && known->second.info.id == now.info.id))
    return;
  for (const auto& [name, other] : state.engines)
    if (name == now.name || other.info.id.empty())
      continue;
    else if (other.info.id == now.info.id)
      spdlog::warn("engines {} and {} are one and the same ({}): its slots are counted twice. If they are two machines, one was cloned with its engine's data: remove the volume {} from one of them",
                   name, now.name, now.info.id, transport::engine_volume);
    else if (other.info.reported_id == now.info.reported_id)
      spdlog::warn("engines {} and {} report the same id {} (machines that were cloned share /etc/docker/key.json); davit tells them apart by their volume {}", name, now.name,
                   now.info.reported_id, transport::engine_volume);
}

void start_executor(self_pointer self, claimed_attempt work) {
  auto& state = self->state;
  auto key = work.token.key;
  auto engine = work.task.attempts.back().engine;
  auto [entry, added] = state.live.try_emplace(key, live_attempt{{}, engine, true, work, restart_budget{}});
  entry->second.executor = spawn_executor(self, state.context, std::move(work), status_of(state, engine), state.addresses);
  self->monitor(entry->second.executor);
}

/// The one whose writes about the attempt are taken.
uuid key_incarnation(const live_attempt& one) {
  return one.work.token.incarnation;
}

void settle_drain(self_pointer self) {
  auto& state = self->state;
  if (!state.draining || !state.live.empty())
    return;
  for (auto& promise : std::exchange(state.drained, {}))
    promise.deliver();
}

/// Takes over what the named agent left behind, and goes on with it.
void take_over_from(self_pointer self, const std::string& agent, std::function<void()> then, std::function<void(const caf::error&)> otherwise) {
  auto& state = self->state;
  self->request(state.addresses.store, caf::infinite, take_over_atom_v, agent, state.incarnation)
    .then(
      [self, then](std::vector<claimed_attempt>& attempts) {
        if (!attempts.empty())
          spdlog::info("{} attempts were under way when the agent ended last; going on with them", attempts.size());
        for (auto& one : attempts) {
          // In a fleet, this agent may have given it up before it ended.
          one.adopted = self->state.context->settings.shared_store;
          start_executor(self, std::move(one));
        }
        then();
      },
      otherwise);
}

/// The dead whose heir this agent is: nobody waits for their tasks any more.
void take_heritage(self_pointer self) {
  for (const auto& dead : self->state.context->settings.heritage)
    self->request(self->state.addresses.store, caf::infinite, cancel_atom_v, dead)
      .then([self, dead] { take_over_from(self, dead, [] {}, [](const caf::error&) {}); },
            [dead](const caf::error& e) { spdlog::warn("what {} has left stays: {}", dead, text_of(e)); });
}

/// What this agent left behind when it, or its scheduler, ended last.
void take_over(self_pointer self) {
  self->state.taken_over = true;
  take_over_from(
    self, self->state.context->settings.name,
    [self] {
      take_heritage(self);
      claim(self);
    },
    [self](const caf::error& e) {
      spdlog::error("the store did not tell what was under way: {}", text_of(e));
      self->state.taken_over = false;
      self->run_delayed(500ms, [self] {
        if (!self->state.taken_over)
          take_over(self);
      });
    });
}

void claim(self_pointer self) {
  auto& state = self->state;
  if (state.draining || !state.blocked.empty() || !state.taken_over || !state.addresses.store || (state.context->settings.shared_store && !state.lease_from))
    return;
  if (state.claiming) {
    state.claim_again = true;
    return;
  }
  claim_request request{state.context->settings.name, state.incarnation, {}, {}, state.context->settings.placement};
  for (const auto& [name, engine] : state.engines) {
    auto busy = busy_slots(state, name);
    if (engine.state == engine_state::ready)
      request.reached.insert(request.reached.end(), {engine.info.id, engine.info.reported_id});
    if (engine.state == engine_state::ready && busy < engine.slots && blocked_by(state, engine).empty()) {
      auto labels = labels_of(engine.profile);
      labels.insert(labels.end(), engine.labels.begin(), engine.labels.end());
      request.offers.push_back({name, engine.info.id, std::move(labels), engine.slots, engine.slots - busy});
    }
  }
  if (request.offers.empty())
    return;
  state.claiming = true;
  state.claim_again = false;
  auto go_on = [self] {
    self->state.claiming = false;
    if (self->state.claim_again)
      claim(self);
  };
  self->request(state.addresses.store, caf::infinite, claim_atom_v, std::move(request))
    .then(
      [self, go_on](claim_answer& answer) {
        if (!answer.attempts.empty())
          crash_point("attempt claimed");
        for (auto& one : answer.attempts)
          start_executor(self, std::move(one));
        if (answer.next_due) {
          auto wait = std::max<duration>(std::chrono::duration_cast<duration>(*answer.next_due - std::chrono::system_clock::now()) + 1ms, 1ms);
          self->run_delayed(wait, [self] { claim(self); });
        }
        go_on();
      },
      [self, go_on](const caf::error& e) {
        spdlog::warn("no tasks were claimed: {}", text_of(e));
        go_on();
      });
}

// -- the fleet: leases, and what the dead have left ---------------------------------------------------------------------

std::vector<agent_engine> engines_of(const scheduler_state& state) {
  std::vector<agent_engine> list;
  for (const auto& [name, engine] : state.engines)
    list.push_back({name, engine.info.id, engine.state, engine.slots, busy_slots(state, name), engine.labels, engine.profile, engine.message, blocked_by(state, engine)});
  return list;
}

/// Others may take over what runs here before long: nothing of it may be left running by then.
void fence(self_pointer self) {
  auto& state = self->state;
  // One that was frozen for longer wakes up to find that its tasks may be others': their containers are none of its business.
  auto over = steady::now() - *state.lease_from > state.context->settings.lease;
  spdlog::error("the store could not be reached for {}: this agent's {} tasks are given up {}", format_duration(state.context->settings.lease * 2 / 3), state.live.size(),
                over ? "to whoever has them by now" : "before others take them over");
  state.lease_from.reset();
  state.leased_since.reset();
  state.taken_over = false;
  state.incarnation = uuid::make_v4();
  for (auto& [key, one] : state.live)
    self->send(one.executor, fence_atom_v, !over);
}

void beat(self_pointer self) {
  auto& state = self->state;
  const auto& settings = state.context->settings;
  auto now = steady::now();
  if (state.lease_from && now - *state.lease_from > settings.lease * 2 / 3)
    fence(self);
  if (state.beating || !state.addresses.store || (state.beaten_at && now - *state.beaten_at < settings.lease / 6))
    return;
  state.beating = true;
  state.beaten_at = now;
  agent_status me;
  me.name = settings.name;
  me.home = settings.home;
  me.incarnation = state.incarnation;
  me.version = DAVIT_VERSION;
  me.state = state.draining ? agent_state::draining : agent_state::ready;
  me.engines = engines_of(state);
  me.address = settings.peers.advertise.empty() ? settings.peers.listen : settings.peers.advertise;
  self->request(state.addresses.store, caf::infinite, beat_atom_v, me, settings.lease)
    .then(
      [self, now, incarnation = state.incarnation](bool good) {
        auto& state = self->state;
        const auto& settings = state.context->settings;
        state.beating = false;
        if (incarnation != state.incarnation) // fenced meanwhile: the next one counts
          return;
        state.refused = !good;
        if (!good) {
          spdlog::error("another agent of the name {} works with the store; give this one a name of its own (davit.agent.name)", settings.name);
          if (state.lease_from)
            fence(self);
          return;
        }
        if (steady::now() - now > settings.lease / 3) // it came late: others may have counted already
          return;
        state.lease_from = now;
        if (!state.leased_since)
          state.leased_since = now;
        if (!state.taken_over && state.live.empty())
          take_over(self);
      },
      [self](const caf::error& e) {
        self->state.beating = false;
        spdlog::warn("the store took no sign of life: {}", text_of(e));
      });
}

/// An attempt that nobody can reach any more: its task is tried again where its policy lets it.
void give_up(self_pointer self, const claimed_attempt& orphan) {
  auto& state = self->state;
  attempt_result lost;
  lost.token = orphan.token;
  lost.outcome = outcome::agent_lost;
  lost.message = "its agent is gone, and no other agent reaches the engine " + orphan.task.attempts.back().engine + "; how it ended is not known";
  lost.evidence.note = "the container, if there is one, may still run";
  lost.finished_at = std::chrono::system_clock::now();
  auto may_have_started = orphan.task.state == task_state::running || !orphan.task.attempts.back().container.empty();
  if (!(orphan.task.spec.at_most_once && may_have_started))
    if (auto wait = retry_delay(orphan.task.spec.retry, orphan.token.key.number, lost.outcome, 0.5))
      lost.retry_at = lost.finished_at + *wait;
  spdlog::warn("task {}: {}", to_string(orphan.token.key.task), lost.message);
  self->request(state.addresses.store, caf::infinite, finish_atom_v, lost)
    .then([self] { self->state.context->metrics->task_finished(to_string(outcome::agent_lost)); },
          [](const caf::error& e) { spdlog::warn("an orphan's end was not written down: {}", text_of(e)); });
}

/// What agents whose leases are over have left. An agent that has just come back, or that could not reach the store itself, waits for a
/// lease's time first: so that a database that was away for all does not make everybody take everybody's work.
void adopt(self_pointer self) {
  auto& state = self->state;
  const auto& settings = state.context->settings;
  if (state.adopting || state.draining || !state.lease_from || !state.taken_over || steady::now() - *state.leased_since < settings.lease)
    return;
  state.adopting = true;
  adopt_request request{settings.name, state.incarnation, engines_of(state), settings.lease / 2};
  self->request(state.addresses.store, caf::infinite, adopt_atom_v, request)
    .then(
      [self, incarnation = state.incarnation](adoption& found) {
        auto& state = self->state;
        state.adopting = false;
        if (incarnation != state.incarnation)
          return;
        for (auto& one : found.adopted) {
          spdlog::warn("task {}: attempt {} of an agent that is gone is taken over", to_string(one.token.key.task), one.token.key.number);
          state.context->metrics->attempt_adopted();
          start_executor(self, std::move(one));
        }
        for (const auto& one : found.orphans)
          give_up(self, one);
      },
      [self](const caf::error& e) {
        self->state.adopting = false;
        spdlog::warn("the store did not tell what agents have left: {}", text_of(e));
      });
}

/// An executor has ended. If it was not of its own accord, another goes on from where the container is.
void executor_down(self_pointer self, const caf::down_msg& down) {
  auto& state = self->state;
  auto found = std::find_if(state.live.begin(), state.live.end(), [&](const auto& one) { return one.second.executor.address() == down.source; });
  if (found == state.live.end())
    return;
  auto key = found->first;
  auto& entry = found->second;
  if (!down.reason || down.reason == caf::exit_reason::normal || !(key_incarnation(entry) == state.incarnation)) {
    state.live.erase(found);
    settle_drain(self);
    claim(self);
    return;
  }
  state.context->metrics->actor_restarted("executor");
  auto wait = entry.budget.spend(std::chrono::steady_clock::now());
  if (!wait) {
    spdlog::error("the executor of task {} fails again and again; its attempt is given up", to_string(key.task));
    attempt_result lost;
    lost.token = entry.work.token;
    lost.outcome = outcome::agent_lost;
    lost.message = "the executor failed again and again: " + caf::to_string(down.reason);
    lost.finished_at = std::chrono::system_clock::now();
    self->request(state.addresses.store, caf::infinite, finish_atom_v, lost).then([] {}, [](const caf::error&) {});
    state.live.erase(found);
    settle_drain(self);
    return;
  }
  spdlog::warn("the executor of task {} failed ({}); another goes on", to_string(key.task), caf::to_string(down.reason));
  self->run_delayed(*wait, [self, key] {
    self->request(self->state.addresses.store, caf::infinite, find_atom_v, key.task)
      .then(
        [self, key](task& now) {
          auto entry = self->state.live.find(key);
          if (entry == self->state.live.end())
            return;
          auto over = now.attempts.empty() || now.attempts.back().number != key.number || now.attempts.back().outcome;
          auto work = entry->second.work;
          if (over) { // the outcome is stored; what is left of the container is the reaper's
            self->state.live.erase(entry);
            settle_drain(self);
            claim(self);
            return;
          }
          work.task = std::move(now);
          work.resumed = true;
          start_executor(self, std::move(work));
        },
        [self, key](const caf::error& e) {
          spdlog::error("the store does not tell of task {}: {}", to_string(key.task), text_of(e));
          auto entry = self->state.live.find(key);
          if (entry != self->state.live.end()) {
            auto work = entry->second.work;
            work.resumed = true;
            start_executor(self, std::move(work));
          }
        });
  });
}

scheduler_actor::behavior_type scheduler(self_pointer self, context_ptr context, scheduler_handles addresses) {
  auto& state = self->state;
  state.context = context;
  state.addresses = std::move(addresses);
  state.draining = state.addresses.draining;
  self->set_down_handler([self](const caf::down_msg& down) { executor_down(self, down); });
  // Until a connection has told of itself, its engine is connecting.
  for (const auto& one : context->settings.engines) {
    auto& status = state.engines[one.name];
    status.name = one.name;
    status.labels = one.labels;
    status.slots = one.slots;
    status.grace = one.grace;
    status.since = std::chrono::system_clock::now();
  }
  look_at_disk(self);
  self->delayed_send(self, look_interval, tick_atom_v);
  return {
    [=](const task_event& event) {
      auto& state = self->state;
      if (event.kind == "accepted" || event.kind == "retrying")
        claim(self);
      else if (event.kind == "cancel_requested")
        for (auto& [key, one] : state.live)
          if (key.task == event.task)
            self->send(one.executor, cancel_atom_v);
    },
    [=](const engine_status& now) {
      auto& state = self->state;
      tell_of_doubles(state, now);
      state.engines[now.name] = now;
      for (auto& [key, one] : state.live)
        if (one.engine == now.name)
          self->send(one.executor, now);
      if (now.state == engine_state::ready)
        claim(self);
    },
    [=](ended_atom, const attempt_key& key) {
      auto& live = self->state.live;
      if (auto found = live.find(key); found != live.end() && found->second.takes_slot) {
        found->second.takes_slot = false;
        claim(self);
      }
    },
    [=](progress_atom, const attempt_key& key, const pull_progress& progress) {
      auto& live = self->state.live;
      if (auto found = live.find(key); found != live.end())
        self->send(found->second.executor, progress);
    },
    [=](progress_atom, task_id id) -> caf::result<std::optional<attempt_status>> {
      auto& live = self->state.live;
      auto found = std::find_if(live.rbegin(), live.rend(), [&](const auto& one) { return one.first.task == id; });
      if (found == live.rend())
        return std::optional<attempt_status>{};
      auto promise = self->make_response_promise<std::optional<attempt_status>>();
      self->request(found->second.executor, 2s, progress_atom_v)
        .then([promise](const attempt_status& now) mutable { promise.deliver(std::optional{now}); },
              [promise](const caf::error&) mutable { promise.deliver(std::optional<attempt_status>{}); });
      return promise;
    },
    [=](engines_atom) {
      std::vector<engine_status> list;
      for (auto [name, status] : self->state.engines) {
        status.busy = busy_slots(self->state, name);
        status.blocked = blocked_by(self->state, status);
        list.push_back(std::move(status));
      }
      return list;
    },
    [=](list_atom) {
      live_executors list;
      for (const auto& [key, one] : self->state.live)
        list.executors.emplace(key, one.executor);
      return list;
    },
    [=](drain_atom) {
      auto promise = self->make_response_promise<void>();
      self->state.draining = true;
      self->state.drained.push_back(promise);
      settle_drain(self);
      return promise;
    },
    [=](stop_atom) {
      for (auto& [key, one] : self->state.live)
        self->send(one.executor, stop_atom_v);
    },
    [=](retire_atom) -> caf::result<void> {
      auto promise = self->make_response_promise<void>();
      auto& state = self->state;
      if (!state.context->settings.shared_store || !state.lease_from) {
        promise.deliver();
        return promise;
      }
      self->request(state.addresses.store, caf::infinite, retire_atom_v, state.context->settings.name, state.incarnation)
        .then([promise]() mutable { promise.deliver(); }, [promise](const caf::error& e) mutable { promise.deliver(e); });
      return promise;
    },
    [=](tick_atom) {
      self->delayed_send(self, look_interval, tick_atom_v);
      look_at_disk(self);
      if (self->state.context->settings.shared_store) {
        beat(self);
        adopt(self);
      }
      claim(self);
      if (self->state.addresses.store) {
        self->request(self->state.addresses.store, caf::infinite, expire_atom_v).then([] {}, [](const caf::error&) {});
        self->request(self->state.addresses.store, caf::infinite, count_atom_v).then([](const task_counts&) {}, [](const caf::error&) {});
      }
    },
    [=](wire_atom, const scheduler_handles& addresses) {
      auto& state = self->state;
      state.addresses = addresses;
      state.draining |= addresses.draining;
      for (auto& [key, one] : state.live)
        self->send(one.executor, wire_atom_v, executor_handles{addresses});
      if (state.context->settings.shared_store)
        beat(self);
      else if (!state.taken_over && addresses.store)
        take_over(self);
    },
  };
}

} // namespace

scheduler_actor spawn_scheduler(caf::actor_system& system, context_ptr context, scheduler_handles addresses) {
  return system.spawn(scheduler, std::move(context), std::move(addresses));
}

} // namespace davit
