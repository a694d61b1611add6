#include "transport/http_exchange.hpp"

#include "transport/http_message.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace davit::transport {

namespace asio = boost::asio;

http_exchange::http_exchange(asio::any_io_executor executor, server_request request,
                             std::weak_ptr<open_connections::place> place)
  : executor_(executor), wake_(executor), request_(std::move(request)), place_(std::move(place)) {
  wake_.expires_at(asio::steady_timer::time_point::max());
}

void http_exchange::read_body(std::function<void()> whole) {
  if (!request_.has_body)
    return whole();
  update([&] {
    if (closed_)
      return;
    whole_ = std::move(whole);
    body_wanted_ = true;
  });
}

void http_exchange::trust(const std::string& caller) {
  {
    std::lock_guard guard{mutex_};
    caller_ = caller;
  }
  if (auto place = place_.lock())
    place->known();
}

std::string http_exchange::caller() const {
  std::lock_guard guard{mutex_};
  return caller_;
}

void http_exchange::hold(std::shared_ptr<const void> part) {
  std::lock_guard guard{mutex_};
  if (!closed_)
    held_.push_back(std::move(part));
}

void http_exchange::respond(server_response response) {
  update([&] {
    header_ = std::move(response);
    finished_ = true;
  });
}

void http_exchange::begin(server_response response) {
  update([&] {
    header_ = std::move(response);
    chunked_ = true;
    if (!header_->body.empty())
      pieces_.push_back({render_chunk(header_->body), nullptr});
  });
}

void http_exchange::write(std::string bytes, std::function<void(bool)> written) {
  {
    std::lock_guard guard{mutex_};
    if (!closed_) {
      pieces_.push_back({bytes.empty() ? std::string{} : render_chunk(bytes), std::move(written)});
      written = nullptr;
    }
  }
  if (written)
    written(false);
  else
    wake();
}

void http_exchange::finish() {
  update([&] { finished_ = true; });
}

void http_exchange::cut() {
  std::function<void()> stop;
  update([&] {
    cut_ = true;
    stop.swap(stop_);
  });
  if (stop)
    asio::post(executor_, std::move(stop));
}

void http_exchange::when_cut(std::function<void()> stop) {
  std::lock_guard guard{mutex_};
  stop_ = std::move(stop);
}

void http_exchange::on_closed(std::function<void()> closed) {
  {
    std::lock_guard guard{mutex_};
    if (!closed_) {
      on_closed_ = std::move(closed);
      return;
    }
  }
  closed();
}

http_exchange::work http_exchange::take() {
  std::lock_guard guard{mutex_};
  work result;
  if (header_ && !header_sent_) {
    result.header = std::move(header_);
    header_.reset();
    header_sent_ = true;
  }
  if (header_sent_) {
    result.pieces.swap(pieces_);
    result.finished = finished_;
  }
  result.chunked = chunked_;
  result.closed = closed_ || cut_;
  return result;
}

bool http_exchange::is_cut() const {
  std::lock_guard guard{mutex_};
  return cut_;
}

awaitable<void> http_exchange::sleep() {
  co_await wake_.async_wait(asio::as_tuple(asio::use_awaitable));
  wake_.expires_at(asio::steady_timer::time_point::max());
}

std::optional<bool> http_exchange::wants_body() const {
  std::lock_guard guard{mutex_};
  if (closed_ || header_)
    return false;
  if (body_wanted_)
    return true;
  return std::nullopt;
}

void http_exchange::take_body(std::string body) {
  request_.body = std::move(body);
  std::function<void()> whole;
  {
    std::lock_guard guard{mutex_};
    whole.swap(whole_);
  }
  if (whole)
    whole();
}

void http_exchange::close(bool tell) {
  std::function<void()> closed, whole;
  std::deque<piece> dropped;
  std::vector<std::shared_ptr<const void>> held;
  {
    std::lock_guard guard{mutex_};
    closed_ = true;
    closed.swap(on_closed_);
    whole.swap(whole_); // it may hold this exchange
    dropped.swap(pieces_);
    held.swap(held_);
  }
  for (auto& one : dropped)
    if (one.written)
      one.written(false);
  if (closed && tell)
    closed();
  wake();
}

void http_exchange::forget() {
  std::function<void()> closed, whole, stop;
  std::deque<piece> dropped;
  std::vector<std::shared_ptr<const void>> held;
  std::lock_guard guard{mutex_}; // let go before what was taken is destroyed
  closed_ = true;
  closed.swap(on_closed_);
  whole.swap(whole_);
  stop.swap(stop_);
  dropped.swap(pieces_);
  held.swap(held_);
}

template <class Change>
void http_exchange::update(Change change) {
  {
    std::lock_guard guard{mutex_};
    change();
  }
  wake();
}

void http_exchange::wake() {
  asio::post(executor_, [self = shared_from_this()] { self->wake_.expires_at(asio::steady_timer::time_point::min()); });
}

} // namespace davit::transport
