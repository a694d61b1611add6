#include "transport/container_input.hpp"

#include "transport/spawn.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <array>

namespace davit::transport {

namespace {

struct writing {
  std::shared_ptr<byte_stream> line;
  std::string bytes;
  bool whole = false;  ///< The engine has been sent all, and its end.
  bool ended = false;  ///< The line has.
  bool silent = false; ///< The engine has taken all, and does not end the line.
};

/// Some engines now and then don't end the line before the container ends. Who has taken all has passed it on by then,
/// unless the container hardly reads.
constexpr std::chrono::seconds most_silence{30};

/// Ends at the latest when the line is closed.
void write_all(const std::shared_ptr<engine_client>& client, std::shared_ptr<writing> what) {
  spawn_detached(client->executor(), "a container's standard input", [what = std::move(what)]() -> awaitable<void> {
    auto written = co_await what->line->write(what->bytes, no_deadline);
    std::string{}.swap(what->bytes);
    if (!written)
      co_return; // whoever reads hears of it too
    co_await what->line->shutdown_write();
    what->whole = true;
    boost::asio::steady_timer look{co_await boost::asio::this_coro::executor};
    for (auto since = std::chrono::steady_clock::now(); !what->ended;) {
      look.expires_after(std::chrono::seconds{1});
      co_await look.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
      auto now = std::chrono::steady_clock::now();
      if (!what->ended && what->line->untaken() != 0)
        since = now;
      if (!what->ended && now - since >= most_silence) {
        what->silent = true;
        what->line->close();
        co_return;
      }
    }
  });
}

/// Reads until the engine ends the line: an engine that has no use for the rest of the bytes says so in this way alone.
awaitable<result<void>> read_to_end(byte_stream& line, deadline until) {
  std::array<char, 1024> nothing;
  while (true) {
    auto count = co_await line.read_some(nothing, until);
    if (!count)
      co_return count.error();
    if (*count == 0)
      co_return result<void>{};
  }
}

/// Passes all on. An error: the line ended before that.
awaitable<result<void>> pass_on(std::shared_ptr<engine_client> client, std::shared_ptr<byte_stream> line,
                                std::string bytes, call_options options) {
  control_scope scope{options.control, client->executor(), *line};
  auto what = std::make_shared<writing>(writing{line, std::move(bytes)});
  write_all(client, what);
  auto ended = co_await read_to_end(*line, no_deadline);
  what->ended = true;
  line->close();
  if (!ended && !what->silent)
    co_return ended.error();
  if (!what->whole)
    co_return error{engine_errc::lost, 0, "the connection ended before all was passed on"};
  // An engine that has died closes its connections too, and has lost what it had not passed on.
  call_options soon;
  soon.until = within(std::chrono::seconds{10});
  co_return co_await client->ping(soon);
}

/// Whether the container had ended by itself when the line to it did. One that ends just then has read the line's end.
awaitable<bool> had_ended(std::shared_ptr<engine_client> client, std::string container, timestamp line_ended) {
  call_options soon;
  soon.until = within(std::chrono::seconds{10});
  auto status = co_await client->inspect_container(std::move(container), soon);
  if (!status || !status->ended() || !status->finished_at)
    co_return false;
  clock_reading clocks;
  clocks.asked = std::chrono::system_clock::now();
  auto info = co_await client->info(soon);
  clocks.answered = std::chrono::system_clock::now();
  if (!info)
    co_return false;
  clocks.engine = info->system_time.value_or(clocks.asked);
  co_return happened_before(*status->finished_at, line_ended, clocks);
}

} // namespace

bool happened_before(timestamp engine_time, timestamp our_time, const clock_reading& clocks) {
  auto ahead = clocks.engine < clocks.asked    ? clocks.engine - clocks.asked
             : clocks.engine > clocks.answered ? clocks.engine - clocks.answered
                                               : timestamp::duration{0};
  return engine_time - ahead <= our_time;
}

awaitable<result<made_sandbox>>
create_attached(std::shared_ptr<engine_client> client, container_plan plan, call_options options) {
  auto created = co_await client->create_container(std::move(plan), options);
  if (!created)
    co_return created.error();
  made_sandbox made;
  made.id = std::move(*created);
  auto attached = co_await client->attach(made.id, false, std::move(options));
  if (attached) {
    made.line = std::move(attached->stream);
    co_return made;
  }
  call_options last;
  last.until = within(std::chrono::seconds{30});
  co_await client->remove_container(made.id, last);
  // Nothing that the task asks for is in the way.
  co_return error{engine_errc::lost, 0, "its standard input can't be attached to: " + attached.error().message};
}

awaitable<result<void>> deliver_input(std::shared_ptr<engine_client> client, std::shared_ptr<byte_stream> line,
                                      std::string container, std::string bytes, call_options options) {
  auto outcome = co_await pass_on(client, std::move(line), std::move(bytes), std::move(options));
  if (outcome || outcome.error().code == engine_errc::cancelled)
    co_return outcome;
  auto at = std::chrono::system_clock::now();
  if (co_await had_ended(client, std::move(container), at))
    co_return result<void>{};
  co_return error{engine_errc::lost, 0, outcome.error().message};
}

awaitable<result<void>> close_line(std::shared_ptr<byte_stream> line, deadline until) {
  co_await line->shutdown_write();
  auto ended = co_await read_to_end(*line, until);
  line->close();
  co_return ended;
}

} // namespace davit::transport
