// The image: whether the task's owner may use the one that the engine has, and pulling it.
//
// An image that was pulled with a task's own credentials is for owners to whom the registry has given it, which the
// store knows. Who may not use it learns nothing of it: for such an owner it is as if the engine did not have it.
#include "actors/attempt_machine.hpp"
#include "actors/container_plan.hpp"
#include "policy/image_reference.hpp"

namespace davit {

bool attempt_machine::has_own_credentials() const {
  return run_.secrets.contains(registry_secret);
}

image_grant attempt_machine::grant(std::string image_id) const {
  return {run_.engine.info.id,   run_.spec.image,
          std::move(image_id),   run_.work.task.owner,
          has_own_credentials(), to_string(run_.key().task) + '/' + std::to_string(run_.key().number)};
}

// -- rights ----------------------------------------------------------------------------------------------------------

void attempt_machine::look_at_rights() {
  enter(preparing{preparing::doing::rights, {}});
  act_on(ask::may_use{{}, grant({})});
}

void attempt_machine::on(preparing& now, const reply<ask::may_use>& answer) {
  if (now.at == preparing::doing::rights && !answer.value) { // some of that name; which is meant, the engine says
    now.at = preparing::doing::look_up;
    act_on(ask::look_up_image{{}, run_.spec.image});
  } else if (!answer.value) {
    may_not_use();
  } else {
    if (now.at == preparing::doing::rights)
      run_.right.kind = image_right::kind::any;
    else
      run_.right = {image_right::kind::one, now.which};
    prepare();
  }
}

/// The registry decides.
void attempt_machine::may_not_use() {
  if (run_.spec.pull == pull_policy::never)
    fail_without_image();
  else
    pull();
}

/// Whether the container is of the image that the owner may use. Its name may have come to stand for another.
bool attempt_machine::is_rightful(const std::string& image_id) const {
  return run_.right.kind != image_right::kind::one || image_id == run_.right.image_id;
}

void attempt_machine::fail_without_image() {
  run_.evidence.start.clear(); // it could tell what the engine has
  fail(outcome::image_unavailable, "the engine has no image " + run_.spec.image + " that this owner's tasks may use"
                                     + (is_image_id(run_.spec.image)           ? "; an id can't be pulled"
                                        : run_.spec.pull == pull_policy::never ? " (pull: never)"
                                                                               : ""));
}

// -- pulling ---------------------------------------------------------------------------------------------------------

void attempt_machine::pull() {
  if (is_image_id(run_.spec.image)) {
    fail_without_image();
    return;
  }
  auto whole = run_.spec.pull_timeout.value_or(run_.settings->pull_timeout);
  // Counted from the attempt's beginning, so that an agent that starts again does not begin anew.
  auto limit = std::max(std::chrono::duration_cast<duration>(made_at() + whole - when_.at), duration{1});
  run_.tried.pulled = true;
  run_.right = {};
  auto& now = enter(pulling{when_.steady, limit, whole, {}});
  if (has_own_credentials()) {
    now.at = pulling::doing::look_before;
    act_on(ask::look_up_image{{}, run_.spec.image});
  } else {
    ask_pull(now);
  }
}

/// Before the engine is asked: if the agent dies during the pull, the store knows that what came is not for everybody.
void attempt_machine::announce_pull(pulling& now) {
  now.at = pulling::doing::announce;
  act_on(ask::record_pull{{}, grant(now.image_id), pull_stage::begun});
}

void attempt_machine::ask_pull(pulling& now) {
  now.at = pulling::doing::pull;
  auto own = run_.secrets.find(registry_secret);
  act_on(ask::pull_image{{}, run_.spec.image, now.limit, own == run_.secrets.end() ? secret{} : own->second});
}

void attempt_machine::record_pull(pulling& now) {
  now.at = pulling::doing::record;
  act_on(ask::record_pull{{}, grant(now.image_id), pull_stage::done});
}

void attempt_machine::on(pulling& now, const pull_moved& one) {
  now.how_far = one.how_far;
}

void attempt_machine::on(pulling& now, const reply<ask::look_up_image>& found) {
  now.image_id = found.value.id;
  if (now.at == pulling::doing::look_before)
    announce_pull(now);
  else
    record_pull(now);
}

void attempt_machine::on(pulling& now, const reply<ask::record_pull>&) {
  if (now.at == pulling::doing::announce) {
    ask_pull(now);
    return;
  }
  run_.right = {image_right::kind::one, now.image_id};
  prepare();
}

void attempt_machine::on(pulling& now, const reply<ask::pull_image>&) {
  act_on(act::pull_ended{true});
  run_.made.image.reset(); // it is another one now
  run_.made.nonce.clear();
  act_on(act::remember_image{run_.spec.image});
  if (has_own_credentials() || when_.images_guarded) {
    now.at = pulling::doing::look_after;
    act_on(ask::look_up_image{{}, run_.spec.image});
  } else {
    prepare();
  }
}

void attempt_machine::on(pulling& now, const refusal& one) {
  auto code = one.why.engine;
  switch (now.at) {
    case pulling::doing::look_before:
      announce_pull(now);
      break;
    case pulling::doing::pull:
      pull_failed(now, one.why.text,
                  code == engine_errc::failed || code == engine_errc::refused || code == engine_errc::not_found);
      break;
    case pulling::doing::look_after: // it is gone already
      prepare();
      break;
    case pulling::doing::announce:
    case pulling::doing::record:
      run_.waiting = one.why.text;
      wake(timer::again, duration{500});
      break;
  }
}

void attempt_machine::on(pulling& now, const timer_fired&) {
  if (now.at == pulling::doing::announce)
    announce_pull(now);
  else
    record_pull(now);
}

void attempt_machine::again(pulling& now, asked) {
  // The pull's own deadline and the engine's silence look the same from here; the clock tells them apart.
  if (when_.steady - now.begun >= now.limit)
    pull_failed(now, "the pull took longer than " + format_duration(now.whole), false);
  else
    pull();
}

/// `known`: the engine itself says that nothing came.
void attempt_machine::pull_failed(const pulling& now, const std::string& why, bool known) {
  if (now.at == pulling::doing::pull)
    act_on(act::pull_ended{false});
  if (known && has_own_credentials())
    act_on(act::forget_pull{grant({})});
  run_.evidence.start.clear(); // it could tell what the engine has
  fail(outcome::image_unavailable, "the image " + run_.spec.image + " could not be pulled: " + why);
}

void attempt_machine::end_wanted(pulling& now) {
  act_on(act::withdraw{});
  if (now.at == pulling::doing::announce) // nothing was asked for
    act_on(act::forget_pull{grant({})});
  fail_unstarted("while the image was pulled");
}

bool attempt_machine::waits_for(const pulling& now, asked what) {
  using enum pulling::doing;
  switch (what) {
    case asked::look_up_image:
      return now.at == look_before || now.at == look_after;
    case asked::record_pull:
      return now.at == announce || now.at == record;
    case asked::pull_image:
      return now.at == pulling::doing::pull;
    default:
      return false;
  }
}

bool attempt_machine::waits_for(const pulling& now, timer which) {
  return which == timer::again && (now.at == pulling::doing::announce || now.at == pulling::doing::record);
}

} // namespace davit
