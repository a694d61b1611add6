// While the container runs: its end is waited for, its log is followed, it is stopped if it is to end.
#include "actors/attempt_machine.hpp"
#include "actors/attempt_terms.hpp"
#include "actors/sandbox_plan.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/message.hpp"

#include <cerrno>
#include <cstring>

namespace davit {

namespace {

/// What ends sooner has its log read once, at its end, and not followed.
constexpr duration first_look{100};

/// A sandbox that has said nothing for so long after it was given its task is looked at, again and again.
constexpr duration beginning_patience{2000};

/// And if it is not paused, so often: a machine may be slow.
constexpr int looks_at_beginning = 15;

/// How much later than the engine, which should have killed it by then, davit kills it.
constexpr duration kill_slack{300};

/// How long a stop waits for its record: a store that is away must not keep a task running.
constexpr duration record_patience{2000};

/// How long after a kill that failed it is tried again.
constexpr duration kill_retry{1000};

} // namespace

void attempt_machine::started(timestamp at, bool runs) {
  run_.started_at = at;
  run_.ran = true;
  if (!run_.work.resumed && run_.key().number == 1)
    act_on(act::start_took{std::chrono::duration<double>(at - run_.work.task.created_at).count()});
  run_.made.feeding = run_.begun_here && runs && run_.spec.stdin_text && !run_.made.half_fed;
  auto& now = enter(running{});
  // It is called running when that is on record: then what the row says of its terms is all that there is.
  if (auto what = row_meanwhile(); (run_.begun_here || run_.made.half_fed) && what.message != row().message)
    act_on(ask::record_terms{{}, std::move(what)});
  else
    record_start();
  if (run_.begun_here)
    act_on(act::attempt_began{run_.made.warm});
  if (run_.made.warm) {
    follow_log(); // its init tells there how the task ends
    if (run_.made.says_begun && runs)
      wake(timer::beginning, beginning_patience);
  } else {
    wake(timer::first_look, first_look);
  }
  if (run_.made.feeding)
    feed();
  // What had ended already when it was found did so by itself: nothing that comes now stops it.
  if (run_.timeout && runs)
    wake(timer::timeout, std::chrono::duration_cast<duration>(at + *run_.timeout - when_.at));
  if (run_.wanted != ending::none && runs)
    stop_container(now);
  else if (run_.made.half_fed && runs)
    end_half_fed(now);
  wait_for_end();
}

// -- standard input --------------------------------------------------------------------------------------------------

// The engine closes a container's standard input when the connection that brings it ends, whatever ended it, and the
// container can't tell. So whoever passes it on must know that it came to its end; and if nobody knows, the container's
// own end says nothing.

void attempt_machine::feed() {
  auto input = *run_.spec.stdin_text;
  if (run_.spec.tty) // a terminal has no end but what stands for it at the beginning of a line; elsewhere it only
                     // ends what is being written
    input += input.empty() || input.back() == '\n' ? "\x04" : "\x04\x04";
  act_on(ask::feed{{}, run_.made.id, std::move(input)});
}

void attempt_machine::record_start() {
  run_.made.start_told = true;
  act_on(
    ask::record_start{{}, {run_.work.token, task_state::running, run_.made.id, run_.made.image_id, run_.started_at}});
}

void attempt_machine::on(running&, const reply<ask::record_terms>&) {
  if (!run_.made.start_told)
    record_start();
}

void attempt_machine::on(running&, const reply<ask::feed>&) {
  run_.made.feeding = false;
  act_on(ask::record_terms{{}, row_meanwhile()});
}

void attempt_machine::doubt_input(outcome how, std::string message) {
  auto& what = run_.made.half_fed.emplace();
  what.outcome = how;
  what.message = std::move(message);
}

void attempt_machine::feed_ended(running& now) {
  if (run_.made.half_fed && run_.wanted == ending::none)
    end_half_fed(now);
}

/// Nothing that it does counts any more. Its end comes as that of any other container.
void attempt_machine::end_half_fed(running& now) {
  now.kill_asked = true;
  run_.evidence.kills.push_back(format_timestamp(when_.at) + " SIGKILL: its standard input was cut short");
  act_on(ask::kill_now{{}, run_.made.id});
}

// -- the end ---------------------------------------------------------------------------------------------------------

void attempt_machine::wait_for_end() {
  run_.made.end_awaited = true;
  act_on(ask::wait{{}, run_.made.id});
}

void attempt_machine::on(running&, const reply<ask::wait>&) {
  run_.made.end_awaited = false;
  trouble_is_over();
  look();
}

void attempt_machine::look() {
  act_on(ask::inspect{{}, run_.made.id});
}

void attempt_machine::on(running& now, const reply<ask::inspect>& found) {
  if (found.value.ended())
    collect(found.value, now.stop == running::stop_state::asked || now.stop == running::stop_state::done);
  else if (is_restarted(found.value))
    ask_whether_begun(found.value);
  else if (!run_.made.end_awaited)
    wait_for_end();
}

/// An agent that dies now leaves a container that ends as of a stop: why is written down first. The store knows of a
/// cancel.
void attempt_machine::stop_container(running& now) {
  if (now.stop != running::stop_state::none)
    return;
  if (run_.wanted == ending::cancelled || terms_of(row().message).stop != ending::none) {
    ask_stop(now);
    return;
  }
  now.stop = running::stop_state::recording;
  auto what = row_meanwhile();
  what.evidence.kills.push_back(words_of_stop());
  act_on(ask::record_stop{{}, std::move(what)});
  wake(timer::again, record_patience);
}

void attempt_machine::on(running& now, const reply<ask::record_stop>&) {
  if (now.stop == running::stop_state::recording) // or it has waited long enough
    ask_stop(now);
}

void attempt_machine::ask_stop(running& now) {
  now.stop = running::stop_state::asked;
  duration grace = run_.spec.stop_timeout.value_or(std::chrono::seconds{10});
  if (auto left = time_to_kill()) {
    grace = std::min(grace, *left);
    wake(timer::kill, *left + kill_slack);
  }
  run_.evidence.kills.push_back(words_of_stop() + ": SIGTERM, SIGKILL after " + format_duration(grace));
  act_on(ask::stop{{}, run_.made.id, grace});
}

std::string attempt_machine::words_of_stop() const {
  return format_timestamp(when_.at) + " stop (" + to_string(run_.wanted) + ")";
}

/// What the store is told of an attempt that has not ended.
attempt_result attempt_machine::row_meanwhile() const {
  attempt_terms terms;
  if (run_.timeout != run_.work.task.spec.timeout)
    terms.timeout = run_.timeout;
  terms.input = run_.made.feeding || run_.made.half_fed;
  terms.stop = run_.wanted == ending::cancelled ? ending::none : run_.wanted;
  attempt_result what;
  what.token = run_.work.token;
  what.message = text_of(terms);
  what.evidence.kills = run_.evidence.kills;
  what.evidence.start = run_.evidence.start;
  return what;
}

void attempt_machine::end_wanted(running& now) {
  stop_container(now);
}

void attempt_machine::hurried(running& now) {
  if (now.stop == running::stop_state::recording)
    ask_stop(now);
  else if (now.stop == running::stop_state::asked || now.stop == running::stop_state::done)
    wake(timer::kill, *time_to_kill());
}

/// The stop that runs may have longer, or the engine may have lost it.
void attempt_machine::kill_container(running& now) {
  if (now.stop == running::stop_state::needless)
    return;
  if (!std::exchange(now.kill_asked, true))
    run_.evidence.kills.push_back(format_timestamp(when_.at) + " SIGKILL: the cancel allowed no more time");
  act_on(ask::kill_now{{}, run_.made.id});
}

void attempt_machine::on(running& now, const reply<ask::stop>& was_running) {
  // It had ended by itself; if nobody can have stopped it for davit before: neither an agent that is gone, nor a
  // request whose answer was lost.
  auto by_itself = !was_running.value && run_.begun_here && !now.stop_repeated;
  now.stop = by_itself ? running::stop_state::needless : running::stop_state::done;
  run_.evidence.kills.push_back(was_running.value ? "the engine stopped it" : "it had ended by itself");
}

// -- the log ---------------------------------------------------------------------------------------------------------

log_request attempt_machine::log_request_for(bool follow, bool tail, const log_lease& lease) const {
  log_request what{run_.key(), run_.made.id, run_.spec.tty, follow, tail, lease, {}, {}, false};
  for (auto& one : hidden_texts())
    what.secrets.push_back({std::move(one), false});
  what.nonce = run_.made.nonce;
  what.says_begun = run_.made.says_begun;
  return what;
}

void attempt_machine::follow_log() {
  act_on(ask::open_log{});
}

void attempt_machine::on(running&, const reply<ask::open_log>& lease) {
  act_on(act::crash{"log followed"});
  run_.made.following = true;
  act_on(ask::follow_log{{}, log_request_for(true, false, lease.value)});
}

void attempt_machine::on(running&, const reply<ask::follow_log>& end) { // the container has ended, or is about to
  run_.made.following = false;
  run_.made.followed_to_end = end.value.complete;
  if (!end.value.report)
    return;
  run_.made.rest = log_rest::read;
  if (take_report(*end.value.report))
    end_early(*end.value.report);
}

void attempt_machine::reader_failed(running&, const failure& why) {
  if (why.log == log_errc::stale)
    return;
  say(act::level::debug, "its log is read again: " + why.text);
  wake(timer::first_look, duration{500});
}

/// The init has told how the task ended, and the log is whole. True: its word alone decides. False: the engine's is
/// waited for, or there was no task that could end, which is seen to here.
bool attempt_machine::take_report(const sandbox_report& report) {
  run_.made.told = report;
  verdict how;
  switch (report.word) {
    case sandbox_word::unused:
      if (run_.made.warm) {
        be_cold("the sandbox ended before the task had reached it");
        forget_sandbox(run_.made.id);
      } else {
        forget_dead("its init could not begin the task");
      }
      return false;
    case sandbox_word::exec:
      how.message
        = "the command could not be executed: " + (run_.made.program.empty() ? std::string{} : run_.made.program + ": ")
        + std::strerror(report.number);
      how.exit_code
        = report.number == ENOENT || report.number == ENOTDIR ? init::not_found_code : init::not_executable_code;
      end_log_and_report(std::move(how));
      return false;
    case sandbox_word::exited:
      return run_.wanted == ending::none && report.oom_kills == 0 && !of_a_stop(report.number)
          && init::seals(run_.made.nonce) && !reaches_init(run_.spec);
    case sandbox_word::signaled:
      return false;
  }
  return false;
}

// -- whether a sandbox has begun its task ----------------------------------------------------------------------------

// One that somebody has paused or stopped (SIGSTOP), before its task reached it, would keep the task for ever. It is
// killed: then its log tells for certain whether the task had begun, and if not, it is begun elsewhere
// (look_for_beginning).

void attempt_machine::on(running&, const reply<ask::first_line_now>& first) {
  if (first.value.empty() && run_.wanted == ending::none)
    act_on(ask::inspect_now{{}, run_.made.id});
}

void attempt_machine::on(running& now, const reply<ask::inspect_now>& found) {
  if (run_.wanted != ending::none || found.value.ended())
    return;
  auto paused = found.value.state == "paused";
  if (!paused && now.looks < looks_at_beginning) {
    ++now.looks;
    wake(timer::beginning, beginning_patience);
    return;
  }
  say(act::level::warning, "its sandbox " + run_.made.id + " was " + (paused ? "paused" : "stopped")
                             + " before the task began, and is killed; the task begins elsewhere");
  run_.made.hung = true;
  act_on(ask::kill_now{{}, run_.made.id});
}

void attempt_machine::on(running&, const reply<ask::kill_now>&) {}

// -- what is refused, and what time brings ---------------------------------------------------------------------------

void attempt_machine::on(running& now, const refusal& one) {
  switch (one.what) {
    case asked::inspect:
      run_.evidence.note = "the container vanished while it ran: somebody else removed it, or the engine lost it";
      fail(outcome::engine_lost, "the container is gone from the engine; how it ended is not known: " + one.why.text);
      break;
    case asked::open_log:
      say(act::level::error, "its log can't be written: " + one.why.text);
      wake(timer::first_look, duration{2000});
      break;
    case asked::record_stop:
      if (one.why.store == store_errc::fenced) {
        leave();
        break;
      }
      say(act::level::warning, "why it is stopped was not recorded: " + one.why.text);
      if (now.stop == running::stop_state::recording)
        ask_stop(now);
      break;
    case asked::stop:
      run_.evidence.kills.push_back("the engine refused to stop it: " + one.why.text);
      look();
      break;
    case asked::kill_now:
      if (now.kill_asked) {
        wake(timer::kill, kill_retry);
        break;
      }
      [[fallthrough]];
    case asked::first_line_now:
    case asked::inspect_now:
      ++now.looks;
      wake(timer::beginning, beginning_patience);
      break;
    default:
      unexpected(one);
  }
}

void attempt_machine::on(running& now, const timer_fired& one) {
  if (one.which == timer::first_look)
    follow_log();
  else if (one.which == timer::again && now.stop == running::stop_state::recording)
    ask_stop(now);
  else if (one.which == timer::kill)
    kill_container(now);
  else if (one.which == timer::beginning && run_.wanted == ending::none)
    act_on(ask::first_line_now{{}, run_.made.id});
}

void attempt_machine::again(running& now, asked what) {
  if (what == asked::stop) {
    now.stop_repeated = true;
    ask_stop(now);
  } else {
    look();
  }
}

} // namespace davit
