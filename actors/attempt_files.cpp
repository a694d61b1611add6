// The inputs go into the container before its command runs; the outputs come out when it has ended.
#include "actors/attempt_machine.hpp"
#include "actors/output_tests.hpp"
#include "actors/prepared_plan.hpp"

#include <algorithm>

namespace davit {

namespace {

/// How long after a failure to read or write what is kept it is tried again; and for how long outputs are.
constexpr duration files_retry{1000}, gather_patience{600'000};

/// How long outputs may take to be collected; and after a cancel, or when the end has a limit.
constexpr duration gather_limit{1'800'000}, gather_limit_of_cancelled{30'000};

} // namespace

// -- in --------------------------------------------------------------------------------------------------------------

/// Goes on to the start when the inputs are there. A container that was found, and not started, may have a part of
/// them: they are unpacked again.
void attempt_machine::fill() {
  if (run_.spec.inputs.empty() || run_.made.filled) {
    filled();
  } else if (run_.wanted != ending::none) {
    fail_unstarted("before its inputs were unpacked");
  } else if (!refuse_by_policy()) {
    enter(filling{});
    ask_fill();
  }
}

void attempt_machine::ask_fill() {
  fill_order order{run_.key(), run_.work.task.owner, run_.engine.name, run_.made.id, run_.spec.inputs};
  order.user = run_.spec.user;
  order.keep = may_be_prepared(run_.spec);
  act_on(ask::fill{{}, std::move(order)});
  act_on(act::crash{"input asked"});
}

void attempt_machine::filled() {
  if (run_.made.warm)
    start();
  else
    announce();
}

void attempt_machine::on(filling&, const reply<ask::fill>&) {
  act_on(act::crash{"inputs unpacked"});
  run_.made.filled = true;
  filled();
}

void attempt_machine::on(filling& now, const refusal& one) {
  const auto& why = one.why;
  if (why.files == files_errc::failed) {
    if (!now.trouble_since)
      now.trouble_since = when_.steady;
    if (when_.steady - *now.trouble_since < run_.engine.grace) {
      run_.waiting = why.text;
      wake(timer::again, files_retry);
    } else {
      fail(outcome::engine_lost, "its inputs could not be read: " + why.text);
    }
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

void attempt_machine::again(filling&, asked) {
  ask_fill();
}

void attempt_machine::end_wanted(filling&) {
  act_on(act::withdraw{});
  fail_unstarted("while its inputs were unpacked");
}

// -- out -------------------------------------------------------------------------------------------------------------

/// Reports when the outputs are there.
void attempt_machine::gather(verdict how) {
  if (run_.spec.outputs.empty()) {
    report(std::move(how));
    return;
  }
  gather(enter(gathering{std::move(how)}));
}

void attempt_machine::gather(gathering& now) {
  collect_order order{run_.key(), run_.work.task.owner, run_.engine.name, run_.made.id, run_.spec.outputs};
  order.succeeded = now.how.outcome == outcome::succeeded;
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
  run_.outputs = all.value;
  for (auto& one : run_.outputs) {
    one.message = masked(std::move(one.message));
    if (one.tests)
      one.tests = presentable(std::move(*one.tests), hidden_texts());
  }
  gathered(now);
}

void attempt_machine::on(gathering& now, const refusal& one) {
  if (one.why.files != files_errc::failed) {
    gather_none(now, one.why.text);
    return;
  }
  if (!now.trouble_since)
    now.trouble_since = when_.steady;
  auto patience
    = run_.wanted == ending::none || run_.wanted == ending::timed_out ? gather_patience : gather_limit_of_cancelled;
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
  for (const auto& [name, wanted] : run_.spec.outputs)
    run_.outputs.push_back({name, output_state::failed, {}, 0, 0, why});
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
