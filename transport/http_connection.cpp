#include "transport/http_connection.hpp"

#include "transport/as_awaitable.hpp"
#include "transport/awaitable.hpp"
#include "transport/http_exchange.hpp"
#include "transport/http_message.hpp"
#include "transport/server_certificate.hpp"
#include "transport/spawn.hpp"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <algorithm>
#include <poll.h>
#include <vector>

namespace davit::transport {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

namespace {

constexpr std::chrono::seconds linger_time{5};
constexpr std::size_t linger_bytes = 16 * 1024 * 1024;
constexpr std::size_t linger_part_bytes = 16 * 1024; ///< Of memory, for each connection that lingers.
constexpr std::size_t read_bytes = 4096;
constexpr std::size_t write_bytes = 256 * 1024; ///< Sent within the time that a reader may take nothing.
/// What may be read and not yet understood: beside a header, the head of a chunk or trailers, which have no limit of
/// their own.
constexpr std::size_t ahead_bytes = 64 * 1024;
constexpr std::size_t small_body_bytes = 64 * 1024; ///< Sent along with its header; a longer one is not copied.

using plain_stream = beast::basic_stream<asio::generic::stream_protocol>;
using secure_stream = asio::ssl::stream<plain_stream>;
using request_parser = http::request_parser<http::string_body>;

std::string lower_case(std::string_view text) {
  std::string lower{text};
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return lower;
}

/// What a request's header says. None: `wrong` says why the request is malformed.
std::optional<server_request>
read_request(const http::request<http::string_body>& message, const server_peer& peer, std::string& wrong) {
  server_request request;
  if (auto hosts = message.count(http::field::host); message.version() >= 11 && hosts != 1) {
    wrong = hosts == 0 ? "the request has no Host header" : "the request has several Host headers";
    return std::nullopt;
  }
  // Who reads it otherwise than a proxy in front of it did takes its body for the next request.
  if (message.count(http::field::transfer_encoding) > 1
      || (message.count(http::field::transfer_encoding) == 1
          && !beast::iequals(message[http::field::transfer_encoding], "chunked"))) {
    wrong = "the only Transfer-Encoding that is understood here is chunked";
    return std::nullopt;
  }
  // Which of them counts, others may see otherwise.
  for (auto single : {"Authorization", "Idempotency-Key", "Last-Event-ID", "Origin"})
    if (message.count(single) > 1) {
      wrong = std::string{"the request has several "} + single + " headers";
      return std::nullopt;
    }
  request.peer = peer;
  request.method = std::string{message.method_string()};
  for (const auto& field : message)
    request.headers.emplace(lower_case({field.name_string().data(), field.name_string().size()}),
                            std::string{field.value()});
  if (!read_target({message.target().data(), message.target().size()}, request)) {
    wrong = "the request's target is malformed";
    return std::nullopt;
  }
  return request;
}

/// Whether the client waits to be asked for the request's body, if there is one. Of HTTP/1.0 it is to be ignored.
bool holds_body_back(const request_parser& parser) {
  const auto& message = parser.get();
  return message.version() >= 11 && beast::iequals(message[http::field::expect], "100-continue");
}

/// However the coroutine ends: with an answer, or with the io_context.
struct serving {
  explicit serving(std::shared_ptr<http_exchange> one) : asked(std::move(one)) {}
  serving(const serving&) = delete;
  serving& operator=(const serving&) = delete;
  ~serving() { asked->forget(); }
  const std::shared_ptr<http_exchange> asked;
};

template <class Stream>
class http_connection : public std::enable_shared_from_this<http_connection<Stream>> {
public:
  template <class... Tls>
  http_connection(std::shared_ptr<const connection_rules> rules, stream_socket socket,
                  std::shared_ptr<asio::ssl::context> tls_context, Tls&&... tls)
    : rules_(std::move(rules)), tls_(std::move(tls_context)), peer_(peer_of(socket)),
      stream_(plain_stream{std::move(socket)}, std::forward<Tls>(tls)...) {}

  /// False: the list lets nobody in.
  bool enter(open_connections& list, std::shared_ptr<guest> visitor) {
    visitor_ = std::move(visitor);
    auto close = [weak = this->weak_from_this(), executor = stream_.get_executor(), who = visitor_] {
      who->leaves();
      asio::post(executor, [weak] {
        if (auto one = weak.lock())
          one->lowest().close();
      });
    };
    place_ = list.enter(address_group(peer_), std::move(close), [who = visitor_] { who->known = true; });
    return place_ != nullptr;
  }

  void run() {
    spawn_detached(stream_.get_executor(), "an HTTP connection",
                   [self = this->shared_from_this()]() -> awaitable<void> {
                     if (co_await self->shake_hands())
                       while (co_await self->serve_one()) {
                         self->visitor_->answered();
                         self->place_->answered();
                       }
                     error_code ignored;
                     self->lowest().socket().shutdown(asio::socket_base::shutdown_both, ignored);
                     self->lowest().close();
                   });
  }

private:
  plain_stream& lowest() { return beast::get_lowest_layer(stream_); }

  awaitable<bool> shake_hands() {
    if constexpr (std::is_same_v<Stream, secure_stream>) {
      lowest().expires_after(rules_->limits.header);
      auto [ec] = co_await stream_.async_handshake(asio::ssl::stream_base::server, as_awaitable);
      if (ec)
        co_return false;
      peer_.certificate = client_common_name(stream_.native_handle());
    }
    co_return true;
  }

  /// One request and its answer. False: the connection is not to be used again.
  awaitable<bool> serve_one() {
    if (!co_await wait_for_request())
      co_return false;
    request_parser parser;
    parser.header_limit(static_cast<std::uint32_t>(rules_->limits.header_bytes));
    parser.body_limit(boost::none); // who may not come in hears that, however long the body is
    auto ec = co_await read_header(parser);
    if (ec)
      co_return co_await refuse(ec);
    stalled_ = rules_->limits.stalled;
    std::string wrong;
    auto request = read_request(parser.get(), peer_, wrong);
    if (!request)
      co_return co_await refuse_as(400, wrong);
    answer_form form{false, parser.keep_alive(), parser.get().method() == http::verb::head};
    const auto has_body = request->has_body = !parser.is_done();
    auto asked = std::make_shared<http_exchange>(stream_.get_executor(), std::move(*request), place_);
    serving ends{asked};
    asked->when_cut([weak = this->weak_from_this()] {
      if (auto one = weak.lock())
        one->lowest().close();
    });
    watch(asked);
    rules_->on_header(asked);
    if (has_body) {
      auto wanted = co_await is_body_wanted(asked);
      stop_watching();
      if (!wanted) {
        form.keep_alive = false; // the body is still to come, or never comes
        if (co_await send_answer(asked, form))
          co_await linger();
        co_return false;
      }
      if (ec = co_await read_body(parser); ec) {
        asked->close(true);
        co_return co_await refuse(ec);
      }
      watch(asked);
      asked->take_body(std::move(parser.get().body()));
    }
    co_return co_await send_answer(asked, form) && form.keep_alive;
  }

  /// A connection at rest has time; once a request has begun, the request has its own.
  awaitable<bool> wait_for_request() {
    place_->idle();
    if (buffer_.size() != 0) // the client did not wait for the last answer
      co_return true;
    lowest().expires_after(rules_->limits.idle);
    auto [ec, count] = co_await stream_.async_read_some(buffer_.prepare(read_bytes), as_awaitable);
    if (ec || count == 0)
      co_return false;
    buffer_.commit(count);
    co_return true;
  }

  awaitable<error_code> read_header(request_parser& parser) {
    lowest().expires_after(rules_->limits.header);
    auto [ec, count] = co_await http::async_read_header(stream_, buffer_, parser, as_awaitable);
    if (!ec)
      place_->busy();
    co_return ec;
  }

  awaitable<error_code> read_body(request_parser& parser) {
    const auto most = rules_->limits.body_bytes;
    parser.body_limit(most);
    if (parser.content_length() && *parser.content_length() > most)
      co_return http::make_error_code(http::error::body_limit);
    if (holds_body_back(parser) && buffer_.size() == 0 && !co_await send(continue_line))
      co_return asio::error::connection_reset;
    lowest().expires_after(rules_->limits.body);
    auto [ec, count] = co_await http::async_read(stream_, buffer_, parser, as_awaitable);
    co_return ec;
  }

  /// Whether the body is to be read. False: there is an answer without it, or the client has gone.
  awaitable<bool> is_body_wanted(std::shared_ptr<http_exchange> asked) {
    auto wanted = asked->wants_body();
    while (!wanted) {
      co_await asked->sleep();
      wanted = asked->wants_body();
    }
    co_return *wanted;
  }

  /// Sends an answer as its pieces come. False: the client has gone, or takes nothing.
  awaitable<bool> send_answer(std::shared_ptr<http_exchange> asked, answer_form form) {
    bool good = true, finished = false;
    while (good && !finished) {
      auto work = asked->take();
      if (work.empty()) {
        co_await asked->sleep();
        continue;
      }
      good = !work.closed;
      form.chunked = work.chunked;
      if (good && work.header)
        stalled_ = work.header->stalled.value_or(rules_->limits.stalled);
      if (good && work.header)
        good = co_await send_header(*work.header, form, asked.get());
      for (auto& one : work.pieces) {
        if (good && !form.head)
          good = co_await send(one.bytes);
        if (one.written)
          one.written(good);
      }
      finished = work.finished;
    }
    if (good && form.chunked && !form.head)
      good = co_await send(last_chunk);
    asked->close(!good);
    stop_watching();
    co_return good;
  }

  /// With the body, if the answer is not chunked.
  awaitable<bool> send_header(const server_response& response, answer_form form, const http_exchange* asked = nullptr) {
    auto text = render_header(response, form);
    auto with_body = !form.chunked && !form.head;
    if (with_body && response.body.size() <= small_body_bytes)
      text += response.body;
    auto good = co_await send(text);
    if (good && with_body && response.body.size() > small_body_bytes)
      good = co_await send(response.body, asked);
    co_return good;
  }

  /// A reader may be slow, not dead: each part has the time. False too if the answer is cut off.
  awaitable<bool> send(std::string_view bytes, const http_exchange* asked = nullptr) {
    for (std::size_t sent = 0; sent < bytes.size();) {
      if (asked && asked->is_cut())
        co_return false;
      auto part = bytes.substr(sent, write_bytes);
      lowest().expires_after(stalled_);
      sending_ = true;
      auto [ec, count] = co_await asio::async_write(stream_, asio::buffer(part.data(), part.size()), as_awaitable);
      sending_ = false;
      ++sent_;
      if (ec)
        co_return false;
      sent += count;
    }
    co_return true;
  }

  /// Answers what could not be read as a request. Not one that did not come in time: the stream closes itself then.
  /// Always false.
  awaitable<bool> refuse(error_code ec) {
    const auto& limits = rules_->limits;
    if (ec == http::error::body_limit)
      co_return co_await refuse_as(413, "the body is longer than " + std::to_string(limits.body_bytes) + " bytes");
    if (ec == http::error::header_limit)
      co_return co_await refuse_as(431, "the header is longer than " + std::to_string(limits.header_bytes) + " bytes");
    if (ec == http::error::buffer_overflow)
      co_return co_await refuse_as(400, "the extensions of a chunk, or the trailers, are too long");
    auto is_http = ec.category() == http::make_error_code(http::error::bad_method).category();
    if (is_http && ec != http::error::end_of_stream && ec != http::error::partial_message)
      co_return co_await refuse_as(400, "this is not a valid HTTP/1.1 request");
    co_return false;
  }

  awaitable<bool> refuse_as(int status, std::string detail) {
    auto response = refusal(status, detail);
    if (co_await send_header(response, {}))
      co_await linger();
    co_return false;
  }

  /// Closing on a client that still sends resets the connection, and the answer with it: let it come to an end, for a
  /// while.
  awaitable<void> linger() {
    error_code ec;
    place_->idle(); // it keeps nobody out
    lowest().socket().shutdown(asio::socket_base::shutdown_send, ec);
    lowest().expires_after(linger_time);
    std::vector<char> rest(linger_part_bytes);
    for (std::size_t total = 0; !ec && total < linger_bytes;) {
      auto [read_ec, count] = co_await stream_.async_read_some(asio::buffer(rest), as_awaitable);
      ec = read_ec;
      total += count;
    }
  }

  /// Sees a client that goes while its answer is being made.
  void watch(const std::shared_ptr<http_exchange>& asked) {
    auto seen = [self = this->shared_from_this(), asked](error_code ec) {
      if (ec)
        return;
      // Behind what it may have sent on top (a request more, or TLS' own farewell) the end is seen all the same.
      pollfd look{self->lowest().socket().native_handle(), POLLRDHUP, 0};
      if (::poll(&look, 1, 0) <= 0)
        return;
      if ((look.revents & (POLLHUP | POLLERR)) != 0)
        asked->close(true);
      else if ((look.revents & POLLRDHUP) != 0)
        self->close_soon(asked);
    };
    lowest().socket().async_wait(asio::socket_base::wait_read,
                                 asio::bind_executor(stream_.get_executor(), std::move(seen)));
  }

  /// The client sends nothing more. Whether it still reads is only seen when something is sent: it has some time from
  /// one part of its answer to the next.
  void close_soon(const std::shared_ptr<http_exchange>& asked) {
    auto timer = std::make_shared<asio::steady_timer>(stream_.get_executor(), rules_->limits.half_closed);
    timer->async_wait([timer, self = this->weak_from_this(), asked = std::weak_ptr{asked}, seen = sent_](error_code) {
      auto connection = self.lock();
      auto one = asked.lock();
      if (!connection || !one)
        return;
      if (seen != connection->sent_ || connection->sending_)
        connection->close_soon(one);
      else
        one->close(true);
    });
  }

  void stop_watching() {
    error_code ignored; // the list may have closed it
    lowest().socket().cancel(ignored);
  }

  std::shared_ptr<const connection_rules> rules_;
  std::shared_ptr<asio::ssl::context> tls_;   ///< Outlives the stream.
  duration stalled_ = rules_->limits.stalled; ///< For the answer that is being sent.
  std::uint64_t sent_ = 0;                    ///< Parts of answers.
  bool sending_ = false;
  server_peer peer_;
  Stream stream_;
  beast::flat_buffer buffer_{rules_->limits.header_bytes + ahead_bytes};
  std::shared_ptr<open_connections::place> place_;
  std::shared_ptr<guest> visitor_;
};

} // namespace

void serve_connection(std::shared_ptr<const connection_rules> rules, const std::shared_ptr<open_connections>& list,
                      stream_socket socket, std::shared_ptr<asio::ssl::context> tls, std::shared_ptr<guest> visitor) {
  auto serve = [&](auto made) {
    if (made->enter(*list, std::move(visitor)))
      made->run();
  };
  if (tls) {
    auto& context = *tls;
    serve(
      std::make_shared<http_connection<secure_stream>>(std::move(rules), std::move(socket), std::move(tls), context));
  } else {
    serve(std::make_shared<http_connection<plain_stream>>(std::move(rules), std::move(socket), nullptr));
  }
}

} // namespace davit::transport
