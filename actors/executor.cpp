#include "actors/executor_state.hpp"

#include "actors/container_plan.hpp"
#include "actors/sandbox_plan.hpp"
#include "sandbox/hand_over.hpp"
#include "secrets/secret_box.hpp"

#include <algorithm>

namespace davit {

void executor_state::judge() {
  auto judged = context->policy->judge(work.task.spec, engine.profile);
  spec = std::move(judged.effective);
  const auto& attempt = work.task.attempts.back();
  auto queued_since = work.task.not_before.value_or(work.task.created_at);
  if (attempt.created_at)
    phases["queue"] = std::max(0.0, std::chrono::duration<double>(*attempt.created_at - queued_since).count());
  context->metrics->attempt_phase("queue", phases["queue"]);
  if (!work.resumed)
    context->metrics->queue_wait(phases["queue"]);
  if (!judged.violations.empty()) {
    std::string text;
    for (const auto& one : judged.violations)
      text += (text.empty() ? "" : "; ") + one.field + ": " + one.message + " (rule " + one.rule + ")";
    fail(outcome::rejected, text);
    return;
  }
  if (!unseal())
    return;
  if (work.task.cancel_requested)
    wanted = ending::cancelled;
  crash_point("attempt judged");
  if (work.resumed)
    recover();
  else if (wanted != ending::none)
    fail_unstarted("before a container was made");
  else if (spec.pull == pull_policy::always)
    pull();
  else
    create();
}

/// False: they can't be read, and the attempt has ended.
bool executor_state::unseal() {
  for (const auto& [name, sealed] : spec.secrets) {
    auto value = context->secrets->unseal(name, sealed.value);
    if (!value) {
      fail(outcome::rejected, "secrets." + name + ": it was sealed with another key than " + context->settings.secrets_key_file().string()
                                + " holds now; put that key back, or submit the task again");
      return false;
    }
    secrets[name] = {std::move(*value), false};
  }
  return true;
}

std::vector<secret> executor_state::masked_values() const {
  std::vector<secret> values;
  for (const auto& [name, hidden] : secrets)
    values.push_back(hidden);
  return values;
}

/// The attempt was under way before: its container tells how far.
void executor_state::recover() {
  enter(step::recover);
  adopt();
}

/// The engine that the attempt was made for is the one that answers, as far as it is known.
bool executor_state::same_engine() const {
  const auto& made_for = work.task.attempts.back().engine_id;
  // An older davit took the id that the engine reports.
  return made_for.empty() || engine.info.id.empty() || made_for == engine.info.id || made_for == engine.info.reported_id;
}

void executor_state::lose_engine() {
  evidence.note = "another engine answers at the address: " + engine.info.id;
  fail(outcome::engine_lost, "another engine answers at the address of " + engine.name + " now; how the container ended is not known");
}

/// Goes on from whatever state the attempt's own container is in.
void executor_state::adopt() {
  if (engine.info.id.empty()) { // what another engine may say must not be taken for this one's word
    hold([this] { adopt(); }, make_failure(engine_errc::lost, "the engine " + engine.name + " has not answered yet"));
    return;
  }
  inspect_own(container_name(key()), [this] { find_renamed(); });
}

/// Inspects the attempt's container and goes on from there; `absent`: the engine has none of this name or id.
void executor_state::inspect_own(std::string name_or_id, std::function<void()> absent) {
  ask([this] { adopt(); },
      [this, absent](const caf::error& e) {
        if (engine_code(e) == engine_errc::not_found)
          absent();
        else if (engine_code(e) == engine_errc::failed)
          hold([this] { adopt(); }, e);
        else
          fail(outcome::engine_lost, "the engine can't tell of the container: " + text_of(e));
      },
      [this, name_or_id](const container_status& found) {
        auto label = found.labels.find("davit.task");
        auto sandbox = found.labels.find("davit.sandbox"); // has no other mark of its task than its name, or its id in the store
        auto ours = sandbox != found.labels.end() || (label != found.labels.end() && label->second == to_string(key().task));
        if (sandbox != found.labels.end()) {
          if (!warm)
            warm.emplace().container = found.id;
          nonce = sandbox->second;
          says_begun = found.labels.contains(init::words_label);
        } else {
          auto marked = found.labels.find(init::nonce_label); // an older davit's containers have none, nor has one whose command is the first process
          nonce = marked == found.labels.end() ? std::string{} : marked->second;
          says_begun = !nonce.empty() && !spec.tty;
          if (evidence.start.empty() && work.resumed)
            evidence.start = "cold: its container was there when the attempt was taken up";
        }
        if (ours && !spec.network.value_or("").starts_with("container:"))
          network = found.joined;
        go_on_from(ours ? container_state_of(found.state) : container_state::foreign, found);
      },
      inspect_atom_v, name_or_id);
}

/// There is no container of the attempt's name: somebody may have given it another. The store knows its id, or else its labels tell.
void executor_state::find_renamed() {
  auto none = [this] { go_on_from(container_state::none, {}); };
  if (const auto& known = work.task.attempts.back().container; !known.empty()) {
    inspect_own(known, none);
    return;
  }
  std::vector<std::string> labels{"davit.fleet=" + context->settings.fleet, "davit.task=" + to_string(key().task), "davit.attempt=" + std::to_string(key().number)};
  ask([this] { adopt(); }, [none](const caf::error&) { none(); },
      [this, none](const std::vector<container_summary>& found) {
        if (found.empty())
          none();
        else
          inspect_own(found.front().id, none);
      },
      list_atom_v, labels);
}

void executor_state::go_on_from(container_state there, const container_status& found) {
  recovery_facts facts;
  auto announced = may_have_started || !work.task.attempts.back().container.empty() || work.task.state == task_state::running;
  facts.row = announced ? row_state::announced : row_state::claimed;
  facts.container = there;
  facts.cancel_requested = wanted != ending::none;
  facts.same_engine = same_engine();
  if (there != container_state::none && there != container_state::foreign) {
    container = found.id;
    image_id = found.image_id;
  }
  may_have_started = announced;
  if (work.adopted && there == container_state::none && !announced) {
    // Whoever had it may have made a container, started it, and removed it when its lease ran out: no second one under the same number.
    evidence.note = "an agent that gave the attempt up may have made a container and removed it";
    fail(wanted == ending::none ? outcome::agent_lost : outcome::cancelled, "the agent that had the attempt gave it up before its container was known to run");
    return;
  }
  switch (decide_recovery(facts)) {
    case recovery_action::create:
      create();
      break;
    case recovery_action::start:
      // A start is asked for after it was announced, or (of tasks that may run twice) without: whoever comes later can't know.
      if (announced || (work.resumed && !spec.at_most_once))
        prove_unstarted();
      else
        announce();
      break;
    case recovery_action::attach:
      if (is_restarted(found)) {
        end_restarted(found);
        break;
      }
      if (warm && !begun_here) {
        look_into_sandbox(found, 60);
        break;
      }
      [[fallthrough]];
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
        fail(outcome::engine_lost, "the engine has a container of the name " + container_name(key()) + " that is not davit's");
      } else if (work.adopted) {
        evidence.note = "the container was started by an agent that is gone, and is gone too";
        fail(outcome::agent_lost, "the agent that ran it is gone, and so is the container; how it ended is not known");
      } else {
        evidence.note = "the container was started and is gone";
        fail(outcome::engine_lost, "the container is gone from the engine, and with it how it ended");
      }
  }
}

/// An engine that dies while it starts a container says `created` afterwards, although the process may have run. One that
/// remembers having created the container has not died since.
void executor_state::prove_unstarted() {
  auto since = work.task.attempts.back().created_at.value_or(std::chrono::system_clock::now() - 1h) - 5s;
  ask([this] { adopt(); }, [this](const caf::error& e) { fail(outcome::engine_lost, "the engine does not tell what it did with the container: " + text_of(e)); },
      [this](const std::vector<engine_event>& events) {
        auto remembers = std::any_of(events.begin(), events.end(), [](const engine_event& event) { return event.action == "create"; });
        if (remembers) {
          announce();
          return;
        }
        may_have_started = true;
        evidence.note = "the engine says that the container was never started, but does not remember having created it";
        fail(outcome::engine_lost, "the engine was restarted while it may have been starting the container");
      },
      history_atom_v, container, since);
}

/// Goes on with a container that was started before; waiting for one that has ended returns at once.
void executor_state::attach(const container_status& found) {
  may_have_started = true;
  // What ended as of a stop after a cancel, or after its timeout, was stopped by davit: by an agent that has ended since.
  if (found.ended() && of_a_stop(found.exit_code)) {
    auto begun_at = warm ? work.task.attempts.back().started_at : found.started_at;
    if (wanted == ending::none && spec.timeout && begun_at && found.finished_at && *found.finished_at - *begun_at >= *spec.timeout)
      wanted = ending::timed_out;
    stopped_by_davit = wanted == ending::cancelled || wanted == ending::timed_out;
  }
  if (!epoch_at_start && engine.same_since)
    epoch_at_attach = engine.epoch;
  context->metrics->attempt_resumed();
  auto at = found.started_at;
  if (warm) { // it was up long before its task came
    evidence.start = "warm";
    at = work.task.attempts.back().started_at;
  }
  started(at.value_or(std::chrono::system_clock::now()), !found.ended());
}

void executor_state::pull() {
  enter(step::pull);
  auto whole = spec.pull_timeout.value_or(context->settings.pull_timeout);
  // Counted from the attempt's beginning, so that an agent that starts again does not begin anew.
  auto begun_at = work.task.attempts.back().created_at.value_or(std::chrono::system_clock::now());
  auto limit = std::max(std::chrono::duration_cast<duration>(begun_at + whole - std::chrono::system_clock::now()), duration{1});
  progress.layers = progress.layers_done = 0;
  progress.bytes = progress.bytes_total = 0;
  pulled = true;
  auto address = engine_address();
  auto refused = [this](const caf::error& e) {
    context->metrics->image_pulled(false);
    fail(outcome::image_unavailable, "the image " + spec.image + " could not be pulled: " + text_of(e));
  };
  auto begun = steady::now();
  ask([this, begun, limit, whole, refused] {
        // The pull's own deadline and the engine's silence look the same from here; the clock tells them apart.
        if (steady::now() - begun >= limit)
          refused(make_failure(engine_errc::refused, "the pull took longer than " + format_duration(whole)));
        else
          pull();
      },
      refused,
      [this] {
        context->metrics->image_pulled(true);
        image.reset(); // it is another one now
        nonce.clear();
        // Known to be davit's from now on, so that it may be removed some day: nothing waits for this.
        self->request(addresses.store, caf::infinite, pull_atom_v, engine.info.id, spec.image).then([] {}, [](const caf::error&) {});
        create();
      },
      pull_atom_v, key(), spec.image, limit, secrets.contains(registry_secret) ? secrets[registry_secret] : secret{});
}

void executor_state::create() {
  if (wanted != ending::none && !create_sent) {
    fail_unstarted("before a container was made");
    return;
  }
  enter(step::create);
  if (wanted != ending::none) { // an answer was lost: a container may be there, and must not stay
    adopt();
    return;
  }
  if (!create_sent && may_be_warm()) {
    take();
    return;
  }
  if (!create_sent && may_join()) {
    take_network();
    return;
  }
  if (!image && owes_init()) {
    look_up_image();
    return;
  }
  make_container();
}

/// A container with an init is told its command, which may be the image's.
void executor_state::look_up_image() {
  ask([this] { create(); }, [this](const caf::error& e) { create_refused(e); },
      [this](const image_info& found) {
        if (arguments_of(plan_container(context->settings, key(), spec, {}), found).empty()) {
          make_container(); // the engine says so
          return;
        }
        image = found;
        have_init();
      },
      find_atom_v, spec.image);
}

void executor_state::have_init() {
  self->request(addresses.sandboxes[engine.name], caf::infinite, init_atom_v, spec.image)
    .then(
      [this] {
        if (now != step::create)
          return;
        nonce = to_string(uuid::make_v4());
        says_begun = !spec.tty;
        program = arguments_of(plan_container(context->settings, key(), spec, {}), *image).front();
        make_container();
      },
      [this](const caf::error& e) {
        if (now != step::create)
          return;
        if (is_connection_trouble(engine_code(e)))
          hold([this] { create(); }, e);
        else {
          init_trouble = "it can't be put on the engine: " + text_of(e);
          create();
        }
      });
}

void executor_state::make_container() {
  create_sent = true;
  ask([this] { create(); }, [this](const caf::error& e) { create_refused(e); },
      [this](const std::string& id) {
        crash_point("container created");
        container = id;
        if (nonce.empty())
          announce();
        else
          check_image();
      },
      create_atom_v, plan());
  crash_point("container asked");
}

/// The image's name may have been given to another, with another command, between two questions.
void executor_state::check_image() {
  ask([this] { adopt(); }, [this](const caf::error&) { adopt(); },
      [this](const container_status& status) {
        if (image && status.image_id == image->id)
          announce();
        else
          forget_sandbox(container);
      },
      inspect_atom_v, container);
}

void executor_state::create_refused(const caf::error& why) {
  auto code = engine_code(why);
  if (is_of_network(why)) {
    forget_network();
  } else if (code == engine_errc::conflict) {
    adopt(); // an answer was lost: the container is there already
  } else if (code == engine_errc::not_found && !pulled && spec.pull != pull_policy::never) {
    pull();
  } else if (code == engine_errc::not_found) {
    fail(outcome::image_unavailable, text_of(why) + (spec.pull == pull_policy::never ? " (pull: never)" : ""));
  } else if (code == engine_errc::failed && !is_engines_own(text_of(why))) {
    look_twice(why);
  } else if (code == engine_errc::failed) {
    hold([this] { create(); }, why);
  } else {
    fail(code == engine_errc::refused ? outcome::failed : outcome::engine_lost, "the engine did not make the container: " + text_of(why));
  }
}

/// The engine answered `create` with a 5xx. If it is well otherwise and does so again, it can't make this container.
void executor_state::look_twice(caf::error why) {
  ask([this] { create(); },
      [this, why](const caf::error& e) {
        auto well = engine_code(e) == engine_errc::not_found;
        auto twice = !refused_before.empty(); // the words differ: they name folders that are made anew each time
        refused_before = text_of(why);
        if (well && twice)
          fail(outcome::failed, "the engine can't make the container: " + text_of(why));
        else
          hold([this] { create(); }, why);
      },
      [this](const container_status&) { adopt(); }, inspect_atom_v, container_name(key()));
}

/// Of a task that runs at most once, the start is written down before it is asked for: a container that is gone afterwards
/// may have run.
void executor_state::announce() {
  if (!spec.at_most_once) {
    start();
    return;
  }
  self->request(addresses.store, caf::infinite, record_atom_v, attempt_progress{work.token, task_state::starting, container, image_id, {}})
    .then(
      [this, at = now] {
        if (now != at)
          return;
        crash_point("start announced");
        start();
      },
      [this, at = now](const caf::error& e) {
        if (now != at)
          return;
        if (e == store_errc::fenced) {
          leave();
          return;
        }
        progress.waiting = text_of(e);
        after(500ms, [this, at] {
          if (now == at)
            announce();
        });
      });
}

void executor_state::start() {
  enter(step::start);
  if (wanted != ending::none) {
    fail_unstarted("before the container was started");
    return;
  }
  begun_here = true;
  if (warm) {
    hand_over();
    return;
  }
  epoch_at_start = engine.same_since ? std::optional{engine.epoch} : std::nullopt;
  may_have_started = true;
  // If the answer was lost, the container may have run and ended by now; starting it again would run it twice.
  ask([this] { adopt(); }, [this](const caf::error& e) { start_refused(e); },
      [this](bool) {
        crash_point("container started");
        started(std::chrono::system_clock::now());
      },
      start_atom_v, container, network_files(plan_container(context->settings, key(), spec, {})));
  crash_point("start asked");
}

void executor_state::start_refused(caf::error why) {
  if (is_of_network(why)) { // it was not started, then
    forget_network();
    return;
  }
  auto text = text_of(why);
  if (!nonce.empty() && text.find(init::program) != std::string::npos) { // its volume was pruned, or can't be executed from
    forget_dead("its init could not be started: " + text);
    return;
  }
  auto code = engine_code(why);
  // A mistake in the task is a 4xx. A 5xx, or a task that "already exists" in containerd, is of the engine's own making.
  auto engine_trouble = code == engine_errc::conflict || (code == engine_errc::failed && !is_tasks_own(text));
  ask([this, why] { start_refused(why); },
      [this, text](const caf::error&) { fail(outcome::engine_lost, "the engine could not start the container: " + text); },
      [this, text, engine_trouble](const container_status& status) {
        evidence.inspect = status.raw_state;
        image_id = status.image_id;
        end_log_and_report(judge_start_failure(status, text, engine_trouble));
      },
      inspect_atom_v, container);
}

namespace {

executor_actor::behavior_type executor(executor_state::self_pointer self, context_ptr context, claimed_attempt work, engine_status engine, wiring addresses) {
  auto& state = self->state;
  state.context = std::move(context);
  state.work = std::move(work);
  state.engine = std::move(engine);
  state.addresses = std::move(addresses);
  state.progress.key = state.key();
  state.progress.engine = state.engine.name;
  // A scheduler that starts anew takes its attempts up again, with executors of its own.
  self->set_down_handler([self](const caf::down_msg&) { self->quit(caf::exit_reason::user_shutdown); });
  if (state.addresses.scheduler)
    self->monitor(state.addresses.scheduler);
  state.judge();
  return {
    [self](cancel_atom) { self->state.end_it(ending::cancelled); },
    [self](stop_atom) { self->state.end_it(ending::drained); },
    [self](fence_atom, bool clear) { self->state.fence(clear); },
    [self](const engine_status& status) {
      auto& state = self->state;
      state.engine = status;
      if (!state.same_engine() && state.now < step::report) {
        state.lose_engine();
      } else if (status.state == engine_state::ready) {
        state.engine_back();
      }
    },
    [self](const pull_progress& pulled) {
      auto& progress = self->state.progress;
      progress.layers = pulled.layers;
      progress.layers_done = pulled.layers_done;
      progress.bytes = pulled.bytes;
      progress.bytes_total = pulled.bytes_total;
    },
    [self](progress_atom) { return self->state.progress; },
    [self](wire_atom, const wiring& addresses) {
      auto& state = self->state;
      state.addresses = addresses;
      if (state.engine.state == engine_state::ready)
        state.engine_back();
    },
  };
}

} // namespace

executor_actor spawn_executor(caf::scheduled_actor* parent, context_ptr context, claimed_attempt work, engine_status engine, wiring addresses) {
  return parent->spawn(executor, std::move(context), std::move(work), std::move(engine), std::move(addresses));
}

} // namespace davit
