#include "transport/http_server.hpp"

#include "transport/byte_stream.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <algorithm>
#include <deque>
#include <list>
#include <mutex>
#include <set>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace davit::transport {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

std::string server_request::parameter(std::string_view name) const {
  for (const auto& [key, value] : query)
    if (key == name)
      return value;
  return {};
}

std::string server_request::header(const std::string& lower_case_name) const {
  auto found = headers.find(lower_case_name);
  return found == headers.end() ? std::string{} : found->second;
}

namespace {

constexpr std::chrono::seconds linger_time{5};
constexpr std::size_t linger_bytes = 64 * 1024 * 1024;
constexpr auto as_awaitable = asio::as_tuple(asio::use_awaitable);

std::string render_header(const server_response& response, bool chunked, bool keep_alive, bool head) {
  std::string text = "HTTP/1.1 " + std::to_string(response.status) + ' ';
  auto reason = http::obsolete_reason(static_cast<http::status>(response.status));
  text.append(reason.data(), reason.size()).append("\r\n");
  if (!response.content_type.empty() && response.status != 204)
    text.append("Content-Type: ").append(response.content_type).append("\r\n");
  for (const auto& [name, value] : response.headers)
    text.append(name).append(": ").append(value).append("\r\n");
  if (chunked)
    text += "Transfer-Encoding: chunked\r\n";
  else if (response.status != 204)
    text += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  text += keep_alive ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
  text += "X-Content-Type-Options: nosniff\r\n\r\n";
  if (!chunked && !head)
    text += response.body;
  return text;
}

std::string chunk(std::string_view bytes) {
  char size[24];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  std::string text{size};
  text.append(bytes).append("\r\n");
  return text;
}

/// False: the target is no path that this server could mean anything by.
bool read_target(std::string_view target, server_request& request) {
  auto parsed = boost::urls::parse_origin_form({target.data(), target.size()});
  if (!parsed)
    return false;
  request.path = "/";
  for (auto segment : parsed->segments()) {
    std::string text{segment};
    if (text.find('\0') != std::string::npos || text == "..")
      return false;
    if (text.empty())
      continue;
    if (request.path.size() > 1)
      request.path += '/';
    request.path += text;
    request.segments.push_back(std::move(text));
  }
  for (auto parameter : parsed->params())
    request.query.emplace_back(std::string{parameter.key}, std::string{parameter.value});
  return true;
}

/// What the answering side and the connection share.
class exchange_state final : public exchange, public std::enable_shared_from_this<exchange_state> {
public:
  struct piece {
    std::string bytes;
    std::function<void(bool)> written;
  };

  exchange_state(asio::any_io_executor executor, server_request request)
    : executor_(executor), wake_(executor), request_(std::move(request)) {
    wake_.expires_at(asio::steady_timer::time_point::max());
  }

  const server_request& request() const override { return request_; }

  void respond(server_response response) override {
    update([&] {
      header_ = std::move(response);
      finished_ = true;
    });
  }

  void begin(server_response response) override {
    update([&] {
      header_ = std::move(response);
      chunked_ = true;
      if (!header_->body.empty())
        pieces_.push_back({chunk(header_->body), nullptr});
    });
  }

  void write(std::string bytes, std::function<void(bool)> written) override {
    {
      std::lock_guard guard{mutex_};
      if (!closed_) {
        pieces_.push_back({bytes.empty() ? std::string{} : chunk(bytes), std::move(written)});
        written = nullptr;
      }
    }
    if (written)
      written(false);
    else
      wake();
  }

  void finish() override {
    update([&] { finished_ = true; });
  }

  void on_closed(std::function<void()> closed) override {
    {
      std::lock_guard guard{mutex_};
      if (!closed_) {
        on_closed_ = std::move(closed);
        return;
      }
    }
    closed();
  }

  // -- the connection's side ---

  struct work {
    std::optional<server_response> header;
    std::deque<piece> pieces;
    bool chunked = false;
    bool finished = false;
    bool closed = false;
    bool empty() const { return !header && pieces.empty() && !finished && !closed; }
  };

  work take() {
    std::lock_guard guard{mutex_};
    work result;
    // An answer that is not chunked comes whole; until then there is nothing to do.
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
    result.closed = closed_;
    return result;
  }

  awaitable<void> sleep() {
    co_await wake_.async_wait(as_awaitable);
    wake_.expires_at(asio::steady_timer::time_point::max());
  }

  /// The client has gone, or the answer has ended: nobody is told of the latter.
  void close(bool tell) {
    std::function<void()> closed;
    std::deque<piece> dropped;
    {
      std::lock_guard guard{mutex_};
      closed_ = true;
      closed = std::move(on_closed_);
      on_closed_ = nullptr;
      dropped.swap(pieces_);
    }
    for (auto& one : dropped)
      if (one.written)
        one.written(false);
    if (closed && tell)
      closed();
    wake();
  }

private:
  template <class Change>
  void update(Change change) {
    {
      std::lock_guard guard{mutex_};
      change();
    }
    wake();
  }

  void wake() {
    asio::post(executor_, [self = shared_from_this()] { self->wake_.expires_at(asio::steady_timer::time_point::min()); });
  }

  asio::any_io_executor executor_;
  asio::steady_timer wake_;
  server_request request_;
  std::mutex mutex_;
  std::optional<server_response> header_;
  std::deque<piece> pieces_;
  std::function<void()> on_closed_;
  bool header_sent_ = false;
  bool chunked_ = false;
  bool finished_ = false;
  bool closed_ = false;
};

template <class Protocol>
class server_of final : public http_server, public std::enable_shared_from_this<server_of<Protocol>> {
public:
  using stream_type = beast::basic_stream<Protocol>;

  server_of(asio::io_context& context, endpoint where, server_limits limits, std::function<void(exchange_ptr)> handler)
    : context_(context), acceptor_(asio::make_strand(context)), where_(std::move(where)), limits_(limits), handler_(std::move(handler)) {
  }

  typename Protocol::acceptor& acceptor() { return acceptor_; }

  void run() {
    if constexpr (std::is_same_v<Protocol, asio::ip::tcp>)
      where_.port = acceptor_.local_endpoint().port();
    asio::co_spawn(
      acceptor_.get_executor(), [self = this->shared_from_this()]() -> awaitable<void> { co_await self->accept(); },
      asio::detached);
  }

  endpoint where() const override { return where_; }

  void stop() override {
    asio::post(acceptor_.get_executor(), [self = this->shared_from_this()] {
      error_code ignored;
      self->acceptor_.close(ignored);
      if (self->where_.is_unix())
        ::unlink(self->where_.path.c_str());
    });
    std::lock_guard guard{mutex_};
    stopping_ = true;
    for (auto stream : open_)
      asio::post(stream->get_executor(), [weak = stream->weak_from_this()] {
        if (auto connection = weak.lock())
          connection->stream.close();
      });
  }

private:
  struct connection : std::enable_shared_from_this<connection> {
    explicit connection(typename Protocol::socket socket) : stream(std::move(socket)) {}
    auto get_executor() { return stream.get_executor(); }
    stream_type stream;
    beast::flat_buffer buffer;
  };
  using connection_ptr = std::shared_ptr<connection>;

  awaitable<void> accept() {
    while (true) {
      auto [ec, socket] = co_await acceptor_.async_accept(asio::make_strand(context_), as_awaitable);
      if (!acceptor_.is_open())
        co_return;
      if (ec) { // out of descriptors, for instance: the next may do
        asio::steady_timer pause{acceptor_.get_executor(), std::chrono::milliseconds{50}};
        co_await pause.async_wait(as_awaitable);
        continue;
      }
      // A named lvalue: g++ 12 miscounts the lifetime of a structured binding captured by a coroutine lambda.
      typename Protocol::socket accepted{std::move(socket)};
      auto made = std::make_shared<connection>(std::move(accepted));
      {
        std::lock_guard guard{mutex_};
        if (stopping_ || open_.size() >= limits_.connections)
          continue; // closed by going out of scope
        open_.insert(made.get());
      }
      asio::co_spawn(
        made->get_executor(),
        [self = this->shared_from_this(), made]() -> awaitable<void> {
          co_await self->serve(made);
          error_code ignored;
          made->stream.socket().shutdown(asio::socket_base::shutdown_both, ignored);
          made->stream.close();
          std::lock_guard guard{self->mutex_};
          self->open_.erase(made.get());
        },
        asio::detached);
    }
  }

  awaitable<bool> send(connection_ptr to, std::string bytes) {
    // A reader may be slow, not dead: each write has the time, and a write is one piece.
    to->stream.expires_after(limits_.stalled);
    auto [ec, count] = co_await asio::async_write(to->stream, asio::buffer(bytes), as_awaitable);
    co_return !ec;
  }

  awaitable<bool> refuse(connection_ptr from, int status, std::string detail) {
    auto title = http::obsolete_reason(static_cast<http::status>(status));
    server_response response{status, "application/problem+json",
                             R"({"type":"about:blank","title":")" + std::string{title} + R"(","status":)" + std::to_string(status) + R"(,"detail":")"
                               + detail + "\"}\n", {}};
    if (co_await send(from, render_header(response, false, false, false))) {
      // Closing on a client that still sends resets the connection, and the answer with it: let it come to an end, for a while.
      error_code ec;
      from->stream.socket().shutdown(asio::socket_base::shutdown_send, ec);
      from->stream.expires_after(linger_time);
      std::vector<char> rest(64 * 1024);
      for (std::size_t total = 0; !ec && total < linger_bytes;) {
        auto [read_ec, count] = co_await from->stream.async_read_some(asio::buffer(rest), as_awaitable);
        ec = read_ec;
        total += count;
      }
    }
    co_return false;
  }

  awaitable<void> serve(connection_ptr from) {
    bool go_on = true;
    while (go_on)
      go_on = co_await serve_one(from);
  }

  awaitable<bool> serve_one(connection_ptr from) {
    http::request_parser<http::string_body> parser;
    parser.header_limit(static_cast<std::uint32_t>(limits_.header_bytes));
    parser.body_limit(limits_.body_bytes);
    from->stream.expires_after(limits_.idle);
    auto [ec, count] = co_await http::async_read(from->stream, from->buffer, parser, as_awaitable);
    if (ec == http::error::body_limit)
      co_return co_await refuse(from, 413, "the body is longer than " + std::to_string(limits_.body_bytes) + " bytes");
    if (ec == http::error::header_limit)
      co_return co_await refuse(from, 431, "the header is longer than " + std::to_string(limits_.header_bytes) + " bytes");
    if (ec == beast::error::timeout && parser.got_some())
      co_return co_await refuse(from, 408, "the request did not come in time");
    if (ec && ec.category() == http::make_error_code(http::error::bad_method).category() && ec != http::error::end_of_stream
        && ec != http::error::partial_message)
      co_return co_await refuse(from, 400, "this is no HTTP/1.1 request");
    if (ec)
      co_return false;
    server_request request;
    auto& message = parser.get();
    request.method = std::string{message.method_string()};
    for (const auto& field : message) {
      std::string name{field.name_string()};
      std::transform(name.begin(), name.end(), name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
      request.headers.emplace(std::move(name), std::string{field.value()});
    }
    if (!read_target({message.target().data(), message.target().size()}, request))
      co_return co_await refuse(from, 400, "the request's target is malformed");
    auto keep_alive = message.keep_alive();
    auto head = message.method() == http::verb::head;
    request.body = std::move(message.body());
    auto state = std::make_shared<exchange_state>(from->get_executor(), std::move(request));
    watch(from, state);
    handler_(state);
    bool good = true;
    while (good) {
      auto work = state->take();
      if (work.closed) {
        good = false;
        for (auto& one : work.pieces)
          if (one.written)
            one.written(false);
        break;
      }
      if (work.empty()) {
        co_await state->sleep();
        continue;
      }
      if (work.header)
        good = co_await send(from, render_header(*work.header, work.chunked, keep_alive, head));
      for (auto& one : work.pieces) {
        if (good && !one.bytes.empty() && !head)
          good = co_await send(from, std::move(one.bytes));
        if (one.written)
          one.written(good);
      }
      if (work.finished) {
        if (good && work.chunked && !head)
          good = co_await send(from, "0\r\n\r\n");
        break;
      }
    }
    state->close(!good);
    from->stream.socket().cancel();
    co_return good && keep_alive;
  }

  /// Sees a client that goes while its answer is being made.
  void watch(connection_ptr from, std::shared_ptr<exchange_state> state) {
    auto& socket = from->stream.socket();
    socket.async_wait(asio::socket_base::wait_read, asio::bind_executor(from->get_executor(), [from, state](error_code ec) {
      if (ec)
        return;
      char byte;
      auto fd = from->stream.socket().native_handle();
      auto count = ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
      if (count == 0 || (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK))
        state->close(true);
    }));
  }

  asio::io_context& context_;
  typename Protocol::acceptor acceptor_;
  endpoint where_;
  server_limits limits_;
  std::function<void(exchange_ptr)> handler_;
  std::mutex mutex_;
  std::set<connection*> open_;
  bool stopping_ = false;
};

template <class Protocol>
error listen_on(typename Protocol::acceptor& acceptor, const typename Protocol::endpoint& address) {
  error_code ec;
  acceptor.open(address.protocol(), ec);
  if (!ec && std::is_same_v<Protocol, asio::ip::tcp>)
    acceptor.set_option(asio::socket_base::reuse_address{true}, ec);
  if (!ec)
    acceptor.bind(address, ec);
  if (!ec)
    acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (ec)
    return {ec.value() == EACCES ? engine_errc::permission : engine_errc::unreachable, 0, ec.message()};
  return {};
}

} // namespace

result<std::shared_ptr<http_server>> http_server::listen(asio::io_context& context, const endpoint& where, server_limits limits,
                                                         std::function<void(exchange_ptr)> handler) {
  auto fail = [&](const error& e) { return error{e.code, 0, "cannot listen on " + to_string(where) + ": " + e.message}; };
  if (where.is_unix()) {
    using local = asio::local::stream_protocol;
    // A socket that nobody listens on is a leftover of a process that was killed.
    local::socket probe{context};
    error_code ec;
    probe.connect(local::endpoint{where.path}, ec);
    if (!ec)
      return fail({engine_errc::refused, 0, "another process listens there"});
    if (ec.value() == ECONNREFUSED)
      ::unlink(where.path.c_str());
    auto server = std::make_shared<server_of<local>>(context, where, limits, std::move(handler));
    auto before = ::umask(0117);
    auto e = listen_on<local>(server->acceptor(), local::endpoint{where.path});
    ::umask(before);
    if (e.code != engine_errc::none)
      return fail(e);
    server->run();
    return std::shared_ptr<http_server>{server};
  }
  using tcp = asio::ip::tcp;
  error_code ec;
  tcp::resolver resolver{context};
  auto addresses = resolver.resolve(where.host, std::to_string(where.port), tcp::resolver::passive | tcp::resolver::numeric_service, ec);
  if (ec || addresses.empty())
    return fail({engine_errc::unreachable, 0, ec.message()});
  auto server = std::make_shared<server_of<tcp>>(context, where, limits, std::move(handler));
  auto e = listen_on<tcp>(server->acceptor(), addresses.begin()->endpoint());
  if (e.code != engine_errc::none)
    return fail(e);
  server->run();
  return std::shared_ptr<http_server>{server};
}

} // namespace davit::transport
