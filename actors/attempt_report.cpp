// The outcome is stored, and what the attempt has left on the engine is removed.
#include "actors/attempt_machine.hpp"
#include "policy/placement.hpp"
#include "policy/volumes.hpp"
#include "secrets/secret_masker.hpp"
#include "transport/registry_credentials.hpp"

namespace davit {

namespace {

/// How long a container whose task has ended may take to end too, before it is removed as it is.
constexpr duration removal_patience{10'000};

} // namespace

attempt_status status_of(const attempt_run& run) {
  attempt_status status;
  status.key = run.key();
  status.engine = run.engine.name;
  status.phase = phase_names[run.now.index()];
  status.waiting = run.waiting;
  if (auto* pull = std::get_if<pulling>(&run.now)) {
    status.layers = pull->how_far.layers;
    status.layers_done = pull->how_far.layers_done;
    status.bytes = pull->how_far.bytes;
    status.bytes_total = pull->how_far.bytes_total;
  }
  return status;
}

// -- reporting -------------------------------------------------------------------------------------------------------

/// Ends the attempt without a container's exit to tell of.
void attempt_machine::fail(outcome how, std::string message) {
  verdict result;
  result.outcome = how;
  result.message = std::move(message);
  if (run_.ran)
    note("some bytes may be missing here: the log was not read to its end");
  end_log_and_report(std::move(result));
}

/// Ends an attempt that was withdrawn before its container ran.
void attempt_machine::fail_unstarted(const std::string& when) {
  if (run_.wanted == ending::drained)
    fail(outcome::agent_lost, "the agent was shut down " + when);
  else if (run_.wanted == ending::timed_out) // in a sandbox that never ran it
    fail(outcome::timed_out, "the timeout was over " + when);
  else
    fail(outcome::cancelled, "cancelled " + when);
}

/// Ends a log that nothing more is read into, and reports.
void attempt_machine::end_log_and_report(verdict how) {
  enter(reporting{std::move(how), {}});
  act_on(ask::close_log{{}, false});
}

void attempt_machine::on(reporting& now, const reply<ask::close_log>& totals) {
  act_on(act::crash{"log closed"});
  run_.small_log = totals.value.packed;
  report(std::move(*now.how));
}

void attempt_machine::report(verdict how) {
  how.message = masked(std::move(how.message));
  auto& evidence = run_.evidence;
  for (auto* text : {&evidence.note, &evidence.start, &evidence.inspect})
    *text = masked(std::move(*text));
  for (auto* list : {&evidence.events, &evidence.kills})
    for (auto& one : *list)
      one = masked(std::move(one));
  auto& now = enter(reporting{});
  auto& result = now.result.emplace();
  result.token = run_.work.token;
  result.outcome = how.outcome;
  result.exit_code = how.exit_code;
  result.message = std::move(how.message);
  result.finished_at = when_.at;
  result.phases = run_.phases;
  result.evidence = evidence;
  result.log = std::move(run_.small_log);
  result.outputs = std::move(run_.outputs);
  result.caches = std::move(run_.caches);
  result.answer_of = run_.answer_of;
  if (run_.spec.memo && run_.answer_of.empty() && how.outcome == outcome::succeeded && !run_.made.image_id.empty())
    result.memo = memo_of(run_.made.image_id);
  if (!run_.made.image_id.empty()) {
    result.engine_id = row().engine_id;
    result.image = run_.spec.image;
    result.volumes = named_volumes(run_.work.task.spec);
  }
  if (run_.wanted != ending::cancelled && !(run_.spec.at_most_once && run_.may_have_started))
    if (auto wait = retry_delay(run_.spec.retry, run_.key().number, how.outcome, when_.draw))
      result.retry_at = result.finished_at + *wait;
  store_result(now);
}

/// What of the task's secrets is to be seen nowhere. Of the registry's, that is each part.
std::vector<std::string> attempt_machine::hidden_texts() const {
  std::vector<std::string> texts;
  for (const auto& [name, hidden] : run_.secrets) {
    texts.push_back(hidden.value);
    if (name == registry_secret)
      for (auto& part : transport::registry_credentials::secret_parts(hidden.value))
        texts.push_back(std::move(part));
  }
  return texts;
}

/// The engine's words may repeat what it was given, and name its host's folders.
std::string attempt_machine::masked(std::string text) const {
  text = secrets::masked(std::move(text), hidden_texts());
  const auto& folder = run_.engine.info.data_root;
  for (auto at = folder.size() < 2 ? text.npos : text.find(folder); at != text.npos; at = text.find(folder, at))
    text.replace(at, folder.size(), "DATA-ROOT");
  return text;
}

void attempt_machine::store_result(reporting& now) {
  act_on(ask::finish{{}, *now.result});
  act_on(act::crash{"outcome asked"});
}

void attempt_machine::on(reporting& now, const reply<ask::finish>&) {
  act_on(act::task_ended{now.result->outcome, now.result->message});
  if (!now.result->log.empty())
    act_on(act::log_is_stored{});
  remove();
}

void attempt_machine::on(reporting& now, const refusal& one) {
  if (one.what == asked::close_log) {
    report(std::move(*now.how));
  } else if (one.why.store == store_errc::fenced) {
    say(act::level::warning, one.why.text);
    leave();
  } else { // an outcome is kept until it is stored: the store may be away for a while
    run_.waiting = one.why.text;
    wake(timer::again, now.wait);
    now.wait = std::min(now.wait * 2, duration{5000});
  }
}

void attempt_machine::on(reporting& now, const timer_fired&) {
  store_result(now);
}

// -- removing --------------------------------------------------------------------------------------------------------

void attempt_machine::remove() {
  act_on(act::free_slot{}); // what ran has ended
  run_.trouble_since.reset();
  auto& now = enter(removing{});
  if (run_.made.id.empty()) {
    remove_network();
  } else if (run_.made.ended_early && run_.made.end_awaited) {
    // The engine takes it down by itself, if it is let: it would have to kill what it removes now.
    now.at = removing::doing::end;
    wake(timer::patience, removal_patience);
  } else {
    remove_container();
  }
}

void attempt_machine::on(removing& now, const reply<ask::wait>&) {
  run_.made.end_awaited = false;
  if (now.at == removing::doing::end)
    remove_container();
}

void attempt_machine::on(removing& now, const timer_fired&) {
  if (now.at == removing::doing::end)
    remove_container();
}

void attempt_machine::remove_container() {
  enter(removing{removing::doing::container});
  act_on(ask::remove{{}, run_.made.id});
  act_on(act::crash{"removal asked"});
}

void attempt_machine::again(removing&, asked) {
  remove_container();
}

void attempt_machine::on(removing&, const reply<ask::remove>&) {
  act_on(act::crash{"container removed"});
  remove_network();
}

/// If it is not to be had now, the reaper will see to it.
void attempt_machine::remove_network() {
  if (run_.network.empty()) {
    leave();
    return;
  }
  enter(removing{removing::doing::network});
  act_on(ask::remove_now{{}, run_.network, std::chrono::seconds{60}});
}

void attempt_machine::on(removing&, const reply<ask::remove_now>&) {
  leave();
}

void attempt_machine::on(removing& now, const refusal& one) {
  // The reaper may be quicker, or at it.
  auto done_elsewhere = one.why.engine == engine_errc::not_found || one.why.engine == engine_errc::conflict;
  if (now.at == removing::doing::container && !done_elsewhere)
    say(act::level::warning, "its container " + run_.made.id + " could not be removed: " + one.why.text);
  leave();
}

/// Nothing that was begun for the attempt outlives it.
void attempt_machine::leave() {
  enter(done{});
  act_on(act::withdraw{});
  act_on(act::release{});
  act_on(act::leave{});
}

} // namespace davit
