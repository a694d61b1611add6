// The container has ended: the rest of its log is read, and what its end means is found out.
#include "actors/attempt_machine.hpp"
#include "actors/sandbox_plan.hpp"
#include "sandbox/message.hpp"

#include <algorithm>
#include <csignal>

namespace davit {

namespace {

/// How long an engine that ends its containers may take to end itself: Docker's own shutdown timeout is 15 s.
constexpr std::chrono::seconds shutdown_patience{20};

/// An engine that watches a container tells of its end within this time.
constexpr duration prompt_end{100};

/// How long it may take to find out whether an engine was restarted, if its grace is not longer.
constexpr duration longest_doubt{10'000};

/// How much later than a container's end an engine may know that the kernel has killed a process for memory.
constexpr duration late_news{250};

/// How often it is asked, if the container's init has told of the kill: for the evidence alone.
constexpr int looks_for_kill = 8;

/// How long the rest of a cancelled task's log is read after its container's end. Whoever prints faster than can be
/// read has more.
constexpr duration rest_of_cancelled{600};

/// How long after a failure the log keeper is asked again.
constexpr duration log_retry{1000};

} // namespace

void attempt_machine::collect(container_status ended, bool stop_asked) {
  act_on(act::crash{"container ended"});
  run_.made.image_id = ended.image_id;
  run_.evidence.inspect = ended.raw_state;
  auto& now = enter(collecting{});
  now.ended = std::move(ended);
  now.stop_asked = stop_asked;
  if (run_.wanted == ending::cancelled || run_.kill_by) // the outcome does not wait for the log for long
    wake(timer::forgo, rest_of_cancelled);
  if (run_.made.following || run_.made.feeding)
    act_on(act::end_following{});
  if (run_.made.following) {
    now.at = collecting::doing::live_reader;
  } else {
    read_rest(now);
  }
}

/// The container has ended by itself, or as of something else than the cancel: its log has the time that is left.
void attempt_machine::hurried(collecting&) {
  wake(timer::forgo, *time_to_kill());
}

/// Ends the attempt on its init's word, while the engine still takes the container down.
void attempt_machine::end_early(const sandbox_report& report) {
  act_on(act::crash{"container ended"});
  run_.made.ended_early = true;
  run_.evidence.note
    = "reported by the container's init: exit code " + std::to_string(report.number) + ", no process killed for memory";
  auto& now = enter(collecting{});
  now.ended.id = run_.made.id;
  now.ended.image_id = run_.made.image_id;
  now.ended.state = "exited";
  now.ended.exit_code = report.number;
  if (run_.made.feeding)
    act_on(act::end_following{});
  close_log(now);
}

void attempt_machine::on(collecting& now, const reply<ask::feed>&) {
  run_.made.feeding = false;
  feed_ended(now);
}

void attempt_machine::feed_ended(collecting& now) {
  if (now.at == collecting::doing::input)
    close_log(now);
}

// -- the rest of the log ---------------------------------------------------------------------------------------------

void attempt_machine::on(collecting& now, const reply<ask::follow_log>& end) {
  run_.made.following = false;
  run_.made.followed_to_end = end.value.complete;
  if (end.value.report) {
    run_.made.told = end.value.report;
    run_.made.rest = log_rest::read;
  }
  if (now.at == collecting::doing::live_reader)
    read_rest(now);
}

void attempt_machine::reader_failed(collecting& now, const failure&) {
  if (now.at == collecting::doing::live_reader)
    read_rest(now);
}

/// Whatever the live reader has seen: what lies behind its cursor is read once more, to the end, by a reader of its
/// own.
void attempt_machine::read_rest(collecting& now) {
  switch (run_.made.rest) {
    case log_rest::read:
      rest_is_read(now);
      break;
    case log_rest::forgone:
      run_.made.rest = log_rest::read;
      now.at = collecting::doing::noting_missing;
      ask_note("the task was cancelled: output that was unread when its container had ended is not kept");
      break;
    case log_rest::to_read:
      now.at = collecting::doing::opening;
      act_on(ask::open_log{});
      break;
  }
}

void attempt_machine::on(collecting& now, const reply<ask::open_log>& lease) {
  now.at = collecting::doing::reading;
  act_on(ask::read_log{{}, log_request_for(false, std::exchange(run_.made.followed_to_end, false), lease.value)});
}

void attempt_machine::on(collecting& now, const reply<ask::read_log>& end) {
  run_.made.rest = log_rest::read;
  if (end.value.report)
    run_.made.told = end.value.report;
  rest_is_read(now);
}

void attempt_machine::on(collecting& now, const reply<ask::note_log>&) {
  if (now.at == collecting::doing::noting_gap || now.at == collecting::doing::noting_end)
    close_log(now);
  else
    look_for_beginning(now);
}

void attempt_machine::rest_is_read(collecting& now) {
  auto& told = run_.made.told;
  if (told && (told->word == sandbox_word::unused || told->word == sandbox_word::exec))
    take_report(sandbox_report{*told});
  else
    look_for_beginning(now);
}

// -- whether the task had begun --------------------------------------------------------------------------------------

/// A container that ended without its init's last word may have ended before the task began; then the task is still to
/// be run. (What an engine that was killed had not written yet proves nothing: a task that may run once alone is not
/// run again for it.)
void attempt_machine::look_for_beginning(collecting& now) {
  if (run_.made.told || !run_.made.says_begun || run_.wanted != ending::none || run_.spec.at_most_once) {
    corroborate(now);
    return;
  }
  now.at = collecting::doing::first_line;
  act_on(ask::first_line{{}, run_.made.id});
}

void attempt_machine::on(collecting& now, const reply<ask::first_line>& first) {
  if (first.value.empty()) // it says so before all else
    forget_dead("its init had ended before the task began, with exit code " + std::to_string(now.ended.exit_code));
  else if (run_.made.hung)
    fail(outcome::engine_lost, "its sandbox had hung, and was killed just as the task began");
  else
    corroborate(now);
}

// -- whether the engine can be believed ------------------------------------------------------------------------------

/// Whether the engine that answers is the process that started the container. Both times are the engine's own.
bool attempt_machine::same_process(const container_status& of) const {
  const auto& engine = run_.engine;
  return engine.epoch == run_.epoch_at_start
      || (engine.same_since && of.started_at && *engine.same_since <= *of.started_at);
}

/// If the engine may have been restarted: asks it what it remembers of the container.
void attempt_machine::corroborate(collecting& now) {
  if (run_.engine.state == engine_state::connecting) { // whether it is the same process is being found out
    now.at = collecting::doing::engine_unsure;
    if (!now.doubted_since)
      now.doubted_since = when_.steady;
    if (!out_of_time() && when_.steady - *now.doubted_since < std::max(run_.engine.grace, longest_doubt))
      wake(timer::again, duration{50});
    else
      weigh(now, {}); // it does not come to itself: nothing proves that it is the same
    return;
  }
  if (!same_process(now.ended)) {
    now.at = collecting::doing::history;
  } else if (run_.wanted == ending::none && !run_.made.half_fed && !now.ended.oom_killed
             && of_a_stop(now.ended.exit_code)) {
    now.at = collecting::doing::suspecting;
  } else {
    close_log(now);
    return;
  }
  act_on(ask::history{{}, run_.made.id, run_.started_at - std::chrono::seconds{5}});
}

void attempt_machine::on(collecting& now, const reply<ask::history>& events) {
  if (now.at == collecting::doing::suspecting)
    suspect(now, events.value);
  else
    weigh(now, events.value);
}

/// A signal that davit did not send. If it came through the engine, the engine may be shutting down: it ends its
/// containers first, and goes when the last one has ended.
void attempt_machine::suspect(collecting& now, const std::vector<engine_event>& events) {
  auto told_of = [&](const char* action) {
    return std::any_of(events.begin(), events.end(), [=](const auto& one) { return one.action == action; });
  };
  if (told_of("oom")) {
    now.ended.oom_killed = true;
    now.at = collecting::doing::inspecting;
    now.looks = 1;
    act_on(ask::inspect{{}, run_.made.id});
  } else if (told_of("kill")) {
    now.at = collecting::doing::watching;
    now.watched_until = when_.steady + shutdown_patience;
    watch_engine(now);
  } else if (now.ended.exit_code == 128 + SIGKILL) {
    // Nobody known has killed it. The engine hears from the kernel of a kill for memory by another way than of the end,
    // and on a busy machine later.
    now.at = collecting::doing::inspecting;
    now.looks = run_.made.told && run_.made.told->oom_kills > 0 ? looks_for_kill : 1;
    wake(timer::again, late_news);
  } else {
    close_log(now);
  }
}

void attempt_machine::on(collecting& now, const reply<ask::inspect>& found) {
  if (!found.value.oom_killed && --now.looks > 0) {
    wake(timer::again, late_news);
    return;
  }
  now.ended.oom_killed |= found.value.oom_killed;
  if (!found.value.raw_state.empty())
    run_.evidence.inspect = found.value.raw_state;
  close_log(now);
}

void attempt_machine::watch_engine(collecting& now) {
  if (!same_process(now.ended) || run_.engine.state != engine_state::ready) {
    // Whatever it says from now on is said by another process, or not at all.
    run_.epoch_at_start.reset();
    corroborate(now);
  } else if (out_of_time()) {
    run_.evidence.note
      = "somebody stopped the container through the engine: not davit; the cancel allowed no more time "
        "to find out whether it was a shutdown of the engine";
    close_log(now);
  } else if (when_.steady >= now.watched_until) {
    run_.evidence.note
      = "somebody stopped the container through the engine: not davit, and not a shutdown of the engine";
    close_log(now);
  } else {
    wake(timer::again, duration{250});
  }
}

/// What the engine remembers, or that it does not tell.
void attempt_machine::weigh(collecting& now, const std::vector<engine_event>& events) {
  bool watched_end = false;
  for (const auto& one : events) {
    if (run_.evidence.events.size() < 16)
      run_.evidence.events.push_back(one.raw);
    run_.start_remembered |= one.action == (run_.made.warm ? "rename" : "start"); // a sandbox was started long before
    // An engine that starts again tells of what ended meanwhile too, but late.
    watched_end |= one.action == "die" && now.ended.finished_at && one.at - *now.ended.finished_at < prompt_end;
  }
  // An engine that remembers the start has read all. So has one that was there at the end, if it was not restarted
  // since this executor found the container.
  if (run_.start_remembered || (watched_end && run_.engine.epoch == run_.made.epoch_at_attach)) {
    close_log(now);
    return;
  }
  // What was in the engine's buffers and in the container's pipes while no engine listened may be gone.
  now.at = collecting::doing::noting_gap;
  now.end_told = true;
  ask_note("some bytes may be missing: the engine seems to have been restarted while the container ran");
}

// -- the verdict -----------------------------------------------------------------------------------------------------

/// A log that ends without its init's last word may not be whole: an engine that is behind when a container ends does
/// not read all that stands in its pipes.
void attempt_machine::close_log(collecting& now) {
  take_word_of_init(now);
  if (run_.made.feeding && !out_of_time()) { // it is over now, one way or the other
    now.at = collecting::doing::input;
    return;
  }
  if (lacks_last_word(now.ended) && !std::exchange(now.end_told, true)) {
    now.at = collecting::doing::noting_end;
    ask_note("some bytes may be missing here: the log ends without the last word of the container's init");
    return;
  }
  now.at = collecting::doing::closing;
  act_on(ask::close_log{{}, run_.spec.validator.has_value() && now.ended.exit_code == 0});
}

void attempt_machine::on(collecting& now, const reply<ask::close_log>& totals) {
  act_on(act::crash{"log closed"});
  run_.small_log = totals.value.packed;
  decide(now, totals.value);
}

/// The container ended by itself, as far as is known, and its init, which should have had the last word in its log, had
/// none.
bool attempt_machine::lacks_last_word(const container_status& ended) const {
  return !run_.made.told && run_.made.says_begun && run_.wanted == ending::none && !of_a_stop(ended.exit_code);
}

/// Whose word it is, if the container's init should have told the same as the engine, and did not.
std::string attempt_machine::doubt_of_init(const container_status& ended) const {
  const auto& told = run_.made.told;
  if (lacks_last_word(ended))
    return "by the engine's word: the container's init had no last word, because the engine has lost the log's end, or "
           "as when it can't end all that the task has started";
  if (!told || (told->word != sandbox_word::exited && told->word != sandbox_word::signaled))
    return {};
  auto code = told->word == sandbox_word::signaled ? 128 + told->number : told->number;
  return code == ended.exit_code ? std::string{}
                                 : "by the engine's word: the container's init said exit code " + std::to_string(code);
}

/// An engine that was restarted may report any code, also with live-restore; the init's word has a seal.
void attempt_machine::take_word_of_init(collecting& now) {
  const auto& told = run_.made.told;
  if (!told || now.ended.raw_state.empty() || same_process(now.ended) || !init::seals(run_.made.nonce)
      || reaches_init(run_.spec) || (told->word != sandbox_word::exited && told->word != sandbox_word::signaled))
    return;
  auto code = told->word == sandbox_word::signaled ? 128 + told->number : told->number;
  if (code == now.ended.exit_code)
    return;
  run_.evidence.note = "by the word of the container's init: the engine, which may have been restarted, says exit code "
                     + std::to_string(now.ended.exit_code);
  now.ended.exit_code = code;
  now.by_init = true;
}

void attempt_machine::decide(collecting& now, const log_summary& totals) {
  // By its init's word, which the engine has forgotten; or it was found running while the stop was under way.
  if (!run_.begun_here && of_a_stop(now.ended.exit_code))
    look_at_stop(now.ended);
  const auto& told = run_.made.told;
  container_facts facts;
  facts.wanted = run_.wanted;
  // The engine's word on the stop may still be under way; the container's end came through it all the same.
  facts.stopped_by_davit = run_.stopped_by_davit || now.stop_asked;
  // The init's own word: no restart of the engine's can have changed it.
  auto early = told && (now.ended.raw_state.empty() || now.by_init);
  facts.engine_restarted = !early && !same_process(now.ended);
  facts.live_restore = run_.engine.info.live_restore;
  facts.start_remembered = run_.start_remembered;
  facts.timeout = run_.timeout;
  facts.status = now.ended;
  facts.status.oom_killed
    |= told && told->oom_kills > 0; // the engine hears of it by an event that may come behind the end
  auto result = judge_container(facts);
  if (auto& doubt = run_.made.half_fed;
      doubt && (result.outcome == outcome::succeeded || result.outcome == outcome::failed)) {
    result.outcome = doubt->outcome;
    result.message = doubt->message;
  }
  if (result.outcome == outcome::succeeded && run_.spec.validator && !totals.fits) {
    result.outcome = outcome::failed;
    result.message = "exit code 0, but the output does not match the validator's regex " + run_.spec.validator->regex;
  }
  auto& note = run_.evidence.note;
  if (!result.note.empty())
    note = result.note;
  auto add = [&](const std::string& more) { note += (note.empty() ? "" : "; ") + more; };
  if (auto doubt = early ? std::string{} : doubt_of_init(now.ended); !doubt.empty())
    add(doubt);
  if (facts.status.oom_killed) {
    act_on(act::memory_killed{});
    add("the kernel killed a process of the container for its memory limit");
    if (!now.ended.oom_killed)
      note += " (davit's init counted " + std::to_string(*told->oom_kills) + "; the engine has not heard of it)";
  }
  gather(std::move(result));
}

// -- what is refused, and what time brings ---------------------------------------------------------------------------

void attempt_machine::on(collecting& now, const refusal& one) {
  switch (one.what) {
    case asked::open_log:
    case asked::close_log:
      say(act::level::error, "its log can't be written: " + one.why.text);
      run_.waiting = one.why.text;
      if (one.what == asked::close_log && out_of_time()) {
        run_.spec.validator.reset(); // nothing is left of what it would look at
        run_.evidence.note = "its log could not be ended: " + one.why.text;
        decide(now, {});
      } else {
        wake(timer::again, log_retry);
      }
      break;
    case asked::read_log:
      if (one.why.log != log_errc::none) {
        now.at = collecting::doing::opening;
        wake(timer::again, duration{500});
      } else {
        now.at = collecting::doing::noting_missing;
        now.end_told = true;
        ask_note("some bytes are missing here: the engine did not give the rest of the log (" + one.why.text + ")");
      }
      break;
    case asked::note_log:
      if (now.at != collecting::doing::noting_gap && now.at != collecting::doing::noting_end)
        look_for_beginning(now);
      else if (out_of_time())
        close_log(now);
      else
        wake(timer::again, log_retry);
      break;
    case asked::first_line:
      corroborate(now);
      break;
    case asked::history:
      if (now.at == collecting::doing::suspecting)
        close_log(now);
      else
        weigh(now, {});
      break;
    case asked::inspect:
      close_log(now);
      break;
    default:
      unexpected(one);
  }
}

void attempt_machine::on(collecting& now, const timer_fired& one) {
  if (one.which == timer::forgo) {
    if (run_.made.rest == log_rest::read)
      return;
    run_.made.rest = log_rest::forgone;
    act_on(act::withdraw{});
    wake(timer::forgo, duration{100}); // the reader may only be about to begin
    return;
  }
  switch (now.at) {
    case collecting::doing::opening:
      read_rest(now);
      break;
    case collecting::doing::engine_unsure:
      corroborate(now);
      break;
    case collecting::doing::inspecting:
      act_on(ask::inspect{{}, run_.made.id});
      break;
    case collecting::doing::watching:
      watch_engine(now);
      break;
    case collecting::doing::noting_gap:
      weigh(now, {});
      break;
    case collecting::doing::noting_end:
      now.end_told = false;
      close_log(now);
      break;
    default: // closing
      close_log(now);
  }
}

void attempt_machine::again(collecting& now, asked what) {
  switch (what) {
    case asked::read_log:
      read_rest(now);
      break;
    case asked::first_line:
      look_for_beginning(now);
      break;
    case asked::inspect:
      act_on(ask::inspect{{}, run_.made.id});
      break;
    default: // history
      corroborate(now);
  }
}

} // namespace davit
