// From the verdict of the policy to a container: preparing, creating. (The image: attempt_image.cpp)
#include "actors/attempt_machine.hpp"
#include "actors/container_plan.hpp"
#include "actors/prepared_plan.hpp"
#include "actors/sandbox_plan.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/message.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace davit {

container_plan plan_of(const attempt_run& run) {
  auto wanted = plan_container(*run.settings, run.key(), run.spec, run.work.task.owner, run.secrets);
  wanted = with_prepared(std::move(wanted), run.prepared);
  if (!run.made.nonce.empty() && run.made.image)
    wanted = with_init(std::move(wanted), *run.made.image, run.made.nonce);
  return run.network.empty() ? wanted : joined(std::move(wanted), run.network);
}

// -- preparing -------------------------------------------------------------------------------------------------------

/// Chooses what the task is to run in: a sandbox if it may have one, or a container in a network that waits, or one of
/// its own.
void attempt_machine::prepare() {
  if (run_.wanted != ending::none && !run_.made.may_exist) {
    fail_unstarted("before a container was made");
  } else if (run_.wanted != ending::none) { // an answer was lost: a container may be there, and must not stay
    recover();
  } else if (!run_.made.may_exist && when_.images_guarded && run_.right.kind == image_right::kind::unknown) {
    look_at_rights();
  } else if (!run_.made.may_exist && run_.spec.memo && !run_.tried.memo_asked) {
    ask_memo();
  } else if (!run_.made.may_exist && !caches_are_known()) {
    choose_caches();
  } else if (!run_.made.may_exist && run_.tried.caches_to_record) {
    record_caches();
  } else if (!run_.made.may_exist && !run_.tried.prepared_asked && !places_of(run_.spec, run_.caches).empty()) {
    ask_for_prepared();
  } else if (!run_.made.may_exist && may_be_warm()) {
    enter(preparing{preparing::doing::sandbox, {}});
    run_.made.may_exist = true; // it may be under the attempt's name from now on
    run_.tried.network_asked = true;
    act_on(ask::take_sandbox{{}, plan_asked_for(run_.secrets), run_.spec.start == start_mode::warm});
  } else if (!run_.made.may_exist && may_join()) {
    enter(preparing{preparing::doing::network, {}});
    run_.tried.network_asked = true;
    act_on(ask::take_network{{}, plan_asked_for({})});
  } else if (owes_init() && run_.made.nonce.empty()) {
    enter(preparing{preparing::doing::image, {}});
    act_on(ask::look_up_image{{}, run_.spec.image});
  } else {
    make_container();
  }
}

void attempt_machine::end_wanted(preparing& now) {
  if (now.at == preparing::doing::choosing) {
    act_on(act::withdraw{});
    fail_unstarted("while its caches were looked for");
  } else if (!run_.held.empty() && !run_.made.may_exist)
    fail_unstarted("while waiting for the engine");
}

/// Whether to ask for a sandbox; if not, the evidence says why.
bool attempt_machine::may_be_warm() {
  const auto& all = run_.settings->engines;
  auto engine = std::find_if(all.begin(), all.end(), [this](const auto& one) { return one.name == run_.engine.name; });
  auto why = run_.tried.cold_reason;
  if (why.empty())
    why
      = engine == all.end() ? "the engine is not in the configuration" : why_cold(run_.spec, *engine, run_.engine.info);
  if (why.empty() && !run_.has_keeper)
    why = "the engine keeps no sandboxes";
  if (!why.empty())
    run_.evidence.start = "cold: " + why + (run_.network.empty() ? "" : "; its network was made ahead");
  return why.empty();
}

void attempt_machine::be_cold(std::string why) {
  run_.tried.cold_reason = masked(std::move(why));
  run_.evidence.start = "cold: " + run_.tried.cold_reason;
}

/// Then less is to be unpacked, and that saves more than a sandbox does.
void attempt_machine::ask_for_prepared() {
  enter(preparing{preparing::doing::ready, {}});
  run_.tried.prepared_asked = true;
  act_on(ask::find_prepared{{},
                            {run_.key(), run_.work.task.owner, run_.engine.name, run_.spec.image, run_.spec.user,
                             places_of(run_.spec, run_.caches)}});
}

void attempt_machine::on(preparing&, const reply<ask::find_prepared>& found) {
  if (!found.value.trees.empty() && is_rightful(found.value.base)) {
    run_.prepared = found.value;
    be_cold("its files were ready on the engine");
    act_on(act::crash{"prepared chosen"});
  }
  prepare();
}

/// The container is made without them, and its files are unpacked.
void attempt_machine::forget_prepared() {
  if (!has_prepared())
    return;
  run_.prepared = {};
  be_cold("what the engine had ready could not be used");
  act_on(act::release{});
}

/// Whether to ask for a network that the task's container can join. Where everything is to be made for the task, that
/// is not done.
bool attempt_machine::may_join() const {
  return !run_.tried.network_asked && run_.spec.start != start_mode::cold && run_.has_keeper
      && can_join(plan_asked_for({}));
}

/// Whether a container that is made for the task is to have an init; if not although it could, the evidence says why.
bool attempt_machine::owes_init() {
  if (!why_no_init(run_.spec, run_.engine.info).empty() || !run_.has_keeper)
    return false;
  const auto& trouble = run_.tried.init_trouble;
  if (!trouble.empty() && run_.evidence.start.find(trouble) == std::string::npos)
    run_.evidence.start += "; without an init: " + trouble;
  return trouble.empty();
}

void attempt_machine::on(preparing&, const reply<ask::take_sandbox>& answer) {
  const auto& given = answer.value;
  if (given.container.empty()) {
    be_cold(masked(given.why));
    run_.network = given.network;
    run_.made.may_exist = false;
    prepare();
    return;
  }
  act_on(act::crash{"sandbox taken"});
  run_.made.id = given.container;
  if (!is_rightful(given.image_id)) {
    forget_sandbox(given.container);
    return;
  }
  run_.made.image_id = given.image_id;
  run_.made.warm = true;
  run_.made.arguments = given.arguments;
  run_.made.nonce = given.nonce;
  run_.made.says_begun = given.says_begun;
  run_.made.program = given.arguments.empty() ? std::string{} : given.arguments.front();
  run_.evidence.start = given.why.empty() ? "warm" : "warm: " + masked(given.why);
  fill();
}

void attempt_machine::on(preparing&, const reply<ask::take_network>& answer) {
  run_.network = answer.value.network;
  prepare();
}

/// A container with an init is told its command, which may be the image's.
void attempt_machine::on(preparing& now, const reply<ask::look_up_image>& found) {
  if (now.at == preparing::doing::look_up) {
    now.at = preparing::doing::right;
    now.which = found.value.id;
    act_on(ask::may_use{{}, grant(now.which)});
    return;
  }
  if (!is_rightful(found.value.id)) {
    run_.right = {};
    prepare();
    return;
  }
  if (now.at == preparing::doing::memo_image) {
    now.at = preparing::doing::recalling;
    now.which = memo_of(found.value.id);
    act_on(ask::recall{{}, now.which});
    return;
  }
  if (arguments_of(plan_asked_for({}), found.value).empty()) {
    make_container(); // the engine says that there is no command
    return;
  }
  run_.made.image = found.value;
  now.at = preparing::doing::init;
  act_on(ask::put_init{{}, run_.spec.image});
}

void attempt_machine::on(preparing&, const reply<ask::put_init>&) {
  run_.made.nonce = init::nonce_of(when_.nonce);
  run_.made.says_begun = !run_.spec.tty;
  run_.made.program = arguments_of(plan_asked_for({}), *run_.made.image).front();
  make_container();
}

void attempt_machine::on(preparing& now, const refusal& one) {
  const auto& why = one.why;
  switch (now.at) {
    case preparing::doing::choosing:
      choice_refused(now, why);
      break;
    case preparing::doing::ready: // they are unpacked then
    case preparing::doing::network:
      prepare();
      break;
    case preparing::doing::sandbox:
      be_cold("no sandbox was available: " + why.text);
      if (why.engine == engine_errc::conflict)
        recover(); // there is a container of the attempt's name
      else
        forget_sandbox(container_name(run_.key()));
      break;
    case preparing::doing::image:
    case preparing::doing::memo_image:
      create_refused(one.what, why);
      break;
    case preparing::doing::look_up:
      if (why.engine == engine_errc::not_found)
        may_not_use(); // as if it were another owner's
      else
        create_refused(one.what, why);
      break;
    case preparing::doing::rights:
    case preparing::doing::right:
      run_.waiting = why.text;
      wake(timer::again, duration{500});
      break;
    case preparing::doing::init:
      run_.tried.init_trouble = "it can't be put on the engine: " + why.text;
      prepare();
      break;
    case preparing::doing::recalling:
    case preparing::doing::recording:
    case preparing::doing::unrecording:
      if (why.store == store_errc::fenced) {
        leave();
      } else {
        run_.waiting = why.text;
        wake(timer::again, duration{500});
      }
      break;
    case preparing::doing::discarding:
      fail(outcome::engine_lost, "the engine did not remove a sandbox that was not used: " + why.text);
      break;
  }
}

void attempt_machine::on(preparing& now, const timer_fired&) {
  if (now.at == preparing::doing::unrecording)
    forget_sandbox(now.which);
  else if (now.at == preparing::doing::choosing)
    ask_choice();
  else
    prepare();
}

void attempt_machine::again(preparing& now, asked) {
  if (now.at == preparing::doing::discarding) {
    act_on(ask::remove{{}, now.which});
    return;
  }
  if (!run_.made.may_exist)
    run_.right = {};
  prepare();
}

/// Nothing was ever given to it: it goes, and a container is made for the task.
void attempt_machine::forget_sandbox(std::string which) {
  if (run_.may_have_started) {
    // The store may call it running. An agent that comes next, and finds no container, must not think that the task is
    // lost with it.
    enter(preparing{preparing::doing::unrecording, std::move(which)});
    act_on(ask::record{{}, {run_.work.token, task_state::starting, {}, {}, {}}});
    return;
  }
  enter(preparing{preparing::doing::discarding, which});
  act_on(ask::remove{{}, std::move(which)});
}

void attempt_machine::on(preparing& now, const reply<ask::record>&) {
  if (now.at == preparing::doing::recording) {
    act_on(act::crash{"caches chosen"});
    run_.tried.caches_to_record = false;
    prepare();
    return;
  }
  run_.may_have_started = false;
  run_.work.task.state = task_state::starting;
  auto& row = run_.work.task.attempts.back();
  row.container.clear();
  row.message.clear();
  forget_sandbox(now.which);
}

void attempt_machine::on(preparing&, const reply<ask::remove>&) {
  act_on(act::crash{"sandbox given up"});
  run_.made = {};
  forget_prepared();
  run_.right = {};
  run_.ran = false;
  ++run_.era;
  if (!refuse_by_policy())
    prepare();
}

/// The container's init ended by itself before it had begun the task, as no init does whose agent lives.
void attempt_machine::forget_dead(std::string why) {
  if (run_.has_keeper)
    act_on(act::doubt_init{});
  if (!run_.made.warm && may_be_too_long(plan_of(run_))) {
    verdict how;
    how.message = "the command could not be executed: " + run_.made.program + ": " + std::strerror(E2BIG);
    how.exit_code = init::not_executable_code;
    end_log_and_report(std::move(how));
    return;
  }
  if (run_.made.warm)
    be_cold(std::move(why));
  else if (++run_.tried.init_failures > 1)
    run_.tried.init_trouble = std::move(why);
  forget_sandbox(run_.made.id);
}

/// The engine would not have the container in it: another is made, with a network of its own.
void attempt_machine::forget_network() {
  act_on(act::forget_container{run_.network});
  run_.network.clear();
  forget_sandbox(run_.made.id.empty() ? container_name(run_.key()) : run_.made.id);
}

/// The engine's words name the container that has the network: it has ended, or is gone.
bool attempt_machine::is_of_network(const failure& why) const {
  return !run_.network.empty() && why.text.find(run_.network.substr(0, 12)) != std::string::npos;
}

// -- creating --------------------------------------------------------------------------------------------------------

void attempt_machine::make_container() {
  enter(creating{});
  run_.made.may_exist = true;
  run_.made.filled = false;
  act_on(ask::create{{}, plan_of(run_)});
  act_on(act::crash{"container asked"});
}

void attempt_machine::on(creating& now, const reply<ask::create>& id) {
  act_on(act::crash{"container created"});
  run_.made.id = id.value;
  run_.made.has_line = run_.spec.stdin_text.has_value();
  // Only the engine knows which image it has. The name may have been given to another, with another command, between
  // two questions.
  now.at = creating::doing::check_image;
  act_on(ask::inspect{{}, run_.made.id});
}

void attempt_machine::on(creating& now, const reply<ask::inspect>& found) {
  const auto& image = found.value.image_id;
  if (now.at == creating::doing::look_twice)
    recover(); // it is there
  else if (is_rightful(image) && (!has_prepared() || image == run_.prepared.base)
           && (run_.made.nonce.empty() || (run_.made.image && image == run_.made.image->id))) {
    run_.made.image_id = image;
    fill();
  } else {
    forget_sandbox(run_.made.id);
  }
}

void attempt_machine::on(creating& now, const refusal& one) {
  switch (now.at) {
    case creating::doing::create:
      create_refused(one.what, one.why);
      break;
    case creating::doing::check_image:
      // Somebody may have removed it; an engine that says so each time would have it made for ever.
      if (one.why.engine == engine_errc::not_found && std::exchange(run_.tried.vanished, true))
        fail(outcome::engine_lost, "the engine does not know the container that it has made: " + one.why.text);
      else
        recover();
      break;
    case creating::doing::look_twice: {
      auto well = one.why.engine == engine_errc::not_found;
      // The words differ: they name folders that are made anew each time.
      auto twice = !std::exchange(run_.tried.refused_before, now.why.text).empty();
      if (well && twice)
        fail(outcome::failed, "the engine can't make the container: " + now.why.text);
      else
        hold(one.what, now.why);
      break;
    }
  }
}

void attempt_machine::again(creating& now, asked) {
  if (now.at == creating::doing::check_image)
    recover();
  else
    prepare();
}

void attempt_machine::create_refused(asked what, const failure& why) {
  auto code = why.engine;
  if (is_of_network(why)) {
    forget_network();
  } else if (code == engine_errc::conflict) {
    recover(); // an answer was lost: the container is there already
  } else if (has_prepared() && what == asked::create) {
    forget_prepared(); // the engine may not like its volumes
    prepare();
  } else if (code == engine_errc::not_found && !run_.tried.pulled && run_.spec.pull != pull_policy::never) {
    pull();
  } else if (code == engine_errc::not_found
             && (what == asked::look_up_image || why.text.find("o such image") != std::string::npos)) {
    fail_without_image();
  } else if (code == engine_errc::not_found) {
    fail(outcome::image_unavailable, why.text + (run_.spec.pull == pull_policy::never ? " (pull: never)" : ""));
  } else if (code == engine_errc::failed && !is_engines_own(why.text)) {
    // If the engine is well otherwise and does so again, it can't make this container.
    enter(creating{creating::doing::look_twice, why});
    act_on(ask::inspect{{}, container_name(run_.key())});
  } else if (code == engine_errc::failed) {
    hold(what, why);
  } else {
    fail(code == engine_errc::refused ? outcome::failed : outcome::engine_lost,
         "the engine did not make the container: " + why.text);
  }
}

} // namespace davit
