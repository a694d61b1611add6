// The warm way: instead of create and start, a sandbox is taken that is up already, and given its task. All that follows is as with any
// other container, but that the sandbox's init tells how the task ended before the engine does.
#include "actors/container_plan.hpp"
#include "actors/executor_state.hpp"
#include "actors/sandbox_plan.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/message.hpp"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>

namespace davit {

bool executor_state::has_keeper() const {
  auto keeper = addresses.sandboxes.find(engine.name);
  return keeper != addresses.sandboxes.end() && keeper->second;
}

/// Whether to ask for a sandbox; if not, the evidence says why.
bool executor_state::may_be_warm() {
  const auto& all = context->settings.engines;
  auto settings = std::find_if(all.begin(), all.end(), [this](const auto& one) { return one.name == engine.name; });
  auto why = cold_reason;
  if (why.empty())
    why = settings == all.end() ? "the engine is not in the configuration" : why_cold(spec, *settings, engine.info);
  if (why.empty() && !has_keeper())
    why = "the engine keeps no sandboxes";
  if (!why.empty())
    evidence.start = "cold: " + why + (network.empty() ? "" : "; its network was made ahead");
  return why.empty();
}

void executor_state::be_cold(std::string why) {
  cold_reason = std::move(why);
  evidence.start = "cold: " + cold_reason;
}

/// Whether to ask for a network that the task's container can join. Where everything is to be made for the task, that is not done.
bool executor_state::may_join() {
  return !network_asked && spec.start != start_mode::cold && has_keeper() && can_join(plan_container(context->settings, key(), spec, {}));
}

void executor_state::take_network() {
  network_asked = true;
  self->request(addresses.sandboxes[engine.name], caf::infinite, take_atom_v, network_atom_v, plan_container(context->settings, key(), spec, {}))
    .then(
      [this](const sandbox& given) {
        if (now != step::create) // fenced: the reaper finds it
          return;
        network = given.network;
        create();
      },
      [this](const caf::error&) {
        if (now == step::create)
          create();
      });
}

/// The engine would not have the container in it: another gets made, with a network of its own.
void executor_state::forget_network() {
  if (auto address = engine_address())
    self->send(address, remove_atom_v, network);
  network.clear();
  forget_sandbox(container_name(key()));
}

/// The engine's words name the container that has the network: it has ended, or is gone.
bool executor_state::is_of_network(const caf::error& why) const {
  return !network.empty() && text_of(why).find(network.substr(0, 12)) != std::string::npos;
}

/// What the engine is asked to make.
container_plan executor_state::plan() const {
  auto wanted = plan_container(context->settings, key(), spec, secrets);
  if (!nonce.empty())
    wanted = with_init(std::move(wanted), *image, nonce);
  return network.empty() ? wanted : joined(std::move(wanted), network);
}

void executor_state::take() {
  create_sent = true; // it may be under the attempt's name from now on
  network_asked = true;
  self->request(addresses.sandboxes[engine.name], caf::infinite, take_atom_v, plan_container(context->settings, key(), spec, secrets), spec.start == start_mode::warm)
    .then(
      [this](const sandbox& given) {
        if (now != step::create)
          return; // fenced: it was removed by its name
        if (given.container.empty()) {
          be_cold(given.why);
          network = given.network;
          create_sent = false;
          create();
          return;
        }
        crash_point("sandbox taken");
        container = given.container;
        image_id = given.image_id;
        warm = given;
        nonce = given.nonce;
        says_begun = given.says_begun;
        program = given.arguments.empty() ? std::string{} : given.arguments.front();
        evidence.start = given.why.empty() ? "warm" : "warm: " + given.why;
        start();
      },
      [this](const caf::error& e) {
        if (now != step::create)
          return;
        be_cold("no sandbox could be had: " + text_of(e));
        if (engine_code(e) == engine_errc::conflict)
          create(); // there is a container of the attempt's name: it is found there
        else
          forget_sandbox(container_name(key()));
      });
}

/// Nothing was ever given to it: it goes, and a container is made for the task.
void executor_state::forget_sandbox(const std::string& which) {
  enter(step::create);
  stop_timers();
  again.clear();
  if (may_have_started) {
    // The store may call it running. An agent that comes next, and finds no container, must not think that the task is lost with it.
    self->request(addresses.store, caf::infinite, record_atom_v, attempt_progress{work.token, task_state::starting, {}, {}, {}})
      .then(
        [this, which] {
          if (now != step::create)
            return;
          may_have_started = false;
          work.task.state = task_state::starting;
          if (!work.task.attempts.empty())
            work.task.attempts.back().container.clear();
          forget_sandbox(which);
        },
        [this, which](const caf::error& e) {
          if (now != step::create)
            return;
          if (e == store_errc::fenced) {
            leave();
            return;
          }
          progress.waiting = text_of(e);
          after(500ms, [this, which] {
            if (now == step::create)
              forget_sandbox(which);
          });
        });
    return;
  }
  auto begin_anew = [this] {
    crash_point("sandbox given up");
    container.clear();
    warm.reset();
    nonce.clear();
    says_begun = false;
    program.clear();
    image.reset();
    told.reset();
    rest = log_rest::to_read;
    hung = false;
    followed_to_end = false;
    create_sent = false;
    epoch_at_attach.reset();
    create();
  };
  ask([this, which] { forget_sandbox(which); },
      [this](const caf::error& e) { fail(outcome::engine_lost, "the engine did not remove a sandbox that was not used: " + text_of(e)); },
      begin_anew, remove_atom_v, which);
}

/// It ended by itself before it had begun the task, as no init does whose agent lives.
void executor_state::forget_dead(std::string why) {
  if (has_keeper())
    self->send(addresses.sandboxes[engine.name], ended_atom_v);
  if (!warm && may_be_too_long(plan())) {
    verdict how;
    how.message = "the command could not be executed: " + program + ": " + std::strerror(E2BIG);
    how.exit_code = init::not_executable_code;
    end_log_and_report(std::move(how));
    return;
  }
  if (warm)
    be_cold(std::move(why));
  else if (++init_failures > 1)
    init_trouble = std::move(why);
  forget_sandbox(container);
}

/// Whether a container that is made for the task is to have an init; if not although it could, the evidence says why.
bool executor_state::owes_init() {
  if (!why_no_init(spec, engine.info).empty() || !has_keeper())
    return false;
  if (!init_trouble.empty() && evidence.start.find(init_trouble) == std::string::npos)
    evidence.start += "; without an init: " + init_trouble;
  return init_trouble.empty();
}

/// Gives the sandbox its task. From here on it may run.
void executor_state::hand_over() {
  auto plan = plan_container(context->settings, key(), spec, secrets);
  auto message = init::hand_over_message(warm->arguments, plan.env, plan.secrets, spec.stdin_text.has_value());
  if (!message) {
    be_cold("its command or its variables can't be told to a sandbox");
    forget_sandbox(container);
    return;
  }
  epoch_at_start = engine.same_since ? std::optional{engine.epoch} : std::nullopt;
  may_have_started = true;
  auto begun = [this] {
    crash_point("task handed over");
    started(std::chrono::system_clock::now());
  };
  auto refused = [this, begun](const caf::error& e) {
    if (engine_code(e) == engine_errc::not_found) { // nothing was written
      forget_dead("the sandbox had ended: " + text_of(e));
    } else {
      begun(); // the init has seen the end of the line: it says that it was not used, or runs what it got
    }
  };
  ask([this] { adopt(); }, refused, begun, init_atom_v, container, *message, spec.stdin_text.has_value());
  crash_point("hand-over asked");
}

/// A sandbox under the attempt's name that runs: whether its task has reached it, its processes tell. An init that is alone may be about to begin the
/// task, or to say how it ended; one that got nothing ends, as the line to it is closed. It is given `looks` to do so.
void executor_state::look_into_sandbox(container_status found, int looks) {
  ask([this] { adopt(); }, [this, found](const caf::error&) { attach(found); },
      [this, found, looks](std::uint32_t processes) {
        if (processes != 1)
          attach(found);
        else if (looks > 1)
          after(50ms, [this, found, looks, at = now] {
            if (now == at)
              look_into_sandbox(found, looks - 1);
          });
        else {
          be_cold("a sandbox was taken, but the task had not reached it");
          forget_sandbox(container);
        }
      },
      count_atom_v, container);
}

/// The init has told how the task ended, and the log is whole. True: its word alone decides. False: the engine's is waited for, or there was no
/// task that could end, which is seen to here.
bool executor_state::heed(const sandbox_report& report) {
  told = report;
  verdict how;
  switch (report.word) {
    case sandbox_word::unused:
      if (warm) {
        be_cold("the sandbox ended before the task had reached it");
        forget_sandbox(container);
      } else {
        forget_dead("its init could not begin the task");
      }
      return false;
    case sandbox_word::exec:
      how.message = "the command could not be executed: " + (program.empty() ? std::string{} : program + ": ") + std::strerror(report.number);
      how.exit_code = report.number == ENOENT || report.number == ENOTDIR ? init::not_found_code : init::not_executable_code;
      end_log_and_report(std::move(how));
      return false;
    case sandbox_word::exited:
      return wanted == ending::none && report.oom_kills == 0 && !of_a_stop(report.number);
    case sandbox_word::signaled:
      return false;
  }
  return false;
}

/// Ends the attempt on the init's word, while the engine still takes the container down.
void executor_state::end_early(const sandbox_report& report) {
  enter(step::collect);
  ended_early = true;
  crash_point("container ended");
  container_status ended;
  ended.id = container;
  ended.image_id = image_id;
  ended.state = "exited";
  ended.exit_code = report.number;
  evidence.note = "told by the container's init: exit code " + std::to_string(report.number) + ", no process killed for memory";
  settle(std::move(ended));
}

} // namespace davit
