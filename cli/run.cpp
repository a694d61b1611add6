#include "cli/run.hpp"

#include "cli/interrupts.hpp"
#include "cli/no_answer.hpp"
#include "cli/outputs.hpp"
#include "cli/print.hpp"
#include "cli/progress_line.hpp"
#include "cli/task_flags.hpp"

#include "json/write.hpp"
#include "transport/demultiplexer.hpp"
#include "transport/spawn.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <unistd.h>
#include <utility>
#include <vector>

namespace davit {

namespace asio = boost::asio;
using transport::awaitable;
using namespace std::chrono_literals;

namespace {

constexpr auto as_awaitable = asio::as_tuple(asio::use_awaitable);

constexpr int most_cancels = 20;
constexpr int most_failures = 60;
constexpr auto retry_pause = 500ms, cancel_limit = 5000ms, submission_limit = 3000ms;

/// What the API says of a task that is not finished, in a line.
std::string describe(json::element root) {
  std::string_view state, phase, waiting, reason, engine;
  if (root["state"].get(state) != simdjson::SUCCESS)
    return {};
  if (state == "queued") {
    std::string text = "queued";
    simdjson::dom::array reasons;
    if (root["waiting"].get(reasons) == simdjson::SUCCESS)
      for (auto one : reasons)
        if (one["reason"].get(reason) == simdjson::SUCCESS)
          text += (one["engine"].get(engine) == simdjson::SUCCESS ? "; engine " + std::string{engine} + " " : "; ")
                + std::string{reason};
    return text;
  }
  if (root["progress"]["phase"].get(phase) != simdjson::SUCCESS)
    return std::string{state};
  std::string text{phase};
  std::uint64_t layers = 0, done = 0, bytes = 0, total = 0;
  if (phase == "pull" && root["progress"]["layers"].get(layers) == simdjson::SUCCESS && layers != 0
      && root["progress"]["layers_done"].get(done) == simdjson::SUCCESS
      && root["progress"]["bytes"].get(bytes) == simdjson::SUCCESS
      && root["progress"]["bytes_total"].get(total) == simdjson::SUCCESS)
    text += ": " + std::to_string(done) + " of " + std::to_string(layers) + " layers, " + mebibytes(bytes) + " of "
          + mebibytes(total);
  if (root["progress"]["waiting"].get(waiting) == simdjson::SUCCESS && !waiting.empty())
    text += ": " + std::string{waiting};
  return text;
}

/// What is needed to follow a task, and to cancel it when `davit run` is interrupted.
struct follow_state {
  explicit follow_state(api_client& c) : client(c), signals(c.context()), timer(c.context()) {}
  api_client& client;
  std::string id; ///< Empty: the agent has not said yet that it has the task.
  progress_line progress{false};
  interrupts* interrupted = nullptr;      ///< Null: signals end the process.
  asio::posix::stream_descriptor signals; ///< Readable when it is interrupted.
  transport::control_ptr submission = std::make_shared<transport::call_control>();
  asio::steady_timer timer;
  bool cancelled = false; ///< Somebody has begun to cancel it.
  bool done = false;
  int unwritten = 0; ///< errno of the first write to stdout or stderr that failed; EPIPE: nobody reads it.
  std::optional<task> finished;
  std::string finished_json;
  std::string failure;
};

/// The agent has too much to do, or is being restarted: it is asked again.
bool is_passing(int status) {
  return status == 429 || status >= 500;
}

awaitable<void> pause(follow_state& state) {
  asio::steady_timer timer{state.client.context(), retry_pause};
  co_await timer.async_wait(as_awaitable);
}

/// Cancels the task, once. An agent that is being restarted is asked again.
awaitable<void> cancel_task(follow_state& state) {
  if (std::exchange(state.cancelled, true))
    co_return;
  state.progress.show("cancelling");
  std::string trouble;
  for (int tries = 0; tries < most_cancels && !state.done; ++tries) {
    transport::call_options options;
    options.until = transport::within(cancel_limit);
    auto answer = co_await state.client.http()->request(
      state.client.request("POST", "/v1/tasks/" + state.id + "/cancel"), std::move(options));
    state.interrupted->answered();
    if (answer && !is_passing(answer->status))
      co_return;
    trouble = answer ? failure_of(answer->status, answer->body).message : answer.error().message;
    co_await pause(state);
  }
  if (!state.done)
    state.failure = "the task can't be cancelled: " + trouble;
}

/// Writes to stdout or stderr. If it is interrupted while nobody reads, it cancels the task first.
awaitable<void> write_out(follow_state& state, int fd, std::string_view bytes) {
  if (state.unwritten != 0)
    co_return;
  if (!state.interrupted) {
    if (!write_to(fd, bytes))
      state.unwritten = errno;
    co_return;
  }
  while ((state.unwritten = state.interrupted->write(fd, bytes)) == EINTR)
    co_await cancel_task(state);
}

/// Writes when the task has ended: nothing is left to be cancelled.
int write_last(follow_state& state, int fd, std::string_view bytes) {
  int error = EINTR;
  while (error == EINTR)
    error = state.interrupted->write(fd, bytes);
  return error;
}

std::string why_unwritten(int error) {
  return error == ETIMEDOUT ? "nobody reads it" : std::strerror(error);
}

/// Copies the log to stdout and stderr.
awaitable<void> copy_log(follow_state& state, std::string query) {
  {
    auto request = state.client.request("GET", "/v1/tasks/" + state.id + "/logs?" + query);
    request.headers.emplace_back("Accept", "application/vnd.docker.multiplexed-stream");
    auto opened = co_await state.client.http()->open(request, {});
    for (int failures = 0; opened && is_passing((*opened)->status()) && failures < most_failures; ++failures) {
      co_await pause(state);
      opened = co_await state.client.http()->open(request, {});
    }
    if (!opened) {
      state.failure = opened.error().message;
      co_return;
    }
    auto stream = std::move(*opened);
    if (stream->status() != 200) {
      std::string body;
      while (true) {
        auto piece = co_await stream->read(transport::within(5s));
        if (!piece || piece->empty())
          break;
        body.append(*piece);
      }
      state.failure = failure_of(stream->status(), body).message;
      co_return;
    }
    transport::demultiplexer frames;
    while (true) {
      auto piece = co_await stream->read(transport::no_deadline);
      if (!piece) {
        state.failure = piece.error().message;
        co_return;
      }
      if (piece->empty())
        co_return;
      state.progress.finish();
      bool start_of_note = true;
      std::vector<std::pair<int, std::string>> pieces;
      auto fed = frames.feed(*piece, [&](transport::demultiplexer::piece one) {
        auto remark = one.stream == 3;
        pieces.emplace_back(remark || one.stream == 2 ? 2 : 1, remark && start_of_note ? "davit: " : "");
        pieces.back().second += one.bytes;
        if (remark)
          start_of_note = one.last;
      });
      for (const auto& one : pieces)
        co_await write_out(state, one.first, one.second);
      if (!fed)
        state.failure = fed.error().message;
      if (!fed || state.unwritten != 0)
        co_return;
    }
  }
}

/// Waits until the task is finished.
awaitable<void> wait_finished(follow_state& state) {
  int failures = 0;
  while (!state.finished) {
    auto answer = co_await state.client.http()->request(
      state.client.request("GET", "/v1/tasks/" + state.id + "/wait?timeout=1m"), {});
    if (!answer || is_passing(answer->status)) {
      // An agent that is restarted goes on with the task.
      if (++failures > most_failures) {
        state.failure = answer ? "the agent answers " + std::to_string(answer->status) : answer.error().message;
        co_return;
      }
      co_await pause(state);
      continue;
    }
    failures = 0;
    if (answer->status >= 300) {
      state.failure = failure_of(answer->status, answer->body).message;
      co_return;
    }
    if (answer->status == 200) {
      auto read = json::read<task>(std::string_view{answer->body}, json::unknown_fields::ignore);
      if (!read) {
        state.failure = "the agent's answer is malformed: " + read.error().text();
        co_return;
      }
      state.finished = std::move(*read);
      state.finished_json = answer->body;
    }
  }
}

awaitable<void> show_progress(follow_state& state) {
  while (!state.done && state.progress.on()) {
    auto answer = co_await state.client.http()->request(state.client.request("GET", "/v1/tasks/" + state.id), {});
    if (answer && answer->status == 200 && !state.done && state.progress.on()) {
      json::parser parser;
      if (auto root = parser.parse(answer->body))
        state.progress.show(describe(*root));
    }
    state.timer.expires_after(200ms);
    co_await state.timer.async_wait(as_awaitable);
  }
}

/// The first signal cancels the task. While the agent has not said yet that it has it, that is waited for a little.
awaitable<void> handle_signals(follow_state& state) {
  auto [ec] = co_await state.signals.async_wait(asio::posix::stream_descriptor::wait_read, as_awaitable);
  if (ec)
    co_return;
  for (auto until = transport::within(submission_limit); state.id.empty() && !state.done;) {
    if (std::chrono::steady_clock::now() >= until)
      co_return state.submission->cancel();
    state.timer.expires_after(20ms);
    co_await state.timer.async_wait(as_awaitable);
  }
  co_await cancel_task(state);
}

/// Throws a command_failure if the agent does not take the task.
awaitable<void> submit_task(follow_state& state, std::string body) {
  transport::call_options options;
  options.control = state.submission;
  auto request = state.client.request("POST", "/v1/tasks", std::move(body));
  auto answer = co_await state.client.http()->request(request, options);
  // Then nothing was accepted; of other failures that is not known.
  for (int failures = 0; answer && answer->status == 429 && failures < most_failures; ++failures) {
    co_await pause(state);
    answer = co_await state.client.http()->request(request, options);
  }
  if (!answer && state.submission->cancelled())
    throw command_failure{"interrupted before the agent has answered: it may have the task, see davit ps", 130};
  if (!answer)
    throw no_answer(answer.error());
  if (answer->status >= 300)
    throw failure_of(answer->status, answer->body);
  std::string_view id;
  json::parser parser;
  auto root = parser.parse(answer->body);
  if (!root || (*root)["id"].get(id) != simdjson::SUCCESS)
    throw command_failure{"the agent's answer is malformed"};
  state.id = id;
}

/// Submits the task and follows it to its end.
awaitable<void> submit_and_follow(follow_state& state, std::string body) {
  co_await submit_task(state, std::move(body));
  if (state.progress.on())
    asio::co_spawn(state.client.context(), show_progress(state), transport::rethrow_escaped);
  co_await copy_log(state, "follow=1&attempt=1");
  if (state.unwritten == EPIPE) // as a signal: whoever wanted the task's output does not any more
    co_await cancel_task(state);
  co_await wait_finished(state);
  // A retry's output comes behind, attempt by attempt.
  for (std::size_t n = 2; state.finished && state.unwritten == 0 && n <= state.finished->attempts.size(); ++n)
    co_await copy_log(state, "attempt=" + std::to_string(n));
  state.done = true;
  state.signals.cancel();
  state.timer.cancel();
}

/// What it has taken over from earlier tasks, and has kept for later ones; `all`: also outputs that were not.
void tell_files(follow_state& state, const task& ended, bool all) {
  const auto& last = ended.attempts.back();
  for (const auto& one : last.outputs)
    if (all && (one.state == output_state::missing || one.state == output_state::failed))
      write_last(state, 2,
                 "davit: output " + one.name + ": " + to_string(one.state) + ": " + printable(one.message) + '\n');
  if (!last.answer_of.empty())
    write_last(state, 2, "davit: " + printable(ended.message) + '\n');
  for (const auto& one : last.caches) {
    auto began = one.restored.empty() ? "began empty" : "began with " + printable(one.restored);
    auto ends = one.kept            ? "; " + size_text(one.bytes) + " kept"
              : one.message.empty() ? std::string{}
                                    : "; not kept: " + printable(one.message);
    write_last(state, 2, "davit: cache " + printable(one.key) + ": " + began + ends + '\n');
  }
}

} // namespace

int unwritten_output(int error) {
  if (error == EPIPE)
    return 128 + SIGPIPE;
  std::fprintf(stderr, "davit: standard output: %s\n", std::strerror(error));
  return 125;
}

int exit_code_of(const task& finished) {
  switch (finished.outcome.value_or(outcome::agent_lost)) {
    case outcome::succeeded:
      return 0;
    case outcome::timed_out:
      return 124;
    case outcome::cancelled:
      return 130;
    case outcome::oom_killed:
      return static_cast<int>(finished.exit_code.value_or(137));
    case outcome::failed:
      // A validator's no comes with the container's own 0.
      return finished.exit_code ? (*finished.exit_code == 0 ? 1 : static_cast<int>(*finished.exit_code & 0xff)) : 125;
    default:
      return 125;
  }
}

int run_task(api_client& client, const task_spec& spec, run_options options) {
  interrupts interrupted;
  follow_state state{client};
  state.interrupted = &interrupted;
  state.signals.assign(::dup(interrupted.descriptor()));
  state.progress = progress_line{!options.quiet};
  asio::co_spawn(client.context(), handle_signals(state), transport::rethrow_escaped);
  asio::co_spawn(client.context(), submit_and_follow(state, submission(spec)), transport::rethrow_escaped);
  client.context().restart();
  client.context().run();
  state.progress.finish();
  if (!state.finished)
    throw command_failure{"the task " + state.id + " was submitted, but its state is unknown: " + state.failure};
  const auto& ended = *state.finished;
  if (!state.failure.empty())
    write_last(state, 2,
               "davit: the output was not read to its end (" + printable(state.failure) + "); davit logs " + state.id
                 + " has it\n");
  if (state.unwritten != 0)
    write_last(state, 2,
               "davit: the output could not be written (" + why_unwritten(state.unwritten) + "); davit logs " + state.id
                 + " has it\n");
  if (options.json && state.unwritten == 0)
    state.unwritten = write_last(state, 1, json_for_stdout(state.finished_json));
  auto code = exit_code_of(ended);
  if (code == 0 && state.unwritten != 0)
    code = 125;
  auto plain_exit
    = ended.outcome == outcome::succeeded
   || (ended.outcome == outcome::failed && ended.exit_code && *ended.exit_code != 0 && *ended.exit_code < 125);
  if (!options.quiet && (!plain_exit || ended.attempts.size() > 1))
    write_last(state, 2,
               "davit: task " + state.id + " " + to_string(ended.outcome.value_or(outcome::agent_lost))
                 + (ended.message.empty() ? "" : ": " + printable(ended.message)) + "\n");
  if (!options.quiet && !ended.attempts.empty())
    tell_files(state, ended, options.output_dir.empty());
  if (!options.quiet)
    for (const auto& line : tests_of_run(ended))
      write_last(state, 2, "davit: " + printable(line) + "\n");
  // Whoever has cancelled it waits for what it kept all the same; one more signal ends that.
  if (!options.output_dir.empty()
      && !write_outputs(client, state.id, options.output_dir, options.quiet, state.cancelled ? nullptr : &interrupted))
    code = 125;
  return code;
}

int print_logs(api_client& client, const std::string& id, const std::string& query) {
  follow_state state{client};
  state.id = id;
  asio::co_spawn(client.context(), copy_log(state, query), transport::rethrow_escaped);
  client.context().restart();
  client.context().run();
  if (!state.failure.empty())
    throw command_failure{state.failure};
  return state.unwritten == 0 ? 0 : unwritten_output(state.unwritten);
}

} // namespace davit
