// The inputs go into the container before its command runs; the outputs come out when it has ended.
#include "actors/attempt_machine.hpp"
#include "actors/output_tests.hpp"
#include "actors/prepared_plan.hpp"
#include "encoding/printable.hpp"

#include <algorithm>

namespace davit {

namespace {

/// How long after a failure to read or write what is kept it is tried again; and for how long outputs are.
constexpr duration files_retry{1000}, gather_patience{600'000};

/// How long outputs may take to be collected; and after a cancel, or when the end has a limit.
constexpr duration gather_limit{1'800'000}, gather_limit_of_cancelled{30'000};

/// Of an output or a cache: names in it are whole until they are masked.
constexpr std::size_t most_message = 1000;

} // namespace

// -- in --------------------------------------------------------------------------------------------------------------

/// What caches begin with does not change any more once a container is made for it.
void attempt_machine::choose_caches() {
  if (refuse_by_policy())
    return;
  enter(preparing{preparing::doing::choosing, {}});
  ask_choice();
}

void attempt_machine::ask_choice() {
  act_on(ask::choose{
    {},
    {run_.key(), run_.work.task.owner, run_.spec.cache_scope, run_.spec.workdir, run_.spec.inputs, run_.spec.caches}});
}

void attempt_machine::on(preparing&, const reply<ask::choose>& chosen) {
  run_.caches = chosen.value;
  run_.tried.caches_to_record = true;
  record_caches();
}

/// Without a container, which would mean that it may have started.
void attempt_machine::record_caches() {
  enter(preparing{preparing::doing::recording, {}});
  act_on(ask::record{{}, {run_.work.token, task_state::starting, {}, {}, {}, run_.caches}});
}

void attempt_machine::choice_refused(preparing& now, const failure& why) {
  if (why.files != files_errc::failed)
    fail(outcome::failed, "its caches can't be used: " + why.text);
  else if (!wait_for_files(now.trouble_since, why))
    fail(outcome::engine_lost, "its caches could not be found: " + why.text);
}

/// Where they lie can't be read now, and it is tried again; false: not any more.
bool attempt_machine::wait_for_files(std::optional<steady_time>& since, const failure& why) {
  if (!since)
    since = when_.steady;
  if (when_.steady - *since >= run_.engine.grace)
    return false;
  run_.waiting = why.text;
  wake(timer::again, files_retry);
  return true;
}

/// Goes on to the start when the inputs are there. A container that was found, and not started, may have a part of
/// them: they are unpacked again.
void attempt_machine::fill() {
  if ((run_.spec.inputs.empty() && run_.spec.caches.empty()) || run_.made.filled) {
    filled();
  } else if (run_.wanted != ending::none) {
    fail_unstarted("before its inputs were unpacked");
  } else if (!caches_are_known() || run_.tried.caches_to_record) {
    forget_sandbox(run_.made.id); // it is of an agent that chose them later
  } else if (!refuse_by_policy()) {
    enter(filling{});
    ask_fill();
  }
}

void attempt_machine::ask_fill() {
  fill_order order{run_.key(),       run_.work.task.owner, run_.engine.name, run_.made.id,
                   run_.spec.inputs, run_.caches,          run_.spec.user,   places_of(run_.spec, run_.caches)};
  act_on(ask::fill{{}, std::move(order)});
  act_on(act::crash{"input asked"});
}

void attempt_machine::filled() {
  if (run_.made.warm)
    start();
  else
    announce();
}

/// A cache does not decide how a task ends. What is unpacked already is in the way: another container is made. That
/// this one has a part of a cache is known as long as it is there: so it goes before anything is written down.
void attempt_machine::begin_without_caches(const std::string& why) {
  for (auto& one : run_.caches)
    if (!one.restored.empty()) {
      one.restored.clear();
      one.scope.clear();
      one.tree.clear();
      one.message = "it began empty: " + masked(why);
    }
  run_.tried.caches_to_record = true;
  forget_sandbox(run_.made.id);
}

void attempt_machine::on(filling&, const reply<ask::fill>&) {
  act_on(act::crash{"inputs unpacked"});
  run_.made.filled = true;
  filled();
}

void attempt_machine::on(filling& now, const refusal& one) {
  const auto& why = one.why;
  if (why.files == files_errc::failed) {
    auto has_cache = std::any_of(run_.caches.begin(), run_.caches.end(),
                                 [](const used_cache& one) { return !one.restored.empty(); });
    if (!wait_for_files(now.trouble_since, why)) {
      if (has_cache) // it decides nothing; the inputs are tried once more
        begin_without_caches("it can't be read: " + why.text);
      else
        fail(outcome::engine_lost, "its inputs could not be read: " + why.text);
    }
  } else if (why.files == files_errc::unprepared) {
    run_.tried.prepared_asked = true;
    forget_sandbox(run_.made.id);
  } else if (why.files == files_errc::lost) {
    begin_without_caches(why.text);
  } else if (why.files != files_errc::none || why.engine == engine_errc::refused
             || (why.engine == engine_errc::failed && !is_engines_own(why.text))) {
    fail(outcome::failed, "its inputs can't be unpacked: " + why.text);
  } else if (why.engine == engine_errc::not_found) {
    recover(); // somebody has removed the container
  } else {
    fail(outcome::engine_lost, "the engine did not take its inputs: " + why.text);
  }
}

void attempt_machine::on(filling&, const timer_fired&) {
  ask_fill();
}

void attempt_machine::end_wanted(filling&) {
  act_on(act::withdraw{});
  fail_unstarted("while its inputs were unpacked");
}

// -- out -------------------------------------------------------------------------------------------------------------

/// What a success leaves in a cache whose key was not there before.
bool attempt_machine::has_caches_to_keep() const {
  return std::any_of(run_.caches.begin(), run_.caches.end(),
                     [](const used_cache& one) { return one.key != one.restored; });
}

/// Reports when the outputs are there.
void attempt_machine::gather(verdict how) {
  auto keeps = how.outcome == outcome::succeeded && has_caches_to_keep();
  if (run_.spec.outputs.empty() && !keeps) {
    report(std::move(how));
    return;
  }
  gather(enter(gathering{std::move(how)}));
}

void attempt_machine::gather(gathering& now) {
  collect_order order{run_.key(), run_.work.task.owner, run_.engine.name, run_.made.id, run_.spec.outputs};
  order.succeeded = now.how.outcome == outcome::succeeded;
  if (order.succeeded && run_.caches.size() == run_.spec.caches.size()) {
    order.scope = run_.spec.cache_scope;
    order.caches = run_.spec.caches;
    order.used = run_.caches;
  }
  order.limit = gather_limit;
  if (run_.wanted != ending::none && run_.wanted != ending::timed_out)
    order.limit = gather_limit_of_cancelled;
  if (auto left = time_to_kill()) { // a second longer than the container, as its log
    order.limit = std::min(order.limit, *left + duration{1000});
    wake(timer::forgo, order.limit);
  }
  act_on(ask::gather{{}, std::move(order)});
  act_on(act::crash{"output asked"});
}

void attempt_machine::on(gathering& now, const reply<ask::gather>& all) {
  act_on(act::crash{"outputs collected"});
  run_.outputs = all.value.outputs;
  for (auto& one : run_.outputs) {
    one.message = encoding::cut_to(masked(std::move(one.message)), most_message);
    if (one.tests)
      one.tests = presentable(std::move(*one.tests), hidden_texts());
  }
  if (!all.value.caches.empty())
    run_.caches = all.value.caches;
  for (auto& one : run_.caches)
    one.message = encoding::cut_to(masked(std::move(one.message)), most_message);
  gathered(now);
}

void attempt_machine::on(gathering& now, const refusal& one) {
  if (one.why.files != files_errc::failed) {
    gather_none(now, one.why.text);
    return;
  }
  if (!now.trouble_since)
    now.trouble_since = when_.steady;
  auto patience = !run_.spec.outputs.empty() && (run_.wanted == ending::none || run_.wanted == ending::timed_out)
                  ? gather_patience
                  : gather_limit_of_cancelled;
  if (out_of_time() || when_.steady - *now.trouble_since >= patience) {
    gather_none(now, one.why.text);
  } else {
    run_.waiting = one.why.text;
    wake(timer::again, files_retry);
  }
}

void attempt_machine::on(gathering& now, const timer_fired& one) {
  if (one.which == timer::again) {
    gather(now);
    return;
  }
  act_on(act::withdraw{});
  gather_none(now, "the cancel allowed no more time");
}

void attempt_machine::hurried(gathering&) {
  wake(timer::forgo, *time_to_kill());
}

/// None of them can be had.
void attempt_machine::gather_none(gathering& now, const std::string& why) {
  run_.outputs.clear();
  auto succeeded = now.how.outcome == outcome::succeeded;
  for (const auto& [name, wanted] : run_.spec.outputs)
    if (is_in_time(wanted.when, succeeded))
      run_.outputs.push_back({name, output_state::failed, {}, 0, 0, why});
    else
      run_.outputs.push_back(
        {name, output_state::skipped, {}, 0, 0, succeeded ? "the task succeeded" : "the task did not succeed"});
  for (auto& one : run_.caches)
    if (one.key != one.restored && succeeded)
      one.message = why;
  gathered(now);
}

/// A task that succeeded without an output that it must have has failed.
void attempt_machine::gathered(gathering& now) {
  auto how = std::move(now.how);
  if (how.outcome == outcome::succeeded)
    for (const auto& one : run_.outputs)
      if (run_.spec.outputs.at(one.name).required && one.state != output_state::kept) {
        how.outcome = outcome::failed;
        how.message = "exit code 0, but the output " + one.name + " is " + to_string(one.state) + ": " + one.message;
        break;
      }
  report(std::move(how));
}

} // namespace davit
