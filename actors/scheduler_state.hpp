// What the scheduler knows, and the three rooms that work on it: claims and the actor itself (scheduler.cpp), executors
// (scheduler_executors.cpp), and the lease in a shared store (scheduler_lease.cpp).
#pragma once

#include "actors/agent_lease.hpp"
#include "actors/engine_roster.hpp"
#include "actors/restart_budget.hpp"
#include "actors/scheduler.hpp"

#include <caf/disposable.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <set>
#include <utility>

namespace davit {

/// One of an engine's slots, in use for as long as this lives.
class used_slot {
public:
  used_slot() = default;
  explicit used_slot(std::uint32_t& count) : count_(&count) { ++count; }
  used_slot(used_slot&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
  used_slot& operator=(used_slot&& other) noexcept {
    std::swap(count_, other.count_);
    return *this;
  }
  ~used_slot() {
    if (count_)
      --*count_;
  }

  explicit operator bool() const { return count_ != nullptr; }

private:
  std::uint32_t* count_ = nullptr;
};

struct live_attempt {
  executor_actor executor; ///< None: it has failed, and another is started soon.
  std::string engine;      ///< Where it is, as the configuration calls it now.
  bool placed = false;     ///< That engine has told that it is the attempt's.
  used_slot slot;          ///< None: its container has ended.
  claimed_attempt work;
  restart_budget budget;
};

constexpr duration look_interval{1000};

struct scheduler_state {
  static inline const char* name = "scheduler";

  scheduler_state() = default;
  scheduler_state(const scheduler_state&) = delete;

  context_ptr context;
  scheduler_handles addresses;
  executor_factory make_executor;
  uuid incarnation = uuid::make_v4(); ///< Fences off the executors of a scheduler that has failed.
  engine_roster engines{{}};
  agent_lease lease{{}};                     ///< Counts in a shared store alone.
  std::map<std::string, std::uint32_t> busy; ///< How many slots of each engine the live attempts use.
  std::map<attempt_key, live_attempt> live;
  std::set<attempt_key> ending; ///< Without an executor; their end is being stored.
  bool caught_up = false;       ///< The store has told this incarnation what was left to it.
  bool answer_lost = false;     ///< The store may have given attempts that this scheduler has not heard of.
  bool claiming = false, claim_again = false;
  bool adopting = false;
  std::set<attempt_key>
    given_up; ///< By the last fence, until the store has said what is left: their containers may be gone.
  caf::disposable beat_timer; ///< Of the next heartbeat after one that failed.
  bool beat_failing = false;  ///< The store did not take the last heartbeat, and it has been said.
  std::optional<std::chrono::steady_clock::time_point> look_at; ///< When the next task that waits may be claimed.
  caf::disposable look_timer;
  drain_stage stage = drain_stage::none;
  bool drain_waits = false; ///< For the store to say what is at work.
  std::vector<caf::typed_response_promise<void>> drained;
  std::string blocked; ///< Why nothing is claimed; empty: nothing is in the way.

  bool draining() const { return stage != drain_stage::none; }
  bool shared() const { return context->settings.shared_store; }

  /// Whether what was given up has not ended yet. Nothing is taken up until it has: all of `live` is of one
  /// incarnation.
  bool fenced_executors_live() const {
    return !live.empty() && live.begin()->second.work.token.incarnation != incarnation;
  }

  /// Why the engine is given nothing although it may be ready; empty if it is.
  std::string blocked_by(const engine_status& engine) const {
    if (draining())
      return "the agent is draining";
    if (shared() && !lease.held())
      return lease.refused() ? "another agent named " + context->settings.name + " uses the store"
                             : "the agent has no lease in the store: it can't reach the store, or has just come back";
    return !blocked.empty() ? blocked : engines.full_disk(engine);
  }

  auto counting_slots() const {
    return [this](const std::string& engine) {
      auto found = busy.find(engine);
      return found == busy.end() ? 0 : found->second;
    };
  }
  auto blocking() const {
    return [this](const engine_status& engine) { return blocked_by(engine); };
  }
};

using scheduler_pointer = scheduler_actor::stateful_pointer<scheduler_state>;

// -- scheduler.cpp ----------------------------------------------------------------------------------------------------

/// Asks the store for what this agent should work at, if there is anything to ask for.
void claim(scheduler_pointer self);

/// Answers whoever waits for the end of the drain, if it is over.
void answer_drain(scheduler_pointer self);

// -- scheduler_executors.cpp ------------------------------------------------------------------------------------------

/// Gives the attempt an executor. Two answers that cross may hold the same attempt: it gets one.
void take_up(scheduler_pointer self, claimed_attempt work);

/// Tells executors what their engines are now, after the one that is called `changed` has told of itself.
void tell_of_engine(scheduler_pointer self, const std::string& changed);

/// Tells the executor of a cancelled task how long its end may take, if the store knows a limit.
void limit_end(scheduler_pointer self, task_id id);

/// Stores the end of an attempt that has no executor. Until then nobody may take it up.
void store_end(scheduler_pointer self, const attempt_result& result);

/// An executor has ended. If it was not of its own accord, another goes on from where the container is.
void executor_down(scheduler_pointer self, const caf::down_msg& down);

// -- scheduler_lease.cpp ----------------------------------------------------------------------------------------------

/// Sends a heartbeat if one is due; gives up what runs if the lease is about to run out.
void beat(scheduler_pointer self);

/// Takes over what agents whose leases are over have left.
void adopt(scheduler_pointer self);

} // namespace davit
