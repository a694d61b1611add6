// What the answering side of a request and its connection share.
#pragma once

#include "transport/awaitable.hpp"
#include "transport/exchange.hpp"
#include "transport/open_connections.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace davit::transport {

/// The answering side calls the functions of `exchange`, from any thread; the connection calls the others, on its
/// strand.
class http_exchange final : public exchange, public std::enable_shared_from_this<http_exchange> {
public:
  /// `executor` is the connection's strand.
  http_exchange(boost::asio::any_io_executor executor, server_request request,
                std::weak_ptr<open_connections::place> place);

  // -- the answering side ---

  const server_request& request() const override { return request_; }
  void read_body(std::function<void()> whole) override;
  void trust(const std::string& caller) override;
  std::string caller() const override;
  void hold(std::shared_ptr<const void> part) override;
  void respond(server_response response) override;
  void begin(server_response response) override;
  void write(std::string bytes, std::function<void(bool)> written) override;
  void finish() override;
  void cut() override;
  void on_closed(std::function<void()> closed) override;

  // -- the connection's side ---

  struct piece {
    std::string bytes;
    std::function<void(bool)> written;
  };

  /// What is to be sent next.
  struct work {
    std::optional<server_response> header;
    std::deque<piece> pieces;
    bool chunked = false;
    bool finished = false;
    bool closed = false;
    bool empty() const { return !header && pieces.empty() && !finished && !closed; }
  };

  /// Takes what there is. An answer that is not chunked comes whole; until then there is nothing.
  work take();

  /// The answer is not to be sent on.
  bool is_cut() const;

  /// `stop`, called on the connection's strand, ends a write that waits for its reader when the answer is cut.
  void when_cut(std::function<void()> stop);

  /// Waits until wants_body() or take() may say something new.
  awaitable<void> sleep();

  /// Whether the body is asked for (true), or will not be, because there is an answer or the client has gone (false).
  std::optional<bool> wants_body() const;

  /// The whole body has come, after it was asked for.
  void take_body(std::string body);

  /// The answer has ended, or can't be sent on; `tell` tells the answering side, which must hear of the latter alone.
  void close(bool tell);

  /// Nobody serves it any more, and nobody hears of it: what it was to call may hold it.
  void forget();

private:
  template <class Change>
  void update(Change change);
  void wake();

  boost::asio::any_io_executor executor_;
  boost::asio::steady_timer wake_;
  server_request request_;
  const std::weak_ptr<open_connections::place> place_;
  mutable std::mutex mutex_; ///< Guards all that follows.
  std::string caller_;
  std::optional<server_response> header_;
  std::deque<piece> pieces_;
  std::vector<std::shared_ptr<const void>> held_;
  std::function<void()> on_closed_;
  std::function<void()> whole_;
  std::function<void()> stop_;
  bool body_wanted_ = false;
  bool header_sent_ = false;
  bool chunked_ = false;
  bool finished_ = false;
  bool cut_ = false;
  bool closed_ = false;
};

} // namespace davit::transport
