// A container is started, or a sandbox is given its task.
#include "actors/attempt_machine.hpp"
#include "actors/container_plan.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/message.hpp"

#include <algorithm>

namespace davit {

/// A start that was asked for may still be on its way to the engine, and the task may have ended before a second one
/// comes, which would run it again. So such a container is removed; then the engine says whether it was ever started.
///
/// An engine that dies while it starts a container says `created` afterwards, although the process may have run. One
/// that remembers having created the container has not died since.
void attempt_machine::clear_unstarted() {
  enter(starting{starting::doing::clear, {}});
  act_on(ask::remove{{}, run_.made.id});
}

void attempt_machine::on(starting& now, const reply<ask::remove>&) {
  now.at = starting::doing::prove;
  ask_for_start();
}

void attempt_machine::ask_for_start() {
  act_on(ask::history{{}, run_.made.id, made_at() - std::chrono::seconds{5}});
}

void attempt_machine::on(starting&, const reply<ask::history>& events) {
  auto has = [&](std::string_view action) {
    return std::any_of(events.value.begin(), events.value.end(), [&](const auto& one) { return one.action == action; });
  };
  if (has("create") && !has("start")) {
    forget_sandbox(run_.made.id);
    return;
  }
  run_.may_have_started = true;
  if (has("start")) {
    run_.evidence.note = "the engine was asked to start the container, and did so late: just before it removed it";
    fail(outcome::engine_lost, "the container was started late, and was removed; how it would have ended is not known");
  } else {
    run_.evidence.note
      = "the engine says that the container was never started, but does not remember having created it";
    fail(outcome::engine_lost, "the engine was restarted while it may have been starting the container");
  }
}

/// Of a task that runs at most once, the start is written down before it is asked for: a container that is gone
/// afterwards may have run.
void attempt_machine::announce() {
  if (refuse_by_policy())
    return;
  if (!run_.spec.at_most_once) {
    start();
    return;
  }
  enter(starting{starting::doing::announce, {}});
  act_on(ask::record{{}, {run_.work.token, task_state::starting, run_.made.id, run_.made.image_id, {}}});
}

void attempt_machine::on(starting&, const reply<ask::record>&) {
  act_on(act::crash{"start announced"});
  start();
}

void attempt_machine::on(starting&, const timer_fired&) {
  announce();
}

void attempt_machine::start() {
  if (run_.wanted != ending::none) {
    fail_unstarted("before the container was started");
    return;
  }
  if (run_.spec.stdin_text && !run_.made.warm
      && !run_.made.has_line) { // it may have been closed: it was another's line
    forget_sandbox(run_.made.id);
    return;
  }
  run_.begun_here = true;
  run_.timeout = run_.spec.timeout;
  if (run_.made.warm) {
    hand_over();
    return;
  }
  enter(starting{starting::doing::start, {}});
  run_.epoch_at_start = run_.engine.same_since ? std::optional{run_.engine.epoch} : std::nullopt;
  run_.may_have_started = true;
  act_on(ask::start{{}, run_.made.id, network_files(plan_asked_for({}))});
  act_on(act::crash{"start asked"});
}

void attempt_machine::on(starting&, const reply<ask::start>&) {
  act_on(act::crash{"container started"});
  started(when_.at, true);
}

/// Gives the sandbox its task. From here on it may run.
void attempt_machine::hand_over() {
  auto plan = plan_asked_for(run_.secrets);
  auto message = init::hand_over_message(run_.made.arguments, plan.env, plan.secrets, run_.spec.stdin_text.has_value());
  if (!message) {
    be_cold("its command or its variables can't be sent to a sandbox");
    forget_sandbox(run_.made.id);
    return;
  }
  enter(starting{starting::doing::hand_over, {}});
  run_.epoch_at_start = run_.engine.same_since ? std::optional{run_.engine.epoch} : std::nullopt;
  run_.may_have_started = true;
  act_on(ask::hand_over{{}, run_.made.id, std::move(*message), run_.spec.stdin_text.has_value()});
  act_on(act::crash{"hand-over asked"});
}

void attempt_machine::on(starting&, const reply<ask::hand_over>&) {
  handed_over();
}

void attempt_machine::handed_over() {
  act_on(act::crash{"task handed over"});
  started(when_.at, true);
}

void attempt_machine::on(starting& now, const refusal& one) {
  switch (now.at) {
    case starting::doing::clear:
      if (one.why.engine == engine_errc::not_found) // somebody else has removed it
        on(now, reply<ask::remove>{});
      else
        fail(outcome::engine_lost,
             "the engine does not remove the container, which may be about to start: " + one.why.text);
      break;
    case starting::doing::prove:
      fail(outcome::engine_lost, "the engine does not say what it did with the container: " + one.why.text);
      break;
    case starting::doing::announce:
      if (one.why.store == store_errc::fenced) {
        leave();
      } else {
        run_.waiting = one.why.text;
        wake(timer::again, duration{500});
      }
      break;
    case starting::doing::start:
      start_refused(now, one.why);
      break;
    case starting::doing::hand_over:
      if (one.why.engine == engine_errc::not_found) // nothing was written
        forget_dead("the sandbox had ended: " + one.why.text);
      else
        handed_over(); // the init has seen the end of the line: it says that it was not used, or runs what it got
      break;
    case starting::doing::look:
      fail(outcome::engine_lost, "the engine could not start the container: " + now.why.text);
      break;
  }
}

void attempt_machine::start_refused(starting& now, const failure& why) {
  if (is_of_network(why)) { // it was not started, then
    forget_network();
  } else if (!run_.made.nonce.empty()
             && why.text.find(init::folder_beginning)
                  != std::string::npos) { // its volume was pruned, or can't be executed from
    forget_dead("its init could not be started: " + why.text);
  } else {
    now.at = starting::doing::look;
    now.why = why;
    act_on(ask::inspect{{}, run_.made.id});
  }
}

void attempt_machine::on(starting& now, const reply<ask::inspect>& found) {
  // A mistake in the task is a 4xx, unless the engine's words name it. Any other 5xx, or a task that "already exists"
  // in containerd, is of the engine's own making.
  auto code = now.why.engine;
  auto engines_fault = (code == engine_errc::conflict || code == engine_errc::failed) && !is_tasks_own(now.why.text);
  run_.evidence.inspect = found.value.raw_state;
  run_.made.image_id = found.value.image_id;
  end_log_and_report(judge_start_failure(found.value, now.why.text, engines_fault));
}

void attempt_machine::again(starting& now, asked) {
  if (now.at == starting::doing::look)
    act_on(ask::inspect{{}, run_.made.id});
  else if (now.at == starting::doing::prove)
    ask_for_start();
  else
    recover(); // if the answer was lost, the container may have run and ended by now; starting it again would run it
               // twice
}

} // namespace davit
