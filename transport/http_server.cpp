#include "transport/http_server.hpp"

#include "transport/byte_stream.hpp"
#include "transport/spawn.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <openssl/err.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <filesystem>
#include <list>
#include <mutex>
#include <poll.h>
#include <set>
#include <sys/resource.h>
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

/// The certificate and key of a TLS server, read again when their files have changed.
class server_certificate {
public:
  explicit server_certificate(tls_settings settings) : settings_(std::move(settings)) {}

  /// What a new connection is to use; an error if there never was anything good.
  result<std::shared_ptr<asio::ssl::context>> current() {
    std::lock_guard guard{mutex_};
    auto seen = stamps();
    if (context_ && seen == seen_)
      return context_;
    auto made = load();
    if (made) {
      context_ = *made;
      seen_ = seen;
    } else if (!context_) { // half a renewal: the old one serves on
      return made.error();
    }
    return context_;
  }

private:
  using stamp_list = std::vector<std::filesystem::file_time_type>;

  stamp_list stamps() const {
    stamp_list all;
    std::error_code ec;
    for (const auto* file : {&settings_.certificate, &settings_.key, &settings_.ca})
      if (!file->empty())
        all.push_back(std::filesystem::last_write_time(*file, ec));
    return all;
  }

  result<std::shared_ptr<asio::ssl::context>> load() const {
    auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
    auto handle = context->native_handle();
    SSL_CTX_set_min_proto_version(handle, TLS1_2_VERSION);
    ERR_clear_error();
    auto fail = [](const std::string& what) {
      auto code = ERR_get_error();
      auto reason = code ? ERR_reason_error_string(code) : nullptr;
      return error{engine_errc::tls, 0, what + (reason ? std::string{": "} + reason : std::string{})};
    };
    if (SSL_CTX_use_certificate_chain_file(handle, settings_.certificate.c_str()) != 1)
      return fail(settings_.certificate + " holds no certificate in PEM");
    if (SSL_CTX_use_PrivateKey_file(handle, settings_.key.c_str(), SSL_FILETYPE_PEM) != 1)
      return fail(settings_.key + " holds no key that fits " + settings_.certificate);
    if (!settings_.ca.empty()) {
      if (SSL_CTX_load_verify_locations(handle, settings_.ca.c_str(), nullptr) != 1)
        return fail(settings_.ca + " holds no certificate authority in PEM");
      context->set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
    }
    return context;
  }

  tls_settings settings_;
  std::mutex mutex_;
  std::shared_ptr<asio::ssl::context> context_;
  stamp_list seen_;
};

std::string common_name(SSL* session) {
  std::unique_ptr<X509, decltype(&X509_free)> shown{SSL_get1_peer_certificate(session), &X509_free};
  if (!shown)
    return {};
  char name[256]{};
  X509_NAME_get_text_by_NID(X509_get_subject_name(shown.get()), NID_commonName, name, sizeof name);
  return name;
}

template <class Protocol, bool Secure = false>
class server_of final : public http_server, public std::enable_shared_from_this<server_of<Protocol, Secure>> {
public:
  using plain_stream = beast::basic_stream<Protocol>;
  using stream_type = std::conditional_t<Secure, asio::ssl::stream<plain_stream>, plain_stream>;

  server_of(asio::io_context& context, endpoint where, server_limits limits, std::function<void(exchange_ptr)> handler)
    : context_(context), acceptor_(asio::make_strand(context)), where_(std::move(where)), limits_(limits), handler_(std::move(handler)),
      certificate_(where_.tls.value_or(tls_settings{})) {
  }

  server_certificate& certificate() { return certificate_; }

  typename Protocol::acceptor& acceptor() { return acceptor_; }

  void run() {
    if constexpr (std::is_same_v<Protocol, asio::ip::tcp>)
      where_.port = acceptor_.local_endpoint().port();
    spawn_detached(acceptor_.get_executor(), "the HTTP server's accept loop",
                   [self = this->shared_from_this()]() -> awaitable<void> { co_await self->accept(); });
  }

  endpoint where() const override { return where_; }

  void stop() override {
    asio::post(acceptor_.get_executor(), [self = this->shared_from_this()] {
      error_code ignored;
      self->acceptor_.close(ignored);
      if (self->where_.is_unix())
        ::unlink(self->where_.path.c_str());
    });
    std::lock_guard guard{open_->mutex};
    open_->stopping = true;
    for (auto one : open_->all)
      close_later(*one);
  }

private:
  struct connection;

  /// The connections that live. Each takes itself out when it is destroyed, however its coroutine ends.
  struct connection_list {
    std::mutex mutex;
    std::set<connection*> all; ///< Guarded, as is what they say of being idle.
    bool stopping = false;
  };

  struct connection : std::enable_shared_from_this<connection> {
    template <class... Context>
    explicit connection(std::shared_ptr<connection_list> among, typename Protocol::socket socket, Context&&... context)
      : list(std::move(among)), stream(plain_stream{std::move(socket)}, std::forward<Context>(context)...) {}
    ~connection() {
      std::lock_guard guard{list->mutex};
      list->all.erase(this);
    }
    auto get_executor() { return stream.get_executor(); }
    plain_stream& lowest() {
      if constexpr (Secure)
        return stream.next_layer();
      else
        return stream;
    }
    std::shared_ptr<connection_list> list;
    std::shared_ptr<asio::ssl::context> context; ///< Of the TLS session.
    stream_type stream;
    beast::flat_buffer buffer;
    server_peer peer;
    std::optional<std::chrono::steady_clock::time_point> idle_since = std::chrono::steady_clock::now(); ///< No request is being answered. Guarded by the list's mutex.
  };
  using connection_ptr = std::shared_ptr<connection>;

  /// Null: there is no certificate to show at the moment.
  connection_ptr make_connection(typename Protocol::socket socket) {
    if constexpr (Secure) {
      auto context = certificate_.current();
      if (!context)
        return nullptr;
      auto made = std::make_shared<connection>(open_, std::move(socket), **context);
      made->context = *context;
      return made;
    } else {
      return std::make_shared<connection>(open_, std::move(socket));
    }
  }

  static server_peer peer_of(typename Protocol::socket& socket) {
    server_peer peer;
    if constexpr (std::is_same_v<Protocol, asio::ip::tcp>) {
      error_code ec;
      auto remote = socket.remote_endpoint(ec);
      if (!ec)
        peer.address = remote.address().to_string();
    } else {
      ucred who{};
      socklen_t size = sizeof who;
      if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &who, &size) == 0) {
        peer.local = true;
        peer.uid = who.uid;
        peer.gid = who.gid;
        peer.pid = who.pid;
      }
    }
    return peer;
  }

  static void close_later(connection& which) {
    asio::post(which.get_executor(), [weak = which.weak_from_this()] {
      if (auto one = weak.lock())
        one->lowest().close();
    });
  }

  /// Whoever holds connections open without asking for anything must not keep others out. Call with the mutex.
  bool make_room() {
    if (open_->all.size() < limits_.connections)
      return true;
    connection* longest = nullptr;
    for (auto one : open_->all)
      if (one->idle_since && (!longest || *one->idle_since < *longest->idle_since))
        longest = one;
    if (!longest)
      return false;
    longest->idle_since.reset(); // not to be chosen again
    close_later(*longest);
    return true;
  }

  void mark(const connection_ptr& one, bool idle) {
    std::lock_guard guard{open_->mutex};
    if (idle)
      one->idle_since = std::chrono::steady_clock::now();
    else
      one->idle_since.reset();
  }

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
      auto peer = peer_of(accepted);
      auto made = make_connection(std::move(accepted));
      if (!made)
        continue;
      made->peer = std::move(peer);
      {
        std::lock_guard guard{open_->mutex};
        if (open_->stopping || !make_room())
          continue; // closed by going out of scope
        open_->all.insert(made.get());
      }
      spawn_detached(made->get_executor(), "an HTTP connection",
                     [self = this->shared_from_this(), made]() -> awaitable<void> {
                       co_await self->serve(made);
                       error_code ignored;
                       made->lowest().socket().shutdown(asio::socket_base::shutdown_both, ignored);
                       made->lowest().close();
                     });
    }
  }

  awaitable<bool> send(connection_ptr to, std::string bytes) {
    // A reader may be slow, not dead: each write has the time, and a write is one piece.
    to->lowest().expires_after(limits_.stalled);
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
      from->lowest().socket().shutdown(asio::socket_base::shutdown_send, ec);
      from->lowest().expires_after(linger_time);
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
    if constexpr (Secure) {
      from->lowest().expires_after(limits_.header);
      auto [ec] = co_await from->stream.async_handshake(asio::ssl::stream_base::server, as_awaitable);
      if (ec)
        co_return;
      from->peer.certificate = common_name(from->stream.native_handle());
    }
    bool go_on = true;
    while (go_on) {
      mark(from, true);
      go_on = co_await serve_one(from);
    }
  }

  awaitable<bool> serve_one(connection_ptr from) {
    http::request_parser<http::string_body> parser;
    parser.header_limit(static_cast<std::uint32_t>(limits_.header_bytes));
    parser.body_limit(limits_.body_bytes);
    if (from->buffer.size() == 0) {
      from->lowest().expires_after(limits_.idle);
      auto [ec, count] = co_await from->stream.async_read_some(from->buffer.prepare(4096), as_awaitable);
      if (ec || count == 0)
        co_return false;
      from->buffer.commit(count);
    }
    from->lowest().expires_after(limits_.header);
    auto [ec, count] = co_await http::async_read_header(from->stream, from->buffer, parser, as_awaitable);
    mark(from, ec.failed());
    if (!ec && !parser.is_done()) {
      from->lowest().expires_after(limits_.body);
      auto [body_ec, body_count] = co_await http::async_read(from->stream, from->buffer, parser, as_awaitable);
      ec = body_ec;
    }
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
    request.peer = from->peer;
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
    error_code ignored; // make_room may have closed it
    from->lowest().socket().cancel(ignored);
    co_return good && keep_alive;
  }

  /// Sees a client that goes while its answer is being made.
  void watch(connection_ptr from, std::shared_ptr<exchange_state> state) {
    from->lowest().socket().async_wait(asio::socket_base::wait_read, asio::bind_executor(from->get_executor(), [from, state](error_code ec) {
      if (ec)
        return;
      // Behind what it may have sent on top (a request more, or TLS' own farewell) the end is seen all the same.
      pollfd look{from->lowest().socket().native_handle(), POLLRDHUP, 0};
      if (::poll(&look, 1, 0) > 0 && (look.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0)
        state->close(true);
    }));
  }

  asio::io_context& context_;
  typename Protocol::acceptor acceptor_;
  endpoint where_;
  server_limits limits_;
  std::function<void(exchange_ptr)> handler_;
  std::shared_ptr<connection_list> open_ = std::make_shared<connection_list>();
  server_certificate certificate_;
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
  // Half of the process's descriptors are for all else that it does: engines, the store, logs.
  if (rlimit files{}; ::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY)
    limits.connections = std::clamp<std::size_t>(limits.connections, 1, std::max<std::size_t>(files.rlim_cur / 2, 1));
  if (where.is_unix()) {
    using local = asio::local::stream_protocol;
    // A socket that nobody listens on is a leftover of a process that was killed.
    local::socket probe{context};
    error_code ec;
    probe.connect(local::endpoint{where.path}, ec);
    if (!ec)
      return fail({engine_errc::refused, 0, "another process listens there"});
    struct stat there{};
    auto is_there = ::lstat(where.path.c_str(), &there) == 0;
    if (is_there && !S_ISSOCK(there.st_mode))
      return fail({engine_errc::refused, 0, "there is a file of this name, which is no socket"});
    if (is_there && ec.value() == ECONNREFUSED)
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
  auto start = [&](auto server) -> result<std::shared_ptr<http_server>> {
    auto e = listen_on<tcp>(server->acceptor(), addresses.begin()->endpoint());
    if (e.code != engine_errc::none)
      return fail(e);
    server->run();
    return std::shared_ptr<http_server>{server};
  };
  if (!where.tls)
    return start(std::make_shared<server_of<tcp>>(context, where, limits, std::move(handler)));
  auto server = std::make_shared<server_of<tcp, true>>(context, where, limits, std::move(handler));
  if (auto good = server->certificate().current(); !good)
    return fail(good.error());
  return start(std::move(server));
}

} // namespace davit::transport
