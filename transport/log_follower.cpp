#include "transport/log_follower.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace davit::transport {

namespace asio = boost::asio;

log_follower::log_follower(std::shared_ptr<engine_client> client, follow_options options, sink on_records, end on_end)
  : client_(std::move(client)),
    options_(std::move(options)),
    on_records_(std::move(on_records)),
    on_end_(std::move(on_end)),
    cursor_(options_.from),
    credit_(static_cast<std::int64_t>(options_.credit)),
    credit_arrived_(client_->executor()) {
}

void log_follower::start() {
  asio::co_spawn(
    client_->executor(), [self = shared_from_this()]() -> awaitable<void> { co_await self->run(); }, asio::detached);
}

void log_follower::grant(std::uint64_t wire_bytes) {
  asio::post(client_->executor(), [self = shared_from_this(), wire_bytes] {
    self->credit_ += static_cast<std::int64_t>(wire_bytes);
    self->credit_arrived_.cancel();
  });
}

void log_follower::cancel() {
  control_->cancel();
  asio::post(client_->executor(), [self = shared_from_this()] { self->credit_arrived_.cancel(); });
}

awaitable<void> log_follower::wait_for_credit() {
  while (credit_ <= 0 && !control_->cancelled()) {
    credit_arrived_.expires_at(asio::steady_timer::time_point::max());
    co_await credit_arrived_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

awaitable<void> log_follower::run() {
  result<void> outcome;
  bool reconnect = true;
  while (reconnect) {
    reconnect = false;
    outcome = co_await run_once(reconnect);
  }
  on_end_(outcome, cursor_);
}

awaitable<result<void>> log_follower::run_once(bool& reconnect) {
  log_resume resume{cursor_};
  call_options call;
  call.until = within(std::chrono::seconds{30});
  call.control = control_;
  log_options what{options_.follow, resume.since()};
  auto opened = co_await client_->logs(options_.container, std::move(what), call);
  if (!opened)
    co_return opened.error();
  auto stream = std::move(*opened);
  log_parser parser{options_.tty};
  std::vector<log_record> records;
  auto take = [&](log_record record) {
    bool gap = false;
    if (!resume.take(record, gap))
      return;
    if (gap)
      records.push_back({log_stream::note, record.at,
                         "some bytes of " + to_string(record.stream) + " are missing here: the engine no longer has them\n"});
    records.push_back(std::move(record));
  };
  auto deliver = [&](std::uint64_t wire_bytes) {
    cursor_ = resume.cursor();
    credit_ -= static_cast<std::int64_t>(wire_bytes);
    if (!records.empty() || wire_bytes != 0)
      on_records_(std::exchange(records, {}), wire_bytes);
  };
  while (true) {
    co_await wait_for_credit();
    auto piece = co_await stream->read(within(quiet_reconnect));
    if (!piece) {
      reconnect = piece.error().code == engine_errc::timed_out && options_.follow;
      co_return piece.error();
    }
    if (piece->empty())
      break;
    auto fed = parser.feed(*piece, take);
    deliver(piece->size());
    if (!fed)
      co_return fed.error();
  }
  auto finished = parser.finish(take);
  if (!options_.follow) // the last word on this log
    for (auto stream : {log_stream::out, log_stream::err})
      if (parser.end_is_unclear(stream))
        records.push_back({log_stream::note, std::chrono::system_clock::now(),
                           "the engine does not tell whether the last line of " + to_string(stream) + ", which it has cut, ended with a newline\n"});
  deliver(0);
  co_return finished;
}

} // namespace davit::transport
