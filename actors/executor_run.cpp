#include "actors/executor_state.hpp"

#include "actors/sandbox_plan.hpp"
#include "policy/placement.hpp"
#include "secrets/secret_masker.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <csignal>
#include <random>

namespace davit {

namespace {

/// How long an engine that ends its containers may take to end itself: Docker's own shutdown timeout is 15 s.
constexpr duration shutdown_patience = 20s;

/// An engine that watches a container tells of its end within this time.
constexpr duration prompt_end = 100ms;

/// How long it may take to find out whether an engine was restarted, if its grace is not longer.
constexpr duration longest_doubt = 10s;

/// How much later than a container's end an engine may know that the kernel has killed a process for memory.
constexpr duration late_news = 250ms;

/// How often it is asked, if the container's init has told of the kill: for the evidence alone.
constexpr int looks_for_kill = 8;

/// How long a container whose task has ended may take to end too, before it is removed as it is.
constexpr duration removal_patience = 10s;

/// A sandbox that has said nothing for so long after it was given its task is looked at, again and again.
constexpr duration beginning_patience = 2s;

/// And if it is not paused, so often: a machine may be slow.
constexpr int looks_at_beginning = 15;

/// How long the rest of a cancelled task's log is read after its container's end. Whoever prints faster than can be read has more.
constexpr duration rest_of_cancelled = 600ms;

/// What ends sooner has its log read once, at its end, and not followed.
constexpr duration first_look = 100ms;

} // namespace

log_request executor_state::request_log(bool follow, bool tail, const log_lease& lease) const {
  log_request what{key(), container, spec.tty, follow, tail, lease, masked_values(), {}, false};
  what.nonce = nonce;
  what.says_begun = says_begun;
  return what;
}

void executor_state::follow_log() {
  self->request(addresses.logs, caf::infinite, open_atom_v, key())
    .then(
      [this](const log_lease& lease) {
        if (now != step::run)
          return;
        auto address = engine_address();
        if (!address)
          return;
        crash_point("log followed");
        following = true;
        self->request(address, caf::infinite, log_atom_v, request_log(true, false, lease))
          .then([this](const log_end& end) { // the container has ended, or is about to
                  following = false;
                  followed_to_end = end.complete;
                  if (end.report) {
                    told = end.report;
                    rest = log_rest::read;
                  }
                  if (now == step::run && end.report && heed(*end.report))
                    end_early(*end.report);
                  else
                    go_on_to_rest();
                },
                [this](const caf::error& e) {
                  following = false;
                  go_on_to_rest();
                  if (now != step::run || e == log_errc::stale)
                    return;
                  spdlog::debug("task {}: its log is read again: {}", to_string(key().task), text_of(e));
                  after(500ms, [this] {
                    if (now == step::run)
                      follow_log();
                  });
                });
      },
      [this](const caf::error& e) {
        spdlog::error("task {}: its log can't be written: {}", to_string(key().task), text_of(e));
        after(2000ms, [this] {
          if (now == step::run)
            follow_log();
        });
      });
}

void executor_state::feed_stdin() {
  if (!spec.stdin_text || !engine_address())
    return;
  // Not being able to is the command's affair: it may have ended, or closed its input.
  auto input = *spec.stdin_text;
  if (spec.tty) // a terminal has no end but what stands for it at the beginning of a line; elsewhere it only ends what is being written
    input += input.empty() || input.back() == '\n' ? "\x04" : "\x04\x04";
  self->request(engine_address(), caf::infinite, attach_atom_v, key(), container, std::move(input))
    .then([] {}, [this](const caf::error& e) { evidence.note = "standard input: " + text_of(e); });
}

void executor_state::started(timestamp at, bool running) {
  started_at = at;
  if (!work.resumed && key().number == 1)
    context->metrics->task_start(std::chrono::duration<double>(at - work.task.created_at).count());
  // The container is found by its name after a crash, so nothing waits for this to be written.
  self->request(addresses.store, caf::infinite, record_atom_v, attempt_progress{work.token, task_state::running, container, image_id, at})
    .then([] { crash_point("start recorded"); }, [this](const caf::error& e) { spdlog::warn("task {}: its start was not written down: {}", to_string(key().task), text_of(e)); });
  enter(step::run);
  if (begun_here)
    context->metrics->attempt_started(warm.has_value());
  if (warm) {
    follow_log(); // its init tells there how the task ends
    if (says_begun && running)
      watch_beginning();
  } else
    after(first_look, [this] {
      if (now == step::run)
        follow_log();
    });
  if (begun_here)
    feed_stdin();
  // What had ended already when it was found did so by itself: nothing that comes now stops it.
  if (spec.timeout && running) {
    auto left = std::chrono::duration_cast<duration>(at + *spec.timeout - std::chrono::system_clock::now());
    after(std::max(left, duration{0}), [this] { end_it(ending::timed_out); });
  }
  if (wanted != ending::none && running)
    stop_container();
  run();
}

/// A sandbox that somebody has paused or stopped (SIGSTOP), before its task reached it, would keep the task for ever. It is killed: then its log
/// tells for certain whether the task had begun, and if not, it is begun elsewhere (look_for_beginning).
void executor_state::watch_beginning(int looks) {
  after(beginning_patience, [this, looks] {
    auto address = engine_address();
    if (now != step::run || wanted != ending::none || !address)
      return;
    auto later = [this, looks](const caf::error&) { watch_beginning(looks + 1); };
    self->request(address, 10s, log_atom_v, start_atom_v, container)
      .then(
        [this, address, looks, later](const std::string& first) {
          if (!first.empty() || now != step::run)
            return;
          self->request(address, 10s, inspect_atom_v, container)
            .then(
              [this, address, looks](const container_status& status) {
                if (now != step::run || wanted != ending::none || status.ended())
                  return;
                if (status.state != "paused" && looks < looks_at_beginning) {
                  watch_beginning(looks + 1);
                  return;
                }
                spdlog::warn("task {}: its sandbox {} was {} before the task began, and is killed; the task begins elsewhere", to_string(key().task), container,
                             status.state == "paused" ? "paused" : "stopped");
                hung = true;
                self->request(address, 60s, stop_atom_v, container, duration{0})
                  .then([](bool) {}, [this, looks](const caf::error&) { watch_beginning(looks + 1); });
              },
              later);
        },
        later);
  });
}

void executor_state::run() {
  auto address = engine_address();
  if (!address) {
    hold([this] { look(); }, make_failure(engine_errc::lost, "the engine's connection is being restarted"));
    return;
  }
  // Whatever the wait says, the verdict comes from inspect.
  end_awaited = true;
  self->request(address, caf::infinite, wait_atom_v, key(), container)
    .then(
      [this, at = now](std::int64_t) {
        if (heard_of_end() || now != at)
          return;
        trouble_is_over();
        look();
      },
      [this, at = now](const caf::error& e) {
        if (!heard_of_end())
          refuse(at, e, [this] { look(); }, [this](const caf::error&) { look(); });
      });
}

/// True: the engine's answer was waited for to remove the container, and that goes on now.
bool executor_state::heard_of_end() {
  end_awaited = false;
  if (!std::exchange(removal_waits, false))
    return false;
  stop_timers(); // they would keep this actor
  remove_container();
  return true;
}

void executor_state::look() {
  ask([this] { look(); },
      [this](const caf::error& e) {
        evidence.note = "the container vanished while it ran: somebody else removed it, or the engine lost it";
        fail(outcome::engine_lost, "the container is gone from the engine, and with it how it ended: " + text_of(e));
      },
      [this](const container_status& status) {
        if (status.ended())
          collect(status);
        else if (is_restarted(status))
          end_restarted(status);
        else
          run();
      },
      inspect_atom_v, container);
}

/// davit starts a container once, and no engine by itself: one that runs although it has ended before was started again by somebody else.
bool executor_state::is_restarted(const container_status& status) const {
  return (status.state == "running" || status.state == "paused") && status.finished_at.has_value();
}

/// What it ran has ended, as by a `docker stop`; what runs now is not the attempt's, and is removed with the container. A sandbox may have been
/// restarted before its task reached it: its log tells.
void executor_state::end_restarted(container_status status) {
  if (!warm || !says_begun) {
    fail_restarted(status);
    return;
  }
  ask([this, status] { end_restarted(status); }, [this, status](const caf::error&) { fail_restarted(status); },
      [this, status](const std::string& first) {
        if (!first.empty())
          fail_restarted(status);
        else if (wanted != ending::none)
          fail_unstarted("while somebody restarted the container");
        else
          forget_dead("somebody restarted the sandbox before its task began");
      },
      log_atom_v, start_atom_v, container);
}

void executor_state::fail_restarted(const container_status& status) {
  evidence.inspect = status.raw_state;
  image_id = status.image_id;
  if (wanted == ending::none) {
    evidence.note = "somebody stopped the container through the engine, and started it again";
    fail(outcome::failed, "somebody restarted the container; how its command ended is not known");
  } else {
    fail_unstarted("while somebody restarted the container");
  }
}

void executor_state::collect(container_status ended) {
  enter(step::collect);
  crash_point("container ended");
  image_id = ended.image_id;
  evidence.inspect = ended.raw_state;
  auto address = engine_address();
  if (wanted == ending::cancelled)
    forgo_rest(rest_of_cancelled);
  if (!following || !address) {
    read_rest(std::move(ended));
    return;
  }
  rest_of = std::move(ended);
  self->send(address, log_atom_v, ended_atom_v, key());
}

/// Of a cancelled task the outcome does not wait for the log for long.
void executor_state::forgo_rest(duration after_that) {
  after(after_that, [this] {
    if (now != step::collect || rest == log_rest::read)
      return;
    rest = log_rest::forgone;
    if (auto reader = engine_address())
      self->send(reader, withdraw_atom_v, key());
    forgo_rest(100ms); // the reader may only be about to begin
  });
}

/// The live reader has ended. If it was waited for, it is the last one's turn.
void executor_state::go_on_to_rest() {
  if (auto ended = std::exchange(rest_of, std::nullopt); ended && now == step::collect)
    read_rest(std::move(*ended));
}

/// Whatever the live reader has seen: what lies behind its cursor is read once more, to the end, by a reader of its own.
void executor_state::read_rest(container_status ended) {
  if (rest == log_rest::read) {
    heed_rest(std::move(ended));
    return;
  }
  if (rest == log_rest::forgone) {
    rest = log_rest::read;
    self->request(addresses.logs, caf::infinite, note_atom_v, key(), "the task was cancelled: what it had printed and was not read yet when its container had ended is not kept")
      .then([this, ended] { look_for_beginning(ended); }, [this, ended](const caf::error&) { look_for_beginning(ended); });
    return;
  }
  self->request(addresses.logs, caf::infinite, open_atom_v, key())
    .then(
      [this, ended](const log_lease& lease) {
        if (now != step::collect)
          return;
        ask([this, ended] { read_rest(ended); },
            [this, ended](const caf::error& e) {
              if (e == log_errc::stale || (e.category() == caf::type_id_v<log_errc>)) {
                after(500ms, [this, ended] { read_rest(ended); });
                return;
              }
              self->request(addresses.logs, caf::infinite, note_atom_v, key(), "some bytes are missing here: the engine did not give the rest of the log (" + text_of(e) + ")")
                .then([this, ended] { look_for_beginning(ended); }, [this, ended](const caf::error&) { look_for_beginning(ended); });
            },
            [this, ended](const log_end& end) {
              rest = log_rest::read;
              if (end.report)
                told = end.report;
              heed_rest(ended);
            },
            log_atom_v, request_log(false, std::exchange(followed_to_end, false), lease));
      },
      [this, ended](const caf::error& e) {
        spdlog::error("task {}: its log can't be written: {}", to_string(key().task), text_of(e));
        progress.waiting = text_of(e);
        after(1000ms, [this, ended] { read_rest(ended); });
      });
}

/// All of the log has been read.
void executor_state::heed_rest(container_status ended) {
  if (told && (told->word == sandbox_word::unused || told->word == sandbox_word::exec))
    heed(*told);
  else
    look_for_beginning(std::move(ended));
}

/// A container that ended without its init's last word may have ended before the task began; then the task is still to be run. (What an engine that was
/// killed had not written yet proves nothing: a task that may run once alone is not run again for it.)
void executor_state::look_for_beginning(container_status ended) {
  if (told || !says_begun || wanted != ending::none || spec.at_most_once) {
    corroborate(std::move(ended));
    return;
  }
  ask([this, ended] { look_for_beginning(ended); }, [this, ended](const caf::error&) { corroborate(ended); },
      [this, ended](const std::string& first) {
        if (!first.empty()) { // it says so before all else
          if (hung)
            fail(outcome::engine_lost, "its sandbox had hung, and was killed just as the task began");
          else
            corroborate(ended);
          return;
        }
        forget_dead("its init had ended before the task began, with exit code " + std::to_string(ended.exit_code));
      },
      log_atom_v, start_atom_v, container);
}

/// Whether the engine that answers is the process that started the container. Both times are the engine's own.
bool executor_state::same_process(const container_status& of) const {
  return engine.epoch == epoch_at_start || (engine.same_since && of.started_at && *engine.same_since <= *of.started_at);
}

/// If the engine may have been restarted: asks it what it remembers of the container.
void executor_state::corroborate(container_status ended) {
  if (engine.state == engine_state::connecting) { // whether it is the same process is being found out
    auto instant = steady::now();
    if (!doubted_since)
      doubted_since = instant;
    if (instant - *doubted_since < std::max(engine.grace, longest_doubt)) {
      after(50ms, [this, ended] {
        if (now == step::collect)
          corroborate(ended);
      });
      return;
    }
    weigh({}, ended); // it does not come to itself: nothing proves that it is the same
    return;
  }
  if (same_process(ended)) {
    if (wanted == ending::none && !ended.oom_killed && of_a_stop(ended.exit_code))
      suspect(std::move(ended));
    else
      settle(std::move(ended));
    return;
  }
  ask([this, ended] { corroborate(ended); }, [this, ended](const caf::error&) { weigh({}, ended); },
      [this, ended](const std::vector<engine_event>& events) { weigh(events, ended); }, history_atom_v, container, started_at - 5s);
}

/// A signal that davit did not send. If it came through the engine, the engine may be shutting down: it ends its containers
/// first, and goes when the last one has ended.
void executor_state::suspect(container_status ended) {
  ask([this, ended] { corroborate(ended); }, [this, ended](const caf::error&) { settle(ended); },
      [this, ended](const std::vector<engine_event>& events) {
        auto told_of = [&](const char* action) { return std::any_of(events.begin(), events.end(), [=](const engine_event& event) { return event.action == action; }); };
        if (told_of("oom")) {
          auto killed = ended;
          killed.oom_killed = true;
          inspect_again(killed, 1);
        } else if (told_of("kill")) {
          watch_engine(ended, steady::now() + shutdown_patience);
        } else if (ended.exit_code == 128 + SIGKILL) {
          after(late_news, [this, ended] { inspect_again(ended, told && told->oom_kills > 0 ? looks_for_kill : 1); });
        } else {
          settle(ended);
        }
      },
      history_atom_v, container, started_at - 5s);
}

/// Nobody known has killed it. The engine hears from the kernel of a kill for memory by another way than of the end, and on a busy machine later.
void executor_state::inspect_again(container_status ended, int looks) {
  ask([this, ended, looks] { inspect_again(ended, looks); }, [this, ended](const caf::error&) { settle(ended); },
      [this, ended, looks](const container_status& status) {
        if (!status.oom_killed && looks > 1) {
          after(late_news, [this, ended, looks] {
            if (now == step::collect)
              inspect_again(ended, looks - 1);
          });
          return;
        }
        auto judged = ended;
        judged.oom_killed |= status.oom_killed;
        if (!status.raw_state.empty())
          evidence.inspect = status.raw_state;
        settle(judged);
      },
      inspect_atom_v, container);
}

void executor_state::watch_engine(container_status ended, steady::time_point until) {
  if (now != step::collect)
    return;
  if (!same_process(ended) || engine.state != engine_state::ready) {
    // Whatever it says from now on is said by another process, or not at all.
    epoch_at_start.reset();
    corroborate(std::move(ended));
  } else if (steady::now() >= until) {
    evidence.note = "somebody stopped the container through the engine: not davit, and not a shutdown of the engine";
    settle(std::move(ended));
  } else {
    after(250ms, [this, ended, until] { watch_engine(ended, until); });
  }
}

void executor_state::weigh(const std::vector<engine_event>& events, container_status ended) {
  bool watched_end = false;
  for (const auto& event : events) {
    if (evidence.events.size() < 16)
      evidence.events.push_back(event.raw);
    start_remembered |= event.action == (warm ? "rename" : "start"); // a sandbox was started long before
    // An engine that starts again tells of what ended meanwhile too, but late.
    watched_end |= event.action == "die" && ended.finished_at && event.at - *ended.finished_at < prompt_end;
  }
  // An engine that remembers the start has read all. So has one that was there at the end, if it was not restarted since this
  // executor found the container.
  if (start_remembered || (watched_end && engine.epoch == epoch_at_attach)) {
    settle(std::move(ended));
    return;
  }
  // What was in the engine's buffers and in the container's pipes while no engine listened may be gone.
  self->request(addresses.logs, caf::infinite, note_atom_v, key(), "some bytes may be missing: the engine seems to have been restarted while the container ran")
    .then([this, ended] { settle(ended); }, [this, ended](const caf::error&) { after(1000ms, [this, ended] { weigh({}, ended); }); });
}

void executor_state::settle(container_status ended) {
  if (now != step::collect)
    return;
  self->request(addresses.logs, caf::infinite, close_atom_v, key(), spec.validator.has_value() && ended.exit_code == 0)
    .then(
      [this, ended](const log_summary& totals) {
        crash_point("log closed");
        small_log = totals.packed;
        decide(ended, totals);
      },
      [this, ended](const caf::error& e) {
        spdlog::error("task {}: its log can't be closed: {}", to_string(key().task), text_of(e));
        progress.waiting = text_of(e);
        after(1000ms, [this, ended] { settle(ended); });
      });
}

void executor_state::decide(container_status ended, log_summary totals) {
  container_facts facts;
  facts.wanted = wanted;
  // The engine's word on the stop may still be under way; the container's end came through it all the same.
  facts.stopped_by_davit = stopped_by_davit || stop_under_way;
  auto early = told && ended.raw_state.empty(); // the init's own word: no restart of the engine's can have changed it
  facts.engine_restarted = !early && !same_process(ended);
  facts.live_restore = engine.info.live_restore;
  facts.start_remembered = start_remembered;
  facts.timeout = spec.timeout;
  if (told && told->oom_kills > 0)
    ended.oom_killed = true; // the engine hears of it by an event that may come behind the end
  auto killed_for_memory = ended.oom_killed;
  facts.status = std::move(ended);
  auto result = judge_container(facts);
  if (result.outcome == outcome::succeeded && spec.validator && !validate_output(*spec.validator, totals.tail)) {
    result.outcome = outcome::failed;
    result.message = "exit code 0, but the output does not match the validator's regex " + spec.validator->regex;
  }
  if (!result.note.empty())
    evidence.note = result.note;
  if (killed_for_memory) {
    context->metrics->memory_kill();
    evidence.note += std::string{evidence.note.empty() ? "" : "; "} + "the kernel killed a process of the container for its memory limit";
  }
  report(std::move(result));
}

/// The engine's words may repeat what it was given.
std::string executor_state::masked(std::string text) const {
  if (secrets.empty() || text.empty())
    return text;
  std::vector<std::string> values;
  for (const auto& [name, hidden] : secrets)
    values.push_back(hidden.value);
  secrets::secret_masker masker{values};
  std::vector<log_record> pieces;
  masker.add({log_stream::out, {}, std::move(text)}, pieces);
  masker.finish(pieces);
  return std::move(pieces.front().bytes);
}

/// Ends a log that nothing more is read into, and reports.
void executor_state::end_log_and_report(verdict how) {
  come_to_report();
  self->request(addresses.logs, caf::infinite, close_atom_v, key(), false)
    .then(
      [this, how](const log_summary& totals) {
        crash_point("log closed");
        small_log = totals.packed;
        report(how);
      },
      [this, how](const caf::error&) { report(how); });
}

/// Whatever was to come is not waited for any more.
void executor_state::come_to_report() {
  enter(step::report);
  stop_timers();
  again.clear();
}

void executor_state::report(verdict how) {
  come_to_report();
  how.message = masked(std::move(how.message));
  evidence.note = masked(std::move(evidence.note));
  for (auto* list : {&evidence.events, &evidence.kills})
    for (auto& one : *list)
      one = masked(std::move(one));
  attempt_result result;
  result.token = work.token;
  result.outcome = how.outcome;
  result.exit_code = how.exit_code;
  result.message = std::move(how.message);
  result.finished_at = std::chrono::system_clock::now();
  result.phases = phases;
  result.evidence = evidence;
  result.log = std::move(small_log);
  if (!image_id.empty()) {
    result.engine_id = work.task.attempts.back().engine_id;
    result.image = work.task.spec.image;
  }
  static thread_local std::minstd_rand random{std::random_device{}()};
  auto draw = std::uniform_real_distribution<double>{0, 1}(random);
  if (wanted != ending::cancelled && !(spec.at_most_once && may_have_started))
    if (auto wait = retry_delay(spec.retry, key().number, how.outcome, draw))
      result.retry_at = result.finished_at + *wait;
  store_result(std::move(result), 100ms);
}

/// An outcome is kept until it is stored: the store may be away for a while.
void executor_state::store_result(attempt_result result, duration wait) {
  self->request(addresses.store, caf::infinite, finish_atom_v, result)
    .then(
      [this, result] {
        context->metrics->task_finished(to_string(result.outcome));
        if (!result.log.empty())
          self->send(addresses.logs, finish_atom_v, key());
        spdlog::info("task {} attempt {} ended: {}{}{}", to_string(key().task), key().number, to_string(result.outcome), result.message.empty() ? "" : ": ",
                     result.message);
        remove();
      },
      [this, result, wait](const caf::error& e) {
        if (e == store_errc::fenced) {
          spdlog::warn("task {}: {}", to_string(key().task), text_of(e));
          leave();
          return;
        }
        progress.waiting = text_of(e);
        after(wait, [this, result, wait] { store_result(result, std::min<duration>(wait * 2, 5000ms)); });
      });
  crash_point("outcome asked");
}

void executor_state::remove() {
  enter(step::remove);
  if (addresses.scheduler)
    self->send(addresses.scheduler, ended_atom_v, key()); // the slot is free: what ran has ended
  trouble_since.reset();
  if (container.empty()) {
    remove_network();
  } else if (std::exchange(ended_early, false) && end_awaited) {
    // The engine takes it down by itself, if it is let: it would have to kill what it removes now.
    removal_waits = true;
    after(removal_patience, [this] {
      if (removal_waits)
        heard_of_end();
    });
  } else {
    remove_container();
  }
}

void executor_state::remove_container() {
  ask([this] { remove_container(); },
      [this](const caf::error& e) {
        spdlog::warn("the container {} of task {} could not be removed: {}", container, to_string(key().task), text_of(e));
        leave();
      },
      [this] {
        crash_point("container removed");
        remove_network();
      },
      remove_atom_v, container);
  crash_point("removal asked");
}

/// If it is not to be had now, the reaper will see to it.
void executor_state::remove_network() {
  auto address = engine_address();
  if (network.empty() || !address) {
    leave();
    return;
  }
  self->request(address, 60s, remove_atom_v, network).then([this] { leave(); }, [this](const caf::error&) { leave(); });
}

void executor_state::leave() {
  enter(step::done);
  if (addresses.scheduler) {
    self->demonitor(addresses.scheduler); // it lives on, and would keep the note of us
    self->send(addresses.scheduler, ended_atom_v, key());
  }
  self->quit();
}

} // namespace davit
