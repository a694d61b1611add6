#include "actors/executor_state.hpp"

#include "actors/container_plan.hpp"

#include <spdlog/spdlog.h>

namespace davit {

engine_actor executor_state::engine_address() const {
  auto found = addresses.engines.find(engine.name);
  return found == addresses.engines.end() ? engine_actor{} : found->second;
}

void executor_state::after(duration wait, std::function<void()> what) {
  std::erase_if(timers, [](const caf::disposable& timer) { return timer.disposed(); });
  timers.push_back(self->run_delayed(wait, std::move(what)));
}

void executor_state::stop_timers() {
  for (auto& timer : timers)
    timer.dispose();
  timers.clear();
}

void executor_state::trouble_is_over() {
  trouble_since.reset();
  retry_wait = duration{0};
  progress.waiting.clear();
}

void executor_state::enter(step next) {
  auto instant = steady::now();
  auto name = std::string{step_names[static_cast<std::size_t>(now)]};
  if (now == step::pull || now == step::create || now == step::start || now == step::run || now == step::collect) {
    auto seconds = std::chrono::duration<double>(instant - step_begun).count();
    phases[name] += seconds;
    context->metrics->attempt_phase(name, seconds);
  }
  now = next;
  step_begun = instant;
  progress.phase = step_names[static_cast<std::size_t>(next)];
}

/// Trouble with the connection is waited out; any other refusal is heard.
void executor_state::refuse(step at, const caf::error& why, const std::function<void()>& retry, const std::function<void(const caf::error&)>& refused) {
  if (now != at)
    return;
  auto code = engine_code(why);
  // A 5xx says nothing of what was asked about: a container is not gone because its engine has lost its head. (That it can't
  // start one, or that a registry fails it, is said so too.)
  auto lost_its_head = code == engine_errc::failed && now != step::start && now != step::pull && now != step::remove
                       && !(now == step::create && create_sent); // create() tells them apart
  if (is_connection_trouble(code) || code == engine_errc::cancelled || lost_its_head)
    hold(retry, why);
  else
    refused(why);
}

void executor_state::hold(std::function<void()> retry, const caf::error& why) {
  if (wanted != ending::none && !reaches_container(now) && container.empty() && now != step::create && now != step::recover) {
    fail_unstarted("before a container was made");
    return;
  }
  auto instant = steady::now();
  if (!trouble_since)
    trouble_since = instant;
  auto left = std::chrono::duration_cast<duration>(*trouble_since + engine.grace - instant);
  progress.waiting = text_of(why);
  if (left.count() <= 0) {
    give_up();
    return;
  }
  again.push_back(std::move(retry));
  if (engine.state == engine_state::ready) {
    // The engine answers others: a passing fault, or the news of its fall is still on its way.
    retry_wait = std::clamp<duration>(retry_wait * 2, 50ms, 2000ms);
    after(retry_wait, [this] { engine_back(); });
  }
  after(left + 1ms, [this, since = *trouble_since] {
    if (!again.empty() && trouble_since == since)
      give_up();
  });
}

void executor_state::engine_back() {
  for (auto& action : std::exchange(again, {}))
    action();
}

/// The engine was away for longer than its grace.
void executor_state::give_up() {
  again.clear();
  if (now == step::remove) { // the reaper will see to it
    spdlog::warn("the container {} of task {} was not removed: {}", container, to_string(key().task), progress.waiting);
    leave();
    return;
  }
  if (wanted == ending::drained && container.empty()) {
    fail(outcome::agent_lost, "the agent was shut down while it waited for the engine");
    return;
  }
  auto text = "the engine " + engine.name + " did not answer for " + format_duration(engine.grace) + " (" + progress.waiting + ")";
  evidence.note = "the engine could not be asked how the container ended; the container, if there is one, may still run";
  fail(outcome::engine_lost, text);
}

/// Whoever takes the attempt over must find nothing of it running here, or has it by now. There is no time to wait for an engine that is away.
void executor_state::fence(bool clear) {
  if (now >= step::remove)
    return;
  auto whole = container.empty() ? container_name(key()) : container;
  auto made = create_sent || !container.empty();
  enter(step::remove);
  stop_timers();
  again.clear();
  auto address = engine_address();
  if (address)
    self->send(address, withdraw_atom_v, key());
  if (address && clear && !network.empty())
    self->send(address, remove_atom_v, network);
  if (!made || !address || !clear) {
    leave();
    return;
  }
  self->request(address, context->settings.lease / 4, remove_atom_v, whole).then([this] { leave(); }, [this](const caf::error&) { leave(); });
}

/// Ends the attempt without a container's exit to tell of.
void executor_state::fail(outcome how, std::string message) {
  verdict result;
  result.outcome = how;
  result.message = std::move(message);
  if (now == step::run || now == step::collect)
    self->send(addresses.logs, note_atom_v, key(), "some bytes may be missing here: the log was not read to its end");
  end_log_and_report(std::move(result));
}

/// Ends an attempt that was withdrawn before its container ran.
void executor_state::fail_unstarted(const std::string& when) {
  if (wanted == ending::drained)
    fail(outcome::agent_lost, "the agent was shut down " + when);
  else if (wanted == ending::timed_out) // in a sandbox that never ran it
    fail(outcome::timed_out, "the timeout was over " + when);
  else
    fail(outcome::cancelled, "cancelled " + when);
}

void executor_state::end_it(ending why) {
  if (wanted != ending::none || now >= step::collect)
    return;
  wanted = why;
  switch (now) {
    case step::pull:
      if (auto address = engine_address())
        self->send(address, withdraw_atom_v, key());
      fail_unstarted("while the image was pulled");
      break;
    case step::run:
      stop_container();
      break;
    default:
      if (!again.empty() && container.empty() && now != step::create && now != step::recover)
        fail_unstarted("while waiting for the engine");
      // Otherwise the step that is under way sees it when it is done.
  }
}

void executor_state::stop_container() {
  if (stop_under_way || now != step::run)
    return;
  stop_under_way = true;
  auto grace = spec.stop_timeout.value_or(std::chrono::seconds{10});
  evidence.kills.push_back(format_timestamp(std::chrono::system_clock::now()) + " stop (" + to_string(wanted) + "): SIGTERM, SIGKILL after " + format_duration(grace));
  ask([this] { stop_under_way = false; stop_container(); },
      [this](const caf::error& e) { evidence.kills.push_back("the engine refused to stop it: " + text_of(e)); look(); },
      [this](bool was_running) {
        stopped_by_davit |= was_running;
        evidence.kills.push_back(was_running ? "the engine stopped it" : "it had ended by itself");
      },
      stop_atom_v, container, grace);
}

} // namespace davit
