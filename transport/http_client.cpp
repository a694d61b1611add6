#include "transport/http_client.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include <array>

namespace davit::transport {

namespace asio = boost::asio;

namespace {

constexpr std::size_t max_idle = 16;
constexpr std::size_t read_bytes = 64 * 1024;

const error cancelled_error{engine_errc::cancelled, 0, "the call was cancelled"};

} // namespace

// -- call_control ----------------------------------------------------------------------------------------------------

void call_control::cancel() {
  // With the mutex, so that the end of the call waits until this thread has let go of the call's executor: nothing else
  // keeps its io_context. It only posts.
  std::lock_guard guard{mutex_};
  cancelled_ = true;
  if (on_cancel_)
    on_cancel_();
  on_cancel_ = nullptr;
}

bool call_control::cancelled() const {
  std::lock_guard guard{mutex_};
  return cancelled_;
}

void call_control::bind(std::function<void()> on_cancel) {
  bool now = false;
  {
    std::lock_guard guard{mutex_};
    now = cancelled_ && on_cancel;
    on_cancel_ = now ? nullptr : on_cancel;
  }
  if (now)
    on_cancel();
}

control_scope::control_scope(control_ptr control, asio::any_io_executor executor, byte_stream& stream)
  : control_(std::move(control)) {
  if (!control_)
    return;
  target_ = std::make_shared<byte_stream*>(&stream);
  // The pointer is looked at on the strand alone, where this scope ends too.
  control_->bind([executor, target = target_] {
    asio::post(executor, [target] {
      if (*target)
        (*target)->close();
    });
  });
}

control_scope::~control_scope() {
  if (!control_)
    return;
  *target_ = nullptr;
  control_->bind(nullptr);
}

// -- response_stream -------------------------------------------------------------------------------------------------

response_stream::response_stream(std::shared_ptr<http_client> client, std::unique_ptr<byte_stream> stream,
                                 response_reader reader, std::string first, std::unique_ptr<control_scope> scope)
  : client_(std::move(client)), stream_(std::move(stream)), scope_(std::move(scope)), reader_(std::move(reader)),
    body_(std::move(first)) {}

response_stream::~response_stream() = default;

void response_stream::close() noexcept {
  if (stream_)
    stream_->close();
}

void response_stream::give_back() {
  if (!stream_)
    return;
  scope_.reset(); // before the connection goes on to somebody else
  if (reader_.done() && reader_.keep_alive())
    client_->release(std::move(stream_));
  stream_.reset();
}

awaitable<result<std::string_view>> response_stream::read(deadline until) {
  if (fresh_ && !body_.empty()) {
    fresh_ = false;
    co_return std::string_view{body_};
  }
  body_.clear();
  if (stream_ && !reader_.done())
    buffer_.resize(read_bytes);
  while (stream_ && !reader_.done()) {
    auto count = co_await stream_->read_some(buffer_, until);
    if (!count)
      co_return scope_->cancelled() ? cancelled_error : count.error();
    if (*count == 0) {
      auto ended = reader_.finish();
      if (!ended)
        co_return ended.error();
      break;
    }
    auto fed = reader_.feed({buffer_.data(), *count}, [this](std::string_view piece) { body_.append(piece); });
    if (!fed)
      co_return fed.error();
    if (!body_.empty()) {
      fresh_ = false;
      co_return std::string_view{body_};
    }
  }
  give_back();
  co_return std::string_view{};
}

// -- http_client -----------------------------------------------------------------------------------------------------

http_client::http_client(asio::any_io_executor executor, endpoint where)
  : executor_(std::move(executor)), where_(std::move(where)) {}

std::string host_header(const endpoint& where) {
  if (where.is_unix())
    return "docker";
  auto host = where.host.find(':') == std::string::npos ? where.host : '[' + where.host + ']';
  return where.port == (where.tls ? 443 : 80) ? host : host + ':' + std::to_string(where.port);
}

std::string http_client::render(const http_request& request, bool upgrade) const {
  std::string text = request.method + ' ' + request.target + " HTTP/1.1\r\nHost: ";
  text += host_header(where_);
  text += "\r\nUser-Agent: davit\r\n";
  for (const auto& [name, value] : request.headers)
    text.append(name).append(": ").append(value).append("\r\n");
  if (upgrade)
    text += "Connection: Upgrade\r\nUpgrade: tcp\r\n";
  auto size = request.body.size() + request.long_body.size();
  if (size != 0 || request.body_from)
    text.append("Content-Type: ").append(request.content_type).append("\r\n");
  if (request.body_from)
    text += "Transfer-Encoding: chunked\r\n";
  else if (size != 0 || request.method == "POST" || request.method == "PUT")
    text.append("Content-Length: ").append(std::to_string(size)).append("\r\n");
  text += "\r\n";
  text += request.body;
  return text;
}

namespace {

/// How long a server may take nothing of a body that is sent in chunks, and how long the body's source may give
/// nothing.
constexpr std::chrono::minutes chunk_patience{5};

/// RFC 9112, 7.1.
awaitable<result<std::size_t>> write_chunks(byte_stream& to, byte_channel& from) {
  while (true) {
    auto piece = co_await from.pop_async(within(chunk_patience));
    if (!piece)
      co_return piece.error();
    std::array<char, 20> size;
    auto digits = std::snprintf(size.data(), size.size(), "%zx\r\n", piece->size());
    auto last = piece->empty();
    piece->insert(0, size.data(), static_cast<std::size_t>(digits));
    *piece += "\r\n";
    auto written = co_await to.write(*piece, within(chunk_patience));
    if (!written || last)
      co_return written;
  }
}

} // namespace

awaitable<result<std::unique_ptr<byte_stream>>> http_client::acquire(deadline until) {
  while (!idle_.empty()) {
    auto stream = std::move(idle_.back());
    idle_.pop_back();
    if (stream->idle_and_alive())
      co_return stream;
  }
  co_return co_await connect(where_, until);
}

void http_client::release(std::unique_ptr<byte_stream> stream) {
  if (idle_.size() < max_idle)
    idle_.push_back(std::move(stream));
}

void http_client::drop_idle() {
  idle_.clear();
}

awaitable<result<std::unique_ptr<response_stream>>> http_client::open(http_request request, call_options options) {
  auto self = shared_from_this();
  if (options.control && options.control->cancelled())
    co_return cancelled_error;
  auto acquired = co_await acquire(options.until);
  if (!acquired)
    co_return acquired.error();
  auto stream = std::move(*acquired);
  auto scope = std::make_unique<control_scope>(options.control, executor_, *stream);
  auto text = render(request, false);
  auto written = co_await stream->write(text, options.until);
  if (written && !request.long_body.empty())
    written = co_await stream->write(request.long_body, options.until);
  if (written && request.body_from) {
    written = co_await write_chunks(*stream, *request.body_from);
    if (auto failed = request.body_from->failure(); failed && !scope->cancelled())
      co_return *failed; // with the connection, so that the server sees that the body is not whole
  }
  if (!written && (scope->cancelled() || written.error().code != engine_errc::lost))
    co_return scope->cancelled() ? cancelled_error : written.error();
  // A server that takes no more of the request may have said why.
  response_reader reader{request.method == "HEAD"};
  std::string first;
  std::array<char, 8 * 1024> buffer; // not filled with zeros for each request
  while (!reader.header_done()) {
    auto count = co_await stream->read_some(buffer, options.until);
    if (!count)
      co_return scope->cancelled() ? cancelled_error : !written ? written.error() : count.error();
    if (*count == 0) {
      auto ended = reader.finish();
      if (!written)
        co_return written.error();
      co_return ended ? error{engine_errc::lost, 0, "the connection ended before the answer"} : ended.error();
    }
    auto fed = reader.feed({buffer.data(), *count}, [&first](std::string_view piece) { first.append(piece); });
    if (!fed)
      co_return fed.error();
  }
  co_return std::make_unique<response_stream>(self, std::move(stream), std::move(reader), std::move(first),
                                              std::move(scope));
}

awaitable<result<http_response>> http_client::request(http_request request, call_options options) {
  auto self = shared_from_this();
  auto opened = co_await open(std::move(request), options);
  if (!opened)
    co_return opened.error();
  auto answer = std::move(*opened);
  http_response response;
  response.status = answer->status();
  while (true) {
    auto piece = co_await answer->read(options.until);
    if (!piece)
      co_return piece.error();
    if (piece->empty())
      break;
    if (response.body.size() + piece->size() > options.max_body)
      co_return error{engine_errc::protocol, response.status,
                      "the answer is longer than " + std::to_string(options.max_body) + " bytes"};
    response.body.append(*piece);
  }
  // Without the connection and its client: an answer may outlive them, and the io_context too.
  auto reader = std::make_shared<const response_reader>(answer->take_reader());
  response.header = [reader = std::move(reader)](std::string_view name) { return reader->header(name); };
  co_return response;
}

awaitable<result<hijacked_stream>> http_client::hijack(http_request request, call_options options) {
  auto self = shared_from_this();
  auto connected = co_await connect(where_, options.until);
  if (!connected)
    co_return connected.error();
  auto stream = std::move(*connected);
  control_scope scope{options.control, executor_, *stream};
  auto text = render(request, true);
  auto written = co_await stream->write(text, options.until);
  if (!written)
    co_return written.error();
  response_reader reader;
  hijacked_stream hijacked;
  std::array<char, 8 * 1024> buffer; // not filled with zeros for each request
  while (!reader.header_done()) {
    auto count = co_await stream->read_some(buffer, options.until);
    if (!count)
      co_return count.error();
    if (*count == 0)
      co_return error{engine_errc::lost, 0, "the connection ended before the answer"};
    auto fed = reader.feed({buffer.data(), *count}, [&](std::string_view piece) { hijacked.first.append(piece); });
    if (!fed)
      co_return fed.error();
  }
  if (reader.status() != 101 && reader.status() != 200) {
    while (!reader.done() && hijacked.first.size() < 64 * 1024) {
      auto count = co_await stream->read_some(buffer, options.until);
      if (!count || *count == 0)
        break;
      if (!reader.feed({buffer.data(), *count}, [&](std::string_view piece) { hijacked.first.append(piece); }))
        break;
    }
    co_return error{engine_errc::refused, reader.status(), hijacked.first};
  }
  hijacked.content_type = reader.header("Content-Type");
  hijacked.first += reader.take_leftover();
  hijacked.stream = std::move(stream);
  co_return hijacked;
}

std::string url_encode(std::string_view text) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string encoded;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'
        || c == '~')
      encoded += c;
    else
      encoded.append({'%', digits[byte >> 4], digits[byte & 15]});
  }
  return encoded;
}

} // namespace davit::transport
