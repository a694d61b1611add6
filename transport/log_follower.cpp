#include "transport/log_follower.hpp"

#include "transport/log_file_decoder.hpp"
#include "transport/spawn.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <unistd.h>

namespace davit::transport {

namespace asio = boost::asio;

namespace {

/// How much of a file is read at a time, and how long is waited for more of it: shortly after something came, then
/// longer.
constexpr std::size_t slice_bytes = 256 * 1024;
constexpr duration first_pause{5}, longest_pause{100};

/// An engine writes each line by itself, and each piece that is given costs its reader more than its bytes do. One is
/// given in this time, and what comes meanwhile with it; but after a pause so many are given at once, each as it comes:
/// a short task has no more.
constexpr duration gathering_time{5};
constexpr int given_at_once = 4;
constexpr std::uint64_t most_gathered = 128 * 1024;

std::vector<log_stream> unclear_ends(const log_parser& parser) {
  std::vector<log_stream> unclear;
  for (auto stream : {log_stream::out, log_stream::err})
    if (parser.end_is_unclear(stream))
      unclear.push_back(stream);
  return unclear;
}

/// Adds a record, unless it was delivered before.
void take(log_resume& resume, log_record record, std::vector<log_record>& records) {
  bool gap = false;
  if (!resume.take(record, gap))
    return;
  if (gap)
    records.push_back(
      {log_stream::note, record.at,
       "some bytes of " + to_string(record.stream) + " are missing here: the engine no longer has them\n"});
  records.push_back(std::move(record));
}

} // namespace

log_follower::log_follower(std::shared_ptr<engine_client> client, follow_options options, sink on_records, end on_end)
  : client_(std::move(client)), options_(std::move(options)), on_records_(std::move(on_records)),
    on_end_(std::move(on_end)), cursor_(options_.from), to_be_given_(client_->executor()),
    credit_(static_cast<std::int64_t>(options_.credit)), woken_(client_->executor()) {}

void log_follower::start() {
  spawn_detached(client_->executor(), "the reader of a container's log",
                 [self = shared_from_this()]() -> awaitable<void> { co_await self->run(); });
}

void log_follower::grant(std::uint64_t wire_bytes) {
  asio::post(client_->executor(), [self = shared_from_this(), wire_bytes] {
    auto starved = self->credit_ <= 0;
    self->credit_ += static_cast<std::int64_t>(wire_bytes);
    if (starved)
      self->wake();
  });
}

void log_follower::ended() {
  asio::post(client_->executor(), [self = shared_from_this()] {
    self->container_ended_ = true;
    self->wake();
  });
}

void log_follower::cancel() {
  control_->cancel();
  asio::post(client_->executor(), [self = shared_from_this()] { self->wake(); });
}

void log_follower::wake() {
  woken_.cancel();
}

/// Until `wake`, or so long.
awaitable<void> log_follower::pause(duration most) {
  woken_.expires_after(most);
  co_await woken_.async_wait(asio::as_tuple(asio::use_awaitable));
}

awaitable<void> log_follower::wait_for_credit() {
  while (credit_ <= 0 && !control_->cancelled())
    co_await pause(std::chrono::hours{1});
}

call_options log_follower::call() const {
  call_options options;
  options.until = within(std::chrono::seconds{30});
  options.control = control_;
  return options;
}

awaitable<void> log_follower::run() {
  result<void> outcome;
  bool reconnect = true;
  if (!options_.file.empty()) {
    outcome = co_await run_file();
    reconnect = !outcome && !control_->cancelled();
    if (reconnect)
      ending_.file_trouble = outcome.error().message;
  }
  while (reconnect) {
    reconnect = false;
    outcome = co_await run_once(reconnect);
  }
  on_end_(outcome, std::move(ending_));
}

/// Reads the engine's file, from the beginning: what is not new is passed over. An error: the engine is to be asked for
/// what comes after the cursor.
awaitable<result<void>> log_follower::run_file() {
  struct descriptor {
    int fd;
    ~descriptor() {
      if (fd >= 0)
        ::close(fd);
    }
  } file{::open(options_.file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
  auto failed = [&](const char* what) {
    return error{engine_errc::failed, 0, options_.file + ": " + what + ": " + std::strerror(errno)};
  };
  if (file.fd < 0)
    co_return failed("it can't be opened");
  log_resume resume{cursor_};
  log_file_decoder decoder;
  std::vector<log_record> records;
  auto keep = [&](log_record record) { take(resume, std::move(record), records); };
  auto slice = std::make_unique_for_overwrite<char[]>(slice_bytes); // a quiet log touches little of it
  auto wait = first_pause;
  while (true) {
    co_await wait_for_credit();
    if (control_->cancelled())
      co_return error{engine_errc::cancelled, 0, "the log is not read any more"};
    auto last_look = container_ended_ || !options_.follow; // before the read: what is there then is all
    auto count = ::read(file.fd, slice.get(), slice_bytes);
    if (count < 0 && errno != EINTR)
      co_return failed("it can't be read");
    if (count > 0) {
      auto fed = decoder.feed(std::string_view{slice.get(), static_cast<std::size_t>(count)}, keep);
      cursor_ = resume.cursor();
      credit_ -= count;
      on_records_(std::exchange(records, {}), static_cast<std::uint64_t>(count));
      if (!fed)
        co_return fed.error();
      wait = first_pause;
      if (static_cast<std::size_t>(count) < slice_bytes && !last_look)
        co_await pause(wait); // more of it at a time
      else
        co_await asio::post(client_->executor(), asio::use_awaitable); // others have their turn
    } else if (count == 0 && last_look) {
      if (!decoder.at_boundary())
        co_return error{engine_errc::lost, 0, options_.file + " ends in the middle of an entry"};
      co_return result<void>{};
    } else if (count == 0) {
      co_await pause(wait);
      wait = std::min(2 * wait, longest_pause);
    }
  }
}

/// False, and nothing is delivered, if the log's last records don't reach back to the cursor. Whatever goes wrong will
/// do so again.
awaitable<bool> log_follower::read_tail() {
  constexpr std::size_t most_bytes = tail_records * (16 * 1024 + 64);
  log_options what{false, {}, tail_records};
  auto opened = co_await client_->logs(options_.container, std::move(what), call());
  if (!opened)
    co_return false;
  auto stream = std::move(*opened);
  log_parser parser{false};
  std::vector<log_record> tail, records;
  auto keep = [&](log_record record) { tail.push_back(std::move(record)); };
  std::size_t bytes = 0;
  while (bytes <= most_bytes) {
    auto piece = co_await stream->read(within(quiet_reconnect));
    if (!piece)
      co_return false;
    if (piece->empty())
      break;
    bytes += piece->size();
    if (!parser.feed(*piece, keep))
      co_return false;
  }
  log_resume resume{cursor_};
  if (bytes > most_bytes || !parser.finish(keep) || !resume.reaches(tail, tail.size() < tail_records))
    co_return false;
  for (auto& record : tail)
    take(resume, std::move(record), records);
  cursor_ = resume.cursor();
  if (!records.empty()) { // if there is nothing new, whoever read it before knew how it ends
    ending_.unclear = unclear_ends(parser);
    on_records_(std::move(records), 0);
  }
  co_return true;
}

awaitable<result<void>> log_follower::run_once(bool& reconnect) {
  if (options_.tail && !options_.tty && !cursor_.empty()) {
    auto enough = co_await read_tail();
    if (enough)
      co_return result<void>{};
  }
  log_resume resume{cursor_};
  log_options what{options_.follow, resume.since()};
  auto opened = co_await client_->logs(options_.container, std::move(what), call());
  if (!opened)
    co_return opened.error();
  auto stream = std::move(*opened);
  log_parser parser{options_.tty};
  auto keep = [&](log_record record) {
    take(resume, std::move(record), records_);
    cursor_ = resume.cursor();
  };
  while (true) {
    co_await wait_for_credit();
    auto piece = co_await stream->read(within(quiet_reconnect));
    if (!piece) {
      give();
      reconnect = piece.error().code == engine_errc::timed_out && options_.follow;
      co_return piece.error();
    }
    if (piece->empty())
      break;
    auto fed = parser.feed(*piece, keep);
    gather(piece->size());
    if (!fed) {
      give();
      co_return fed.error();
    }
  }
  auto finished = parser.finish(keep);
  ending_.unclear = unclear_ends(parser);
  give();
  co_return finished;
}

/// Counts what was read, and gives it now or soon.
void log_follower::gather(std::uint64_t wire_bytes) {
  credit_ -= static_cast<std::int64_t>(wire_bytes);
  auto first = gathered_ == 0;
  gathered_ += wire_bytes;
  auto soon = due_ - (given_at_once - 1) * gathering_time;
  if (gathered_ >= most_gathered || credit_ <= 0 || std::chrono::steady_clock::now() >= soon) {
    give();
  } else if (first) {
    to_be_given_.expires_at(soon);
    to_be_given_.async_wait([self = shared_from_this()](const boost::system::error_code& ec) {
      if (!ec)
        self->give();
    });
  }
}

/// Gives all that was read.
void log_follower::give() {
  to_be_given_.cancel();
  auto wire_bytes = std::exchange(gathered_, 0);
  auto now = std::chrono::steady_clock::now();
  due_ = std::clamp(due_, now, now + (given_at_once - 1) * gathering_time) + gathering_time;
  if (!records_.empty() || wire_bytes != 0)
    on_records_(std::exchange(records_, {}), wire_bytes);
}

} // namespace davit::transport
