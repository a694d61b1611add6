#include "cli/run.hpp"

#include "cli/print.hpp"
#include "cli/task_flags.hpp"

#include "json/write.hpp"
#include "transport/demultiplexer.hpp"
#include "transport/spawn.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <unistd.h>

namespace davit {

namespace asio = boost::asio;
using transport::awaitable;
using namespace std::chrono_literals;

namespace {

constexpr auto as_awaitable = asio::as_tuple(asio::use_awaitable);

/// False: it can't be written, and errno says why; EPIPE: nobody reads it any more.
bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    auto count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

/// The line on a terminal that tells what a task is at; gone before any output.
class progress_line {
public:
  explicit progress_line(bool on) : on_(on && ::isatty(2)) {}
  ~progress_line() { clear(); }

  bool on() const { return on_; }

  void show(const std::string& text) {
    if (!on_ || text == shown_)
      return;
    write_all(2, "\r\x1b[K\x1b[2m" + printable(text).substr(0, 200) + "\x1b[0m");
    shown_ = text;
  }

  void clear() {
    if (!shown_.empty())
      write_all(2, "\r\x1b[K");
    shown_.clear();
  }

  void finish() {
    clear();
    on_ = false;
  }

private:
  bool on_;
  std::string shown_;
};

std::string mebibytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

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

/// Whether somebody wants this process to outlive its terminal (nohup).
bool outlives_terminal() {
  struct sigaction now {};
  return ::sigaction(SIGHUP, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

struct follow_state {
  explicit follow_state(api_client& c) : client(c), signals(c.context(), SIGINT, SIGTERM), timer(c.context()) {
    if (!outlives_terminal())
      signals.add(SIGHUP);
  }
  api_client& client;
  std::string id;
  progress_line progress{false};
  asio::signal_set signals;
  asio::steady_timer timer;
  bool done = false;
  int unwritten = 0; ///< errno of the first write to stdout or stderr that failed; EPIPE: nobody reads it.
  std::optional<task> finished;
  std::string finished_json;
  std::string failure;
};

void write_out(follow_state& state, int fd, std::string_view bytes) {
  if (state.unwritten == 0 && !write_all(fd, bytes))
    state.unwritten = errno;
}

/// Copies the log to stdout and stderr.
awaitable<void> copy_log(follow_state& state, std::string query) {
  {
    auto request = state.client.request("GET", "/v1/tasks/" + state.id + "/logs?" + query);
    request.headers.emplace_back("Accept", "application/vnd.docker.multiplexed-stream");
    auto opened = co_await state.client.http()->open(std::move(request), {});
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
      auto fed = frames.feed(*piece, [&](transport::demultiplexer::piece one) {
        if (one.stream == 3) {
          auto text = std::string{start_of_note ? "davit: " : ""} + std::string{one.bytes};
          start_of_note = one.last;
          write_out(state, 2, text);
        } else {
          write_out(state, one.stream == 2 ? 2 : 1, one.bytes);
        }
      });
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
    if (!answer || answer->status >= 500) {
      // An agent that is restarted goes on with the task.
      if (++failures > 60) {
        state.failure = answer ? "the agent answers " + std::to_string(answer->status) : answer.error().message;
        co_return;
      }
      asio::steady_timer pause{state.client.context(), 500ms};
      co_await pause.async_wait(as_awaitable);
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

awaitable<void> cancel_task(follow_state& state) {
  state.progress.show("cancelling");
  auto answer
    = co_await state.client.http()->request(state.client.request("POST", "/v1/tasks/" + state.id + "/cancel"), {});
  if (!answer)
    state.failure = answer.error().message;
}

/// The first signal cancels the task, the second leaves at once.
awaitable<void> handle_signals(follow_state& state) {
  auto [ec, number] = co_await state.signals.async_wait(as_awaitable);
  if (ec)
    co_return;
  co_await cancel_task(state);
  auto [again, which] = co_await state.signals.async_wait(as_awaitable);
  if (!again)
    ::_exit(130);
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
  std::string_view id;
  auto receipt = client.call("POST", "/v1/tasks", submission(spec));
  json::parser parser;
  auto root = parser.parse(receipt);
  if (!root || (*root)["id"].get(id) != simdjson::SUCCESS)
    throw command_failure{"the agent's answer is malformed"};
  follow_state state{client};
  state.id = id;
  state.progress = progress_line{!options.quiet};
  auto finish = [&] {
    state.done = true;
    state.signals.cancel();
    state.timer.cancel();
  };
  asio::co_spawn(client.context(), handle_signals(state), transport::rethrow_escaped);
  if (state.progress.on())
    asio::co_spawn(client.context(), show_progress(state), transport::rethrow_escaped);
  asio::co_spawn(
    client.context(),
    [&]() -> awaitable<void> {
      co_await copy_log(state, "follow=1&attempt=1");
      if (state.unwritten == EPIPE) // as a signal: whoever wanted the task's output does not any more
        co_await cancel_task(state);
      co_await wait_finished(state);
      // A retry's output comes behind, attempt by attempt.
      for (std::size_t n = 2; state.finished && state.unwritten == 0 && n <= state.finished->attempts.size(); ++n)
        co_await copy_log(state, "attempt=" + std::to_string(n));
      finish();
    },
    transport::rethrow_escaped);
  client.context().restart();
  client.context().run();
  state.progress.finish();
  if (!state.finished)
    throw command_failure{"the task " + state.id + " was submitted, but its state is unknown: " + state.failure};
  const auto& ended = *state.finished;
  if (!state.failure.empty())
    write_all(2, "davit: the output was not read to its end (" + printable(state.failure) + "); davit logs " + state.id
                   + " has it\n");
  if (state.unwritten != 0)
    write_all(2, "davit: the output could not be written (" + std::string{std::strerror(state.unwritten)}
                   + "); davit logs " + state.id + " has it\n");
  if (options.json)
    write_out(state, 1, json_for_stdout(state.finished_json));
  auto code = exit_code_of(ended);
  if (code == 0 && state.unwritten != 0)
    code = 125;
  auto plain_exit
    = ended.outcome == outcome::succeeded
   || (ended.outcome == outcome::failed && ended.exit_code && *ended.exit_code != 0 && *ended.exit_code < 125);
  if (!options.quiet && (!plain_exit || ended.attempts.size() > 1))
    write_all(2, "davit: task " + state.id + " " + to_string(ended.outcome.value_or(outcome::agent_lost))
                   + (ended.message.empty() ? "" : ": " + printable(ended.message)) + "\n");
  return code;
}

int print_logs(api_client& client, const std::string& id, const std::string& query) {
  follow_state state{client};
  state.id = id;
  state.signals.cancel();
  asio::co_spawn(client.context(), copy_log(state, query), transport::rethrow_escaped);
  client.context().restart();
  client.context().run();
  if (!state.failure.empty())
    throw command_failure{state.failure};
  return state.unwritten == 0 ? 0 : unwritten_output(state.unwritten);
}

} // namespace davit
