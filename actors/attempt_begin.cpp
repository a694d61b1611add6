// What an attempt does first: it is judged, and if it was under way before, its container tells how far it has come.
#include "actors/attempt_machine.hpp"
#include "actors/attempt_terms.hpp"
#include "actors/container_plan.hpp"
#include "actors/engine_placement.hpp"
#include "policy/recovery.hpp"

namespace davit {

// -- judging ---------------------------------------------------------------------------------------------------------

void attempt_machine::on(judging&, const begun&) {
  run_.step_begun = when_.steady;
  run_.spec = run_.work.task.spec;
  run_.caches = row().caches;
  if (run_.work.task.cancel_requested)
    run_.wanted = ending::cancelled;
  auto stop = terms_of(row().message).stop;
  if (stop != ending::none) {
    run_.wanted = stop; // an earlier executor's, which is under way or was about to be
    run_.evidence.kills = row().evidence.kills;
  }
  run_.may_have_started = !row().container.empty() || stop != ending::none
                       || run_.work.task.state == task_state::running; // as an earlier executor has written down
  auto queued_since = run_.work.task.not_before.value_or(run_.work.task.created_at);
  if (row().created_at)
    run_.phases["queue"] = std::max(0.0, std::chrono::duration<double>(*row().created_at - queued_since).count());
  act_on(act::phase_took{"queue", run_.phases["queue"]});
  if (!run_.work.resumed)
    act_on(act::queue_took{run_.phases["queue"]});
  judge();
}

/// What a task may do depends on its engine's profile, and how far it has come on its engine: both are known when the
/// engine has spoken.
void attempt_machine::judge() {
  if (run_.engine.info.id.empty() && (run_.work.resumed || run_.engine.state == engine_state::connecting)) {
    hold(asked::judge, {engine_errc::lost, {}, {}, words_of_silence()});
    return;
  }
  if (!run_.work.resumed && !same_engine()) {
    lose_engine();
    return;
  }
  act_on(ask::judge{{}, run_.engine.profile});
}

void attempt_machine::on(judging&, const reply<ask::judge>& judged) {
  run_.spec = judged.value.effective;
  run_.secrets = judged.value.secrets;
  run_.forbidden = judged.value.forbidden;
  run_.unreadable = judged.value.unreadable;
  act_on(act::crash{"attempt judged"});
  if (run_.work.resumed) // what runs already is not refused any more
    recover();
  else if (refuse_by_policy())
    return;
  else if (run_.wanted != ending::none)
    fail_unstarted("before a container was made");
  else if (run_.spec.pull == pull_policy::always)
    pull();
  else
    prepare();
}

void attempt_machine::end_wanted(judging&) {
  if (!run_.held.empty() && !run_.work.resumed)
    fail_unstarted("while waiting for the engine");
}

/// True: the task may not be started, and the attempt has ended.
bool attempt_machine::refuse_by_policy() {
  if (run_.forbidden.empty() && run_.unreadable.empty())
    return false;
  fail(outcome::rejected, run_.forbidden.empty() ? run_.unreadable : run_.forbidden);
  return true;
}

// -- recovering ------------------------------------------------------------------------------------------------------

/// Goes on from whatever state the attempt's own container is in.
void attempt_machine::recover() {
  enter(recovering{});
  act_on(ask::inspect{{}, container_name(run_.key())});
}

void attempt_machine::again(recovering& now, asked) {
  if (now.at == recovering::looking::whether_begun)
    act_on(ask::first_line{{}, run_.made.id});
  else
    recover();
}

void attempt_machine::on(recovering&, const reply<ask::inspect>& found) {
  const auto& status = found.value;
  auto label = status.labels.find("davit.task");
  auto sandbox
    = status.labels.find("davit.sandbox"); // has no other mark of its task than its name, or its id in the store
  auto ours
    = sandbox != status.labels.end() || (label != status.labels.end() && label->second == to_string(run_.key().task));
  if (sandbox != status.labels.end()) {
    run_.made.warm = true;
    run_.made.nonce = sandbox->second;
    run_.made.says_begun = status.labels.contains(init::words_label);
  } else {
    // An older davit's containers have no nonce, nor has one whose command is the first process.
    auto marked = status.labels.find(init::nonce_label);
    run_.made.nonce = marked == status.labels.end() ? std::string{} : marked->second;
    run_.made.says_begun = !run_.made.nonce.empty() && !run_.spec.tty;
    if (run_.evidence.start.empty() && run_.work.resumed)
      run_.evidence.start = "cold: its container already existed when the attempt was recovered";
  }
  if (ours && !run_.spec.network.value_or("").starts_with("container:"))
    run_.network = status.joined;
  resume_from(ours ? container_state_of(status.state) : container_state::foreign, status);
}

void attempt_machine::on(recovering& now, const refusal& one) {
  switch (one.what) {
    case asked::inspect:
      if (one.why.engine != engine_errc::not_found)
        fail(outcome::engine_lost, "the engine can't describe the container: " + one.why.text);
      else if (now.at == recovering::looking::by_name)
        find_renamed(now);
      else
        no_container();
      break;
    case asked::list_containers:
      no_container();
      break;
    case asked::count_processes:
      attach(*now.found);
      break;
    case asked::first_line:
      fail_restarted(*now.found);
      break;
    default:
      unexpected(one);
  }
}

/// There is none of the attempt's name: somebody may have renamed it.
void attempt_machine::find_renamed(recovering& now) {
  if (const auto& known = row().container; !known.empty()) {
    now.at = recovering::looking::by_id;
    act_on(ask::inspect{{}, known});
    return;
  }
  now.at = recovering::looking::by_labels;
  act_on(ask::list_containers{{},
                              {"davit.fleet=" + run_.settings->fleet, "davit.task=" + to_string(run_.key().task),
                               "davit.attempt=" + std::to_string(run_.key().number)}});
}

void attempt_machine::on(recovering& now, const reply<ask::list_containers>& found) {
  if (found.value.empty()) {
    no_container();
    return;
  }
  now.at = recovering::looking::by_id;
  act_on(ask::inspect{{}, found.value.front().id});
}

void attempt_machine::no_container() {
  resume_from(container_state::none, {});
}

namespace {

/// Made by an older davit, whose init is where a task's mounts may be.
bool has_old_init(const container_status& found) {
  auto words = found.labels.find(init::words_label);
  return found.labels.contains(init::nonce_label)
      && (words == found.labels.end() || words->second != init::words_version);
}

} // namespace

void attempt_machine::resume_from(container_state there, const container_status& found) {
  recovery_facts facts;
  auto announced = run_.may_have_started;
  facts.row = announced ? row_state::announced : row_state::claimed;
  facts.container = there;
  facts.cancel_requested = run_.wanted != ending::none;
  facts.same_engine = same_engine();
  if (there != container_state::none && there != container_state::foreign) {
    run_.made.id = found.id;
    run_.made.image_id = found.image_id;
  }
  if (run_.work.adopted && there == container_state::none && !announced) {
    // Whoever had it may have made a container, started it, and removed it when its lease ran out: no second one under
    // the same number.
    run_.evidence.note = "an agent that gave the attempt up may have made a container and removed it";
    fail(run_.wanted == ending::none ? outcome::agent_lost : outcome::cancelled,
         "the agent that had the attempt gave it up before its container was known to run");
    return;
  }
  switch (decide_recovery(facts)) {
    case recovery_action::create:
      if (!refuse_by_policy())
        prepare();
      break;
    case recovery_action::start:
      // A start is asked for after it was announced, or (of tasks that may run twice) without: whoever comes later
      // can't know.
      if (!is_rightful(found.image_id) || (!announced && has_old_init(found)))
        forget_sandbox(found.id);
      else if (announced || (run_.work.resumed && !run_.spec.at_most_once))
        clear_unstarted();
      else
        fill();
      break;
    case recovery_action::attach:
      if (is_restarted(found))
        ask_whether_begun(found);
      else if (run_.made.warm && !run_.begun_here)
        look_into_sandbox(found, duration{3000});
      else
        attach(found);
      break;
    case recovery_action::collect:
      attach(found);
      break;
    case recovery_action::cancel:
      fail_unstarted("before a container was started");
      break;
    default:
      if (!facts.same_engine) {
        lose_engine();
      } else if (there == container_state::foreign) {
        fail(outcome::engine_lost,
             "the engine has a container of the name " + container_name(run_.key()) + " that is not davit's");
      } else if (run_.work.adopted) {
        run_.evidence.note = "the container was started by an agent whose lease has ended, and is gone";
        fail(outcome::agent_lost,
             "the lease of the agent that ran it has ended, and the container is gone; how it ended is not known");
      } else {
        run_.evidence.note = "the container was started and is gone";
        fail(outcome::engine_lost, "the container is gone from the engine; how it ended is not known");
      }
  }
}

/// Goes on with a container that was started before; waiting for one that has ended returns at once.
void attempt_machine::attach(const container_status& found) {
  run_.may_have_started = true;
  if (!run_.unreadable.empty()) { // nor can its log be masked
    fail(outcome::failed,
         run_.unreadable + "; its container was started before, and is removed, because its log can't be masked");
    return;
  }
  auto terms = terms_of(row().message);
  if (!run_.begun_here) // what the policy adds is on record with the start; before that, it says what it says now
    run_.timeout = run_.work.task.state != task_state::running ? run_.spec.timeout
                 : terms.timeout                               ? terms.timeout
                                                               : run_.work.task.spec.timeout;
  if (found.ended() && of_a_stop(found.exit_code))
    look_at_stop(found);
  if (found.ended() && terms.stop != ending::none) // however it ended, that agent has said that it would stop it
    run_.stopped_by_davit = true;
  look_at_input(terms);
  if (!run_.epoch_at_start && run_.engine.same_since)
    run_.made.epoch_at_attach = run_.engine.epoch;
  act_on(act::attempt_resumed{});
  auto at = found.started_at;
  if (run_.made.warm) { // it was up long before its task came
    run_.evidence.start = "warm";
    at = row().started_at;
  }
  started(at.value_or(when_.at), !found.ended());
}

/// What ended as of a stop after a cancel, or after its timeout, was stopped by davit: by an agent that has ended
/// since.
void attempt_machine::look_at_stop(const container_status& ended) {
  auto begun_at = run_.made.warm ? row().started_at : ended.started_at;
  if (run_.wanted == ending::none && run_.timeout && begun_at && ended.finished_at
      && *ended.finished_at - *begun_at >= *run_.timeout)
    run_.wanted = ending::timed_out;
  run_.stopped_by_davit |= run_.wanted == ending::cancelled || run_.wanted == ending::timed_out;
}

/// Of a container that was found started: whether somebody may have begun to pass its standard input on, and not ended.
void attempt_machine::look_at_input(const attempt_terms& terms) {
  if (!run_.spec.stdin_text)
    return;
  if (run_.begun_here && run_.made.warm) // over the line that the task was to come by, too
    doubt_input(outcome::engine_lost, "the engine's connection was lost while the sandbox was given its task; whether "
                                      "its standard input has reached it is not known");
  else if (!run_.begun_here && (terms.input || run_.work.task.state != task_state::running))
    doubt_input(outcome::agent_lost, "the agent ended while it passed the task's standard input on; how much of it has "
                                     "reached the container is not known");
}

/// A sandbox under the attempt's name that runs: whether its task has reached it, its processes tell. An init that is
/// alone may be about to begin the task, or to say how it ended; one that got nothing ends, as the line to it is
/// closed. It is given `patience` to do so.
void attempt_machine::look_into_sandbox(container_status found, duration patience) {
  enter(recovering{recovering::looking::inside, std::move(found), when_.steady + patience});
  act_on(ask::count_processes{{}, run_.made.id});
}

void attempt_machine::on(recovering& now, const reply<ask::count_processes>& processes) {
  if (processes.value != 1) {
    attach(*now.found);
  } else if (when_.steady < now.until) {
    wake(timer::again, duration{50});
  } else {
    be_cold("a sandbox was taken, but the task had not reached it");
    forget_sandbox(run_.made.id);
  }
}

void attempt_machine::on(recovering&, const timer_fired&) {
  act_on(ask::count_processes{{}, run_.made.id});
}

/// davit starts a container once, and no engine by itself: one that runs although it has ended before was started again
/// by somebody else.
bool attempt_machine::is_restarted(const container_status& status) const {
  return (status.state == "running" || status.state == "paused") && status.finished_at.has_value();
}

/// What it ran has ended, as by a `docker stop`; what runs now is not the attempt's, and is removed with the container.
/// A sandbox may have been restarted before its task reached it: its log tells.
void attempt_machine::ask_whether_begun(container_status status) {
  if (!run_.made.warm || !run_.made.says_begun) {
    fail_restarted(status);
    return;
  }
  enter(recovering{recovering::looking::whether_begun, std::move(status), {}});
  act_on(ask::first_line{{}, run_.made.id});
}

void attempt_machine::on(recovering& now, const reply<ask::first_line>& first) {
  if (!first.value.empty())
    fail_restarted(*now.found);
  else if (run_.wanted != ending::none)
    fail_unstarted("while somebody restarted the container");
  else
    forget_dead("somebody restarted the sandbox before its task began");
}

void attempt_machine::fail_restarted(const container_status& status) {
  run_.evidence.inspect = status.raw_state;
  run_.made.image_id = status.image_id;
  if (run_.wanted == ending::none) {
    run_.evidence.note = "somebody stopped the container through the engine, and started it again";
    fail(outcome::failed, "somebody restarted the container; how its command ended is not known");
  } else {
    fail_unstarted("while somebody restarted the container");
  }
}

/// The engine that the attempt was made for is the one that answers, as far as it is known.
bool attempt_machine::same_engine() const {
  return may_be(run_.engine, row().engine_id);
}

std::string attempt_machine::words_of_silence() const {
  return is_stand_in(run_.engine) ? run_.engine.message : "the engine " + run_.engine.name + " has not answered yet";
}

std::string attempt_machine::words_of_loss() const {
  return is_stand_in(run_.engine) ? run_.engine.message
                                  : "the engine " + run_.engine.name + " did not answer for "
                                      + format_duration(run_.engine.grace) + " (" + run_.waiting + ")";
}

/// Another engine is waited for, with another grace.
void attempt_machine::hold_again() {
  if (run_.held.empty())
    return;
  auto what = run_.held.back();
  run_.held.pop_back();
  hold(what, {engine_errc::lost, {}, {}, words_of_silence()});
}

void attempt_machine::lose_engine() {
  run_.evidence.note = "another engine answers at the address: " + run_.engine.info.id;
  fail(outcome::engine_lost, "another engine answers at the address of " + run_.engine.name
                               + " now, and no engine with the id " + row().engine_id
                               + " is configured; how the container ended is not known");
}

} // namespace davit
