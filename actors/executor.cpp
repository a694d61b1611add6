// Does what `next` (actors/attempt.hpp) says: asks others, sets timers, and brings it what happens.
#include "actors/executor.hpp"

#include "actors/attempt.hpp"
#include "actors/crash_point.hpp"
#include "actors/metrics.hpp"
#include "actors/volume_names.hpp"
#include "secrets/secret_box.hpp"

#include <caf/actor_system.hpp>
#include <caf/disposable.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <sys/resource.h>
#include <unistd.h>

namespace davit {

namespace {

failure to_failure(const caf::error& e) {
  failure why;
  why.text = text_of(e);
  if (e.category() == caf::type_id_v<store_errc>)
    why.store = static_cast<store_errc>(e.code());
  else if (e.category() == caf::type_id_v<log_errc>)
    why.log = static_cast<log_errc>(e.code());
  else if (e.category() == caf::type_id_v<files_errc>)
    why.files = static_cast<files_errc>(e.code());
  else
    why.engine = engine_code(e);
  return why;
}

constexpr int validating_niceness = 10;

struct executor_state {
  using self_pointer = executor_actor::stateful_pointer<executor_state>;

  static inline const char* name = "executor";

  explicit executor_state(self_pointer actor) : self(actor) {}
  ~executor_state() { stop_timers(); }

  self_pointer self;
  context_ptr context;
  executor_handles addresses;
  attempt_run run;
  std::vector<caf::disposable> timers; ///< Of the step.
  std::deque<event> events;            ///< What is still to be heard.
  bool hearing = false;
  bool left = false;
  std::uint64_t log_bytes = 0; ///< Of the attempt's log, once it is closed.

  const attempt_key& key() const { return run.key(); }

  engine_actor engine() const {
    auto found = addresses.engines.find(run.engine.name);
    return found == addresses.engines.end() ? engine_actor{} : found->second;
  }

  sandbox_actor keeper() const {
    auto found = addresses.sandboxes.find(run.engine.name);
    return found == addresses.sandboxes.end() ? sandbox_actor{} : found->second;
  }

  void stop_timers() {
    for (auto& one : timers)
      one.dispose();
    timers.clear();
  }

  /// What an action causes at once is heard when all actions are done.
  void hear(event happened) {
    events.push_back(std::move(happened));
    if (std::exchange(hearing, true))
      return;
    for (; !events.empty() && !left; events.pop_front()) {
      static thread_local std::minstd_rand random{std::random_device{}()};
      auto before = run.generation;
      auto actions = advance(run, events.front(),
                             {self->clock().now(), std::chrono::system_clock::now(),
                              std::uniform_real_distribution<double>{0, 1}(random), uuid::make_v4(),
                              context->images_guarded->load()});
      if (run.generation != before)
        stop_timers();
      for (auto& one : actions)
        std::visit([this](auto& what) { perform(what); }, one);
    }
    hearing = false;
  }

  // -- asking
  // ----------------------------------------------------------------------------------------------------------

  template <class Ask, class Handle, class Timeout, class... Args>
  void ask_of(const Handle& whom, Timeout limit, const Ask&, Args&&... args) {
    if (!whom) {
      hear(refusal{name_of<Ask>, {engine_errc::lost, {}, {}, "the engine's connection is being restarted"}});
      return;
    }
    auto expected = [this, generation = run.generation, era = run.era] {
      return Ask::lasting ? era == run.era : generation == run.generation;
    };
    auto refused = [this, expected](const caf::error& e) {
      if (expected())
        hear(refusal{name_of<Ask>, to_failure(e)});
    };
    auto asked = self->request(whom, limit, std::forward<Args>(args)...);
    if constexpr (std::is_same_v<typename Ask::answer, ask::nothing>)
      std::move(asked).then(
        [this, expected] {
          if (expected())
            hear(reply<Ask>{});
        },
        refused);
    else
      std::move(asked).then(
        [this, expected](typename Ask::answer& value) {
          if constexpr (std::is_same_v<Ask, ask::close_log>) {
            log_bytes = value.out.bytes + value.err.bytes;
            if (run.spec.validator)
              return validate(std::move(value), expected);
          }
          if (expected())
            hear(reply<Ask>{std::move(value)});
        },
        refused);
  }

  /// A regex may take seconds, on a thread of its own with a low priority.
  void validate(log_summary totals, std::function<bool()> expected) {
    auto judge = self->system().spawn<caf::detached>(
      [validator = *run.spec.validator](caf::event_based_actor* one) -> caf::behavior {
        return {[=](const std::string& tail) {
          ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), validating_niceness);
          one->quit();
          return validate_output(validator, tail);
        }};
      });
    auto shared = std::make_shared<log_summary>(std::move(totals));
    self->request(judge, caf::infinite, std::move(shared->tail))
      .then(
        [=, this](bool fits) {
          shared->fits = fits;
          if (expected())
            hear(reply<ask::close_log>{std::move(*shared)});
        },
        [=, this](const caf::error& e) { // out of memory, for instance: the log is asked for once more
          if (expected())
            hear(refusal{name_of<ask::close_log>, to_failure(e)});
        });
  }

  void perform(const ask::judge& q) {
    reply<ask::judge> answer;
    auto judged = context->policy->judge(run.work.task.spec, q.profile);
    answer.value.effective = std::move(judged.effective);
    for (const auto& one : judged.violations)
      answer.value.forbidden
        += (answer.value.forbidden.empty() ? "" : "; ") + one.field + ": " + one.message + " (rule " + one.rule + ")";
    // From here on it is the container's spec.
    own_volumes(answer.value.effective, context->settings.fleet, run.work.task.owner, *context->policy);
    answer.value.effective.labels = context->policy->container_labels(answer.value.effective.labels);
    for (const auto& [name, sealed] : answer.value.effective.secrets) {
      if (auto value = context->secrets->unseal(name, sealed.value))
        answer.value.secrets[name] = {std::move(*value), false};
      else if (answer.value.unreadable.empty())
        answer.value.unreadable = "secrets." + name + ": it was sealed with another key than "
                                + context->settings.secrets_key_file().string()
                                + " holds now; put that key back, or submit the task again";
    }
    hear(std::move(answer));
  }

  void perform(const ask::inspect& q) { ask_of(engine(), caf::infinite, q, inspect_atom_v, q.which); }
  void perform(const ask::list_containers& q) { ask_of(engine(), caf::infinite, q, list_atom_v, q.labels); }
  void perform(const ask::count_processes& q) { ask_of(engine(), caf::infinite, q, count_atom_v, q.container); }
  void perform(const ask::history& q) { ask_of(engine(), caf::infinite, q, history_atom_v, q.container, q.since); }
  void perform(const ask::first_line& q) { ask_of(engine(), caf::infinite, q, log_atom_v, start_atom_v, q.container); }
  void perform(const ask::pull_image& q) {
    ask_of(engine(), caf::infinite, q, pull_atom_v, key(), q.image, q.limit, q.credentials);
  }
  void perform(const ask::look_up_image& q) { ask_of(engine(), caf::infinite, q, find_atom_v, q.image); }
  void perform(ask::create& q) { ask_of(engine(), caf::infinite, q, create_atom_v, std::move(q.plan)); }
  void perform(ask::start& q) { ask_of(engine(), caf::infinite, q, start_atom_v, q.container, std::move(q.files)); }
  void perform(ask::hand_over& q) {
    ask_of(engine(), caf::infinite, q, init_atom_v, q.container, std::move(q.message), q.more);
  }
  void perform(const ask::stop& q) { ask_of(engine(), caf::infinite, q, stop_atom_v, q.container, q.grace); }
  void perform(const ask::remove& q) { ask_of(engine(), caf::infinite, q, remove_atom_v, q.which); }
  void perform(const ask::wait& q) { ask_of(engine(), caf::infinite, q, wait_atom_v, key(), q.container); }
  void perform(ask::follow_log& q) { ask_of(engine(), caf::infinite, q, log_atom_v, std::move(q.what)); }
  void perform(ask::read_log& q) { ask_of(engine(), caf::infinite, q, log_atom_v, std::move(q.what)); }
  void perform(ask::feed& q) {
    ask_of(engine(), caf::infinite, q, attach_atom_v, key(), q.container, std::move(q.bytes));
  }
  void perform(const ask::first_line_now& q) {
    ask_of(engine(), std::chrono::seconds{10}, q, log_atom_v, start_atom_v, q.container);
  }
  void perform(const ask::inspect_now& q) { ask_of(engine(), std::chrono::seconds{10}, q, inspect_atom_v, q.which); }
  void perform(const ask::kill_now& q) {
    ask_of(engine(), std::chrono::seconds{60}, q, stop_atom_v, q.container, duration{0});
  }
  void perform(const ask::remove_now& q) { ask_of(engine(), q.limit, q, remove_atom_v, q.which); }
  void perform(ask::take_sandbox& q) {
    ask_of(keeper(), caf::infinite, q, take_atom_v, std::move(q.plan), q.even_if_it_failed);
  }
  void perform(ask::take_network& q) {
    ask_of(keeper(), caf::infinite, q, take_atom_v, network_atom_v, std::move(q.plan));
  }
  void perform(const ask::put_init& q) { ask_of(keeper(), caf::infinite, q, init_atom_v, q.image); }
  void perform(const ask::record& q) { ask_of(addresses.store, caf::infinite, q, record_atom_v, q.what); }
  void perform(const ask::may_use& q) { ask_of(addresses.store, caf::infinite, q, grant_atom_v, q.what); }
  void perform(const ask::record_pull& q) { ask_of(addresses.store, caf::infinite, q, pull_atom_v, q.what, q.stage); }
  void perform(const ask::record_start& q) { ask_of(addresses.store, caf::infinite, q, record_atom_v, q.what); }
  void perform(const ask::record_terms& q) { ask_of(addresses.store, caf::infinite, q, finish_atom_v, q.what); }
  void perform(const ask::record_stop& q) { ask_of(addresses.store, caf::infinite, q, finish_atom_v, q.what); }
  void perform(const ask::finish& q) { ask_of(addresses.store, caf::infinite, q, finish_atom_v, q.what); }
  void perform(const ask::open_log& q) { ask_of(addresses.logs, caf::infinite, q, open_atom_v, key()); }
  void perform(const ask::close_log& q) { ask_of(addresses.logs, caf::infinite, q, close_atom_v, key(), q.tail); }
  void perform(const ask::note_log& q) { ask_of(addresses.logs, caf::infinite, q, note_atom_v, key(), q.text); }

  void perform(ask::choose& q) { ask_of(addresses.files, caf::infinite, q, find_atom_v, std::move(q.what)); }
  void perform(const ask::recall& q) { ask_of(addresses.store, caf::infinite, q, memo_atom_v, run.work.token, q.memo); }
  void perform(ask::fill& q) { ask_of(addresses.files, caf::infinite, q, fill_atom_v, std::move(q.what)); }
  void perform(ask::find_prepared& q) {
    ask_of(addresses.files, std::chrono::seconds{10}, q, find_atom_v, std::move(q.what));
  }
  void perform(ask::gather& q) { ask_of(addresses.files, caf::infinite, q, collect_atom_v, std::move(q.what)); }

  // -- telling, and what else is to be done
  // ----------------------------------------------------------------------------

  template <class Handle, class... Args>
  void tell(const Handle& whom, Args&&... args) {
    if (whom)
      self->send(whom, std::forward<Args>(args)...);
  }

  void perform(const act::wake& one) {
    std::erase_if(timers, [](const caf::disposable& timer) { return timer.disposed(); });
    timers.push_back(self->run_delayed(one.after, [this, which = one.which] { hear(timer_fired{which}); }));
  }
  void perform(const act::withdraw&) {
    tell(engine(), withdraw_atom_v, key());
    if (!run.spec.inputs.empty() || !run.spec.outputs.empty() || !run.spec.caches.empty())
      tell(addresses.files, withdraw_atom_v, key());
  }
  void perform(const act::release&) {
    if (!run.spec.inputs.empty() || !run.spec.caches.empty())
      tell(addresses.files, forget_atom_v, key(), run.engine.name);
  }
  void perform(const act::end_following&) { tell(engine(), log_atom_v, ended_atom_v, key()); }
  void perform(const act::doubt_init&) { tell(keeper(), ended_atom_v); }
  void perform(const act::forget_container& one) { tell(engine(), remove_atom_v, one.which); }
  void perform(const act::remember_image& one) {
    self->request(addresses.store, caf::infinite, pull_atom_v, run.engine.info.id, one.image)
      .then([] {}, [](const caf::error&) {});
  }
  void perform(const act::forget_pull& one) {
    self->request(addresses.store, caf::infinite, pull_atom_v, one.what, pull_stage::failed)
      .then([] {}, [](const caf::error&) {});
  }
  void perform(const act::note& one) { self->send(addresses.logs, note_atom_v, key(), one.text); }
  void perform(const act::log_is_stored&) { self->send(addresses.logs, finish_atom_v, key()); }
  void perform(const act::free_slot&) { tell(addresses.scheduler, ended_atom_v, key()); }
  void perform(const act::leave&) {
    left = true;
    if (addresses.scheduler) {
      self->demonitor(addresses.scheduler); // it lives on, and would keep the note of us
      self->send(addresses.scheduler, ended_atom_v, key());
    }
    self->quit();
  }
  void perform(const act::crash& one) { crash_point(one.where); }

  void perform(const act::phase_took& one) { context->metrics->attempt_phase(one.name, one.seconds); }
  void perform(const act::queue_took& one) { context->metrics->queue_wait(one.seconds); }
  void perform(const act::start_took& one) { context->metrics->task_start(one.seconds); }
  void perform(const act::pull_ended& one) { context->metrics->image_pulled(one.good); }
  void perform(const act::attempt_began& one) { context->metrics->attempt_started(one.warm); }
  void perform(const act::attempt_resumed&) { context->metrics->attempt_resumed(); }
  void perform(const act::memory_killed&) { context->metrics->memory_kill(); }
  void perform(const act::task_ended& one) {
    context->metrics->task_finished(run.work.task.owner, to_string(one.how), log_bytes);
    spdlog::info("task {} attempt {} ended: {}{}{}", to_string(key().task), key().number, to_string(one.how),
                 one.message.empty() ? "" : ": ", one.message);
  }

  void perform(const act::say& one) {
    auto level = one.level == act::level::debug ? spdlog::level::debug
               : one.level == act::level::error ? spdlog::level::err
                                                : spdlog::level::warn;
    spdlog::log(level, "task {} attempt {}: {}", to_string(key().task), key().number, one.text);
  }
  void perform(const act::unexpected& one) {
    spdlog::error("task {} attempt {}: {} while {}: this is a mistake in davit, please report it",
                  to_string(key().task), key().number, one.event, one.step);
  }
};

executor_actor::behavior_type executor(executor_state::self_pointer self, context_ptr context, claimed_attempt work,
                                       engine_status engine, executor_handles addresses) {
  auto& state = self->state;
  state.context = std::move(context);
  state.addresses = std::move(addresses);
  state.run.settings = {state.context, &state.context->settings};
  state.run.work = std::move(work);
  state.run.engine = std::move(engine);
  state.run.has_keeper = static_cast<bool>(state.keeper());
  // A scheduler that starts anew takes its attempts up again, with executors of its own.
  self->set_down_handler([self](const caf::down_msg&) { self->quit(caf::exit_reason::user_shutdown); });
  if (state.addresses.scheduler)
    self->monitor(state.addresses.scheduler);
  state.hear(begun{});
  return {
    [self](cancel_atom) { self->state.hear(cancel_asked{}); },
    [self](cancel_atom, duration within) { self->state.hear(cancel_asked{within}); },
    [self](stop_atom) { self->state.hear(drain_asked{}); },
    [self](fence_atom, bool clear) { self->state.hear(fenced{clear}); },
    [self](const engine_status& status) {
      auto& state = self->state;
      auto renamed = status.name != state.run.engine.name;
      state.hear(engine_changed{status});
      if (renamed)
        state.hear(peers_changed{static_cast<bool>(state.keeper())});
    },
    [self](const pull_progress& how_far) { self->state.hear(pull_moved{how_far}); },
    [self](progress_atom) { return status_of(self->state.run); },
    [self](wire_atom, const executor_handles& addresses) {
      self->state.addresses = addresses;
      self->state.hear(peers_changed{static_cast<bool>(self->state.keeper())});
    },
  };
}

} // namespace

executor_actor spawn_executor(caf::scheduled_actor* parent, context_ptr context, claimed_attempt work,
                              engine_status engine, executor_handles addresses) {
  return parent->spawn(executor, std::move(context), std::move(work), std::move(engine), std::move(addresses));
}

} // namespace davit
