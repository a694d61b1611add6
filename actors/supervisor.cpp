#include "actors/supervisor.hpp"

#include "actors/metrics.hpp"
#include "actors/roll_call.hpp"
#include "actors/restart_budget.hpp"

#include <caf/actor_system.hpp>
#include <caf/sec.hpp>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace davit {

namespace {

/// How long a subtree is suspended.
constexpr duration suspension{30'000};

/// What engines are given to remove what is left on them at the end of a drain.
constexpr duration clean_up_limit{10'000};

enum class child_state : std::uint8_t {
  absent, ///< It is started when its subtree is.
  running,
  waiting,  ///< It has failed, and is started again after its backoff.
  stopping, ///< Its subtree is suspended: it was told to end, and has not.
};

struct child {
  child_plan plan;
  child_state state = child_state::absent;
  caf::actor actor; ///< None while it is absent or waits.
  restart_budget budget;
  std::uint64_t starts = 0; ///< A timer that was set in an earlier life is stale.
};

struct subtree {
  subtree_plan plan;
  bool suspended = false;
  timestamp since; ///< When it was suspended.
};

struct supervisor_state {
  static inline const char* name = "supervisor";

  context_ptr context;
  std::vector<subtree> subtrees;
  std::vector<child> children; ///< In the order of their start.
  /// The actors of `children`, for the supervisor's end. (A link would do it too, but a killed child would kill the
  /// supervisor.)
  std::shared_ptr<std::vector<caf::actor>> living = std::make_shared<std::vector<caf::actor>>();
  directory all;
  caf::typed_response_promise<void> starting;              ///< Whoever waits for the start.
  std::vector<caf::typed_response_promise<void>> draining; ///< Whoever waits for the end of the drain.
  scheduler_actor drained; ///< The scheduler that was asked to drain, and has not answered.
};

using self_pointer = supervisor_actor::stateful_pointer<supervisor_state>;

void await_drained(self_pointer self);

subtree& subtree_of(supervisor_state& state, const child& one) {
  return *std::find_if(state.subtrees.begin(), state.subtrees.end(),
                       [&](const subtree& tree) { return tree.plan.name == one.plan.subtree; });
}

std::string actor_name(const child& one) {
  return one.plan.name.substr(0, one.plan.name.find(' '));
}

/// Whoever waits for the start or the end of a drain, once.
void answer(caf::typed_response_promise<void>& promise, const caf::error& why = {}) {
  auto one = std::exchange(promise, {});
  if (!one.pending())
    return;
  if (why)
    one.deliver(why);
  else
    one.deliver();
}

void start(self_pointer self, std::size_t index) {
  auto& state = self->state;
  auto& one = state.children[index];
  one.actor = one.plan.start(state.all);
  one.state = child_state::running;
  ++one.starts;
  (*state.living)[index] = one.actor;
  self->monitor(one.actor);
  enrol(one.actor, one.plan.name);
}

/// Each child is given the handles that it uses and does not have.
void publish(self_pointer self) {
  auto& state = self->state;
  for (std::size_t i = 0; i < state.children.size(); ++i) {
    auto& one = state.children[i];
    if (one.state != child_state::running)
      continue;
    auto news = one.plan.news(state.all);
    if (!news)
      continue;
    auto last = i + 1 == state.children.size();
    self->request(one.actor, caf::infinite, std::move(*news))
      .then(
        [self, last] {
          if (last)
            answer(self->state.starting);
        },
        [](const caf::error&) {}); // its end says more
  }
  for (const auto& tree : state.subtrees)
    if (tree.suspended && tree.plan.tell_suspended)
      tree.plan.tell_suspended(state.all, state.all.suspended[tree.plan.name], tree.since);
  await_drained(self);
}

void resume(self_pointer self, subtree& tree) {
  auto& state = self->state;
  tree.suspended = false;
  state.all.suspended.erase(tree.plan.name);
  state.context->metrics->suspended(tree.plan.name, false);
  for (std::size_t i = 0; i < state.children.size(); ++i)
    if (const auto& one = state.children[i]; one.plan.subtree == tree.plan.name && one.state == child_state::absent)
      start(self, i);
  publish(self);
}

/// The subtree is started again later; nothing else notices but what it is told.
void suspend(self_pointer self, subtree& tree, std::string why) {
  auto& state = self->state;
  tree.suspended = true;
  tree.since = std::chrono::system_clock::now();
  state.all.suspended[tree.plan.name] = std::move(why);
  state.context->metrics->suspended(tree.plan.name, true);
  for (auto one = state.children.rbegin(); one != state.children.rend(); ++one) {
    if (one->plan.subtree != tree.plan.name)
      continue;
    if (one->state == child_state::running) {
      one->state = child_state::stopping;
      self->send_exit(one->actor, caf::exit_reason::user_shutdown);
    } else if (one->state == child_state::waiting) {
      one->state = child_state::absent;
    }
  }
  self->run_delayed(suspension, [self, &tree] { resume(self, tree); });
  publish(self);
}

/// Nothing is accepted from now on. The children end with the supervisor.
void give_up(self_pointer self, std::string why) {
  auto& state = self->state;
  state.context->ending->store(true);
  spdlog::critical("{}; the agent ends", why);
  auto reason = make_failure(caf::sec::runtime_error, std::move(why));
  answer(state.starting, reason);
  self->quit(reason);
}

void child_failed(self_pointer self, std::size_t index, const caf::error& reason) {
  auto& state = self->state;
  auto& one = state.children[index];
  auto& tree = subtree_of(state, one);
  auto wait = one.budget.spend(self->clock().now());
  auto why = one.plan.name + " fails repeatedly: " + text_of(reason);
  if (!wait && tree.plan.core)
    return give_up(self, std::move(why));
  state.context->metrics->actor_restarted(actor_name(one));
  if (index + 1 == state.children.size())
    answer(state.starting, reason);
  if (!wait) {
    spdlog::critical("{}; davit retries in {}", why, format_duration(suspension));
    one.state = child_state::absent;
    return suspend(self, tree, std::move(why));
  }
  spdlog::error("{} failed ({}); it is restarted", one.plan.name, text_of(reason));
  one.state = child_state::waiting;
  self->run_delayed(*wait, [self, index, life = one.starts] {
    const auto& one = self->state.children[index];
    if (one.state != child_state::waiting || one.starts != life)
      return;
    start(self, index);
    publish(self);
  });
}

void child_down(self_pointer self, const caf::down_msg& down) {
  auto& state = self->state;
  auto found = std::find_if(state.children.begin(), state.children.end(),
                            [&](const child& one) { return one.actor && one.actor.address() == down.source; });
  if (found == state.children.end())
    return;
  auto index = static_cast<std::size_t>(found - state.children.begin());
  found->actor = nullptr;
  (*state.living)[index] = nullptr;
  if (found->state == child_state::running)
    return child_failed(self, index, down.reason);
  found->state = child_state::absent;
  if (subtree_of(state, *found).suspended)
    return;
  start(self, index); // its subtree has been resumed while it was still ending
  publish(self);
}

// -- the drain ----

/// No task comes any more: the containers that wait for one go, and those that an earlier crash has left, from the
/// engines that answer soon.
void leave_nothing_behind(self_pointer self) {
  auto& all = self->state.all;
  auto left = std::make_shared<std::size_t>(all.sandboxes.size() + 1);
  auto one_less = [self, left] {
    if (--*left == 0)
      for (auto& promise : std::exchange(self->state.draining, {}))
        answer(promise);
  };
  for (auto& [name, keeper] : all.sandboxes)
    self->request(keeper, clean_up_limit, drain_atom_v).then(one_less, [one_less](const caf::error&) { one_less(); });
  self->request(all.reaper, clean_up_limit, reap_atom_v)
    .then([one_less](std::uint32_t) { one_less(); }, [one_less](const caf::error&) { one_less(); });
}

/// Asks the scheduler that there is now, unless it was asked already. If it ends before it answers, its successor is
/// asked.
void await_drained(self_pointer self) {
  auto& state = self->state;
  if (state.draining.empty() || !state.all.scheduler || state.drained == state.all.scheduler)
    return;
  state.drained = state.all.scheduler;
  self->request(state.drained, caf::infinite, drain_atom_v)
    .then(
      [self] {
        self->state.drained = nullptr;
        leave_nothing_behind(self);
      },
      [](const caf::error&) {});
}

supervisor_actor::behavior_type supervisor(self_pointer self, context_ptr context, supervision_plan plan) {
  auto& state = self->state;
  state.context = context;
  state.all.supervisor = self;
  for (auto& one : plan.subtrees) {
    if (!one.core)
      context->metrics->suspended(one.name, false);
    state.subtrees.push_back({std::move(one), false, {}});
  }
  for (auto& one : plan.children)
    state.children.push_back({std::move(one), child_state::absent, {}, restart_budget{}, 0});
  state.living->resize(state.children.size());
  self->set_down_handler([self](const caf::down_msg& down) { child_down(self, down); });
  self->attach_functor([living = state.living, ending = context->ending] {
    ending->store(true);
    for (auto one = living->rbegin(); one != living->rend(); ++one)
      if (*one)
        caf::anon_send_exit(*one, caf::exit_reason::user_shutdown);
  });
  return {
    [=](start_atom) -> caf::result<void> {
      auto& state = self->state;
      state.starting = self->make_response_promise<void>();
      auto promise = state.starting;
      for (std::size_t i = 0; i < state.children.size(); ++i)
        start(self, i);
      publish(self);
      return promise;
    },
    [=](drain_atom) -> caf::result<void> {
      auto& state = self->state;
      auto promise = self->make_response_promise<void>();
      state.draining.push_back(promise);
      state.all.stage = std::max(state.all.stage, drain_stage::draining);
      publish(self);
      return promise;
    },
    [=](stop_atom) {
      self->state.all.stage = drain_stage::stopping;
      publish(self);
    },
    [=](find_atom) { return self->state.all; },
  };
}

} // namespace

supervisor_actor spawn_supervisor(caf::actor_system& system, context_ptr context, supervision_plan plan) {
  return system.spawn(supervisor, std::move(context), std::move(plan));
}

} // namespace davit
