#include "actors/attempt.hpp"

#include "actors/attempt_machine.hpp"
#include "actors/engine_placement.hpp"

namespace davit {

namespace {

template <class Step>
constexpr std::size_t index_of = type_list<judging, recovering, pulling, preparing, creating, filling, starting,
                                           running, collecting, gathering, reporting, removing, done>::index_of<Step>();

/// Whose time is measured.
bool is_measured(std::string_view phase) {
  return phase == "pull" || phase == "create" || phase == "start" || phase == "run" || phase == "collect"
      || phase == "input" || phase == "output";
}

} // namespace

transition next(attempt_run before, const event& happened, const instant& when) {
  transition result{std::move(before), {}};
  result.actions = advance(result.after, happened, when);
  return result;
}

std::vector<action> advance(attempt_run& run, const event& happened, const instant& when) {
  std::vector<action> actions;
  attempt_machine{run, when, actions}.hear(happened);
  return actions;
}

void attempt_machine::hear(const event& happened) {
  std::visit([this](const auto& one) { heard(one); }, happened);
}

/// Calls `what` with the step that is. The step outlives the call, also if `what` moves on to another.
template <class What>
void attempt_machine::in_step(What what) {
  auto step_now = std::move(run_.now); // leaves the alternative, without its contents
  moved_ = false;
  std::visit(what, step_now);
  if (!moved_)
    run_.now = std::move(step_now);
}

namespace {

template <class Ask>
constexpr bool is_lasting(const reply<Ask>&) {
  return Ask::lasting;
}
template <class Event>
constexpr bool is_lasting(const Event&) {
  return false;
}

template <class Ask>
constexpr asked subject_of(const reply<Ask>&) {
  return name_of<Ask>;
}
asked subject_of(const refusal& one) {
  return one.what;
}
timer subject_of(const timer_fired& one) {
  return one.which;
}

} // namespace

template <class Event>
void attempt_machine::dispatch(const Event& happened) {
  in_step([&](auto& now) {
    if constexpr (requires { subject_of(happened); })
      if (!is_lasting(happened) && !waits_for(now, subject_of(happened))) {
        unexpected(happened);
        return;
      }
    on(now, happened);
  });
}

void attempt_machine::heard(const begun& one) {
  dispatch(one);
}

void attempt_machine::heard(const pull_moved& one) {
  dispatch(one);
}

template <class Ask>
void attempt_machine::heard(const reply<Ask>& one) {
  if constexpr (!Ask::lasting && is_of_engine<Ask>)
    trouble_is_over();
  dispatch(one);
}

/// The step that was has ended: its questions, its timers and what it held go with it.
void attempt_machine::close_step(std::size_t before) {
  auto name = std::string{phase_names[before]};
  if (name != phase_names[run_.now.index()]) {
    if (is_measured(name)) {
      auto seconds = std::chrono::duration<double>(when_.steady - run_.step_begun).count();
      run_.phases[name] += seconds;
      act_on(act::phase_took{name, seconds});
    }
    run_.step_begun = when_.steady;
  }
  ++run_.generation;
  run_.held.clear();
  moved_ = true;
}

void attempt_machine::unexpected_event(std::string text) {
  act_on(act::unexpected{step_names[run_.now.index()], std::move(text)});
}

/// Into the log; the answer is waited for.
void attempt_machine::ask_note(std::string text) {
  act_on(ask::note_log{{}, std::move(text)});
}

/// Into the log; nothing waits for it.
void attempt_machine::note(std::string text) {
  act_on(act::note{std::move(text)});
}

// -- trouble with the engine -----------------------------------------------------------------------------------------

/// Whether the refusal tells of the engine's connection, and nothing of what was asked.
bool attempt_machine::is_trouble(const refusal& one) const {
  auto code = one.why.engine;
  switch (one.what) {
    case asked::judge:
    case asked::take_sandbox:
    case asked::take_network:
    case asked::find_prepared:
    case asked::first_line_now:
    case asked::inspect_now:
    case asked::kill_now:
    case asked::remove_now:
    case asked::record:
    case asked::may_use:
    case asked::record_pull:
    case asked::record_stop:
    case asked::finish:
    case asked::open_log:
    case asked::close_log:
    case asked::note_log:
      return false; // not asked of the engine, or not waited for
    case asked::put_init:
      return is_connection_trouble(code);
    default:
      break;
  }
  if (is_connection_trouble(code) || code == engine_errc::cancelled)
    return true;
  // An answer that nobody can read is none: what was asked for may have been done.
  if (code == engine_errc::protocol)
    return one.what != asked::pull_image;
  if (code != engine_errc::failed)
    return false;
  // A 5xx says nothing of what was asked about: a container is not gone because its engine has lost its head. But that
  // it can't make or start one, or that a registry fails it, is said so too.
  switch (one.what) {
    case asked::create:
    case asked::start:
    case asked::hand_over:
    case asked::pull_image:
    case asked::fill:
      return false;
    case asked::remove:
      return !std::holds_alternative<removing>(run_.now);
    case asked::inspect:
      return !std::holds_alternative<creating>(run_.now) && !std::holds_alternative<starting>(run_.now);
    default:
      return true;
  }
}

/// Whoever refuses may repeat what it was given, and its words go far: into messages, events, the agent's log.
void attempt_machine::heard(const refusal& one) {
  auto words = one.why.engine != engine_errc::none && !is_connection_trouble(one.why.engine); // of somebody else
  auto why = one.why;
  if (words)
    why.text = masked(std::move(why.text));
  refused({one.what, std::move(why)});
}

void attempt_machine::refused(const refusal& one) {
  if (heard_of_lasting(one))
    return;
  auto waits = std::visit([&](const auto& now) { return waits_for(now, one.what); }, run_.now);
  if (waits && is_trouble(one))
    hold(one.what, one.why);
  else
    dispatch(one);
}

/// The question is asked again when the engine is back; if its grace is over first, the attempt is given up.
void attempt_machine::hold(asked what, const failure& why) {
  if (!run_.trouble_since)
    run_.trouble_since = when_.steady;
  run_.waiting = why.text;
  auto left = std::chrono::ceil<duration>(*run_.trouble_since + run_.engine.grace - when_.steady);
  if (left.count() <= 0) {
    give_up();
    return;
  }
  run_.held.push_back(what);
  if (run_.engine.state == engine_state::ready) {
    // The engine answers others: a passing fault, or the news of its fall is still on its way.
    run_.retry_wait = std::clamp<duration>(run_.retry_wait * 2, duration{50}, duration{2000});
    wake(timer::engine_retry, run_.retry_wait);
  }
  wake(timer::engine_grace, left);
}

void attempt_machine::engine_back() {
  for (auto what : std::exchange(run_.held, {})) {
    in_step([&](auto& now) { again(now, what); });
    if (moved_)
      return; // what else was held went with the step
  }
}

void attempt_machine::trouble_is_over() {
  run_.trouble_since.reset();
  run_.retry_wait = duration{0};
  run_.waiting.clear();
}

/// The engine was away for longer than its grace.
void attempt_machine::give_up() {
  run_.held.clear();
  if (std::holds_alternative<removing>(run_.now)) { // the reaper will see to it
    say(act::level::warning, "the container " + run_.made.id + " was not removed: " + run_.waiting);
    leave();
    return;
  }
  if (auto* now = std::get_if<gathering>(&run_.now)) { // how it ended is known
    auto known = std::move(*now);
    gather_none(known,
                "the engine did not answer for " + format_duration(run_.engine.grace) + " (" + run_.waiting + ")");
    return;
  }
  if (run_.wanted == ending::drained && run_.made.id.empty() && !run_.may_have_started) {
    fail(outcome::agent_lost, "the agent was shut down while it waited for the engine");
    return;
  }
  run_.evidence.note
    = "the engine could not be asked how the container ended; the container, if there is one, may still run";
  fail(outcome::engine_lost, words_of_loss());
}

void attempt_machine::heard(const engine_changed& one) {
  auto stood_in = is_stand_in(run_.engine);
  run_.engine = one.status;
  if (auto* now = std::get_if<gathering>(&run_.now); now && !same_engine()) {
    auto known = std::move(*now); // how it ended
    gather_none(known, "another engine answers at the address of " + run_.engine.name + " now");
  } else if (!same_engine() && run_.now.index() < index_of<reporting>) {
    lose_engine();
  } else if (run_.engine.state == engine_state::ready) {
    engine_back();
  } else if (stood_in || is_stand_in(run_.engine)) {
    hold_again();
  }
}

void attempt_machine::heard(const peers_changed& one) {
  run_.has_keeper = one.has_keeper;
  if (run_.engine.state == engine_state::ready)
    engine_back();
}

void attempt_machine::heard(const timer_fired& one) {
  switch (one.which) {
    case timer::engine_retry:
      engine_back();
      break;
    case timer::engine_grace:
      if (!run_.held.empty() && run_.trouble_since && when_.steady - *run_.trouble_since >= run_.engine.grace)
        give_up();
      break;
    case timer::timeout:
      if (std::holds_alternative<running>(run_.now))
        end_it(ending::timed_out);
      else
        unexpected(one);
      break;
    default:
      dispatch(one);
  }
}

// -- what ends an attempt from outside -------------------------------------------------------------------------------

void attempt_machine::end_it(ending why) {
  if (run_.wanted != ending::none || run_.now.index() >= index_of<collecting>)
    return;
  run_.wanted = why;
  in_step([this](auto& now) { end_wanted(now); });
}

void attempt_machine::heard(const cancel_asked& one) {
  if (one.within)
    hurry(*one.within);
  end_it(ending::cancelled);
}

/// A cancel may say how long the end may take, also when something else has begun it. It only shortens.
void attempt_machine::hurry(duration within) {
  auto by = when_.steady + std::max(within, duration{0});
  if (run_.kill_by && *run_.kill_by <= by)
    return;
  run_.kill_by = by;
  in_step([this](auto& now) { hurried(now); });
}

/// Whoever takes the attempt over must find nothing of it running here, or has it by now. There is no time to wait for
/// an engine that is away.
void attempt_machine::heard(const fenced& one) {
  if (run_.now.index() >= index_of<removing>)
    return;
  if (one.clear && !run_.network.empty())
    act_on(act::forget_container{run_.network});
  if (!one.clear || (!run_.made.may_exist && run_.made.id.empty())) {
    leave();
    return;
  }
  act_on(act::withdraw{});
  enter(removing{removing::doing::fenced});
  act_on(
    ask::remove_now{{}, run_.made.id.empty() ? container_name(run_.key()) : run_.made.id, run_.settings->lease / 4});
}

/// A lasting question's refusal. False: it was another question's.
bool attempt_machine::heard_of_lasting(const refusal& one) {
  switch (one.what) {
    case asked::wait:
      run_.made.end_awaited = false;
      if (auto* now = std::get_if<removing>(&run_.now); now && now->at == removing::doing::end)
        remove_container();
      else if (std::holds_alternative<running>(run_.now) && is_trouble(one))
        hold(one.what, one.why);
      else if (std::holds_alternative<running>(run_.now))
        look(); // whatever the wait says, the verdict comes from inspect
      return true;
    case asked::follow_log:
      run_.made.following = false;
      in_step([&](auto& now) { reader_failed(now, one.why); });
      return true;
    case asked::feed:
      run_.made.feeding = false;
      if (one.why.engine != engine_errc::cancelled) // as its container had ended
        doubt_input(outcome::engine_lost, "its standard input was not passed on to its end: " + one.why.text);
      in_step([&](auto& now) { feed_ended(now); });
      return true;
    case asked::record_terms:
      say(act::level::warning,
          "its timeout, its start, or how far its standard input has come, was not recorded: " + one.why.text);
      return true;
    case asked::record_start: // the container is found by its name after a crash
      say(act::level::warning, "its start was not recorded: " + one.why.text);
      return true;
    default:
      return false;
  }
}

} // namespace davit
