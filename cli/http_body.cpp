#include "cli/http_body.hpp"

#include "cli/interrupts.hpp"
#include "cli/no_answer.hpp"
#include "transport/spawn.hpp"

#include <algorithm>
#include <cstring>
#include <unistd.h>

namespace davit {

namespace asio = boost::asio;

namespace {

constexpr duration piece_limit{300'000};
constexpr std::size_t most_of_failure = 64 << 10;

} // namespace

/// Runs the client's context until this work is done. What waits for a signal waits on.
template <class Work>
void http_body::run(Work work) {
  bool done = false;
  asio::co_spawn(client_.context(), std::move(work), [&done](const std::exception_ptr& escaped) {
    done = true;
    transport::rethrow_escaped(escaped);
  });
  client_.context().restart();
  while (!done)
    client_.context().run_one();
}

http_body::http_body(api_client& client, transport::http_request request, const interrupts* stop)
  : client_(client), signals_(client.context()) {
  if (stop) {
    signals_.assign(::dup(stop->descriptor()));
    signals_.async_wait(asio::posix::stream_descriptor::wait_read,
                        [control = control_](const boost::system::error_code& ec) {
                          if (!ec)
                            control->cancel();
                        });
  }
  transport::call_options options;
  options.control = control_;
  options.until = transport::within(piece_limit);
  transport::result<std::unique_ptr<transport::response_stream>> opened;
  run([&]() -> transport::awaitable<void> { opened = co_await client_.http()->open(request, options); });
  if (!opened && interrupted())
    throw command_failure{"interrupted", 130};
  if (!opened)
    throw passing_failure{no_answer(opened.error())};
  stream_ = std::move(*opened);
  if (stream_->status() / 100 == 2)
    return;
  std::string body;
  char piece[4096];
  while (body.size() < most_of_failure) {
    auto got = read(piece);
    if (!got || *got == 0)
      break;
    body.append(piece, *got);
  }
  if (may_pass(stream_->status()))
    throw passing_failure{failure_of(stream_->status(), body)};
  throw failure_of(stream_->status(), body);
}

http_body::~http_body() {
  if (stream_)
    stream_->close();
  boost::system::error_code ignored;
  signals_.close(ignored);
}

blobs::result<std::size_t> http_body::read(std::span<char> into) {
  if (ready_.empty()) {
    transport::result<std::string_view> got;
    run([&]() -> transport::awaitable<void> { got = co_await stream_->read(transport::within(piece_limit)); });
    lost_ = !got;
    if (!got)
      return blobs::error{blobs::errc::failed,
                          interrupted() ? std::string{"interrupted"}
                                        : "the agent's answer was not read to its end: " + got.error().message};
    ready_ = *got;
  }
  auto count = std::min(into.size(), ready_.size());
  if (count != 0)
    std::memcpy(into.data(), ready_.data(), count);
  ready_.remove_prefix(count);
  return count;
}

} // namespace davit
