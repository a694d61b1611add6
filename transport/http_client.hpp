// HTTP/1.1 to one endpoint, over connections that are kept and used again.
#pragma once

#include "transport/byte_channel.hpp"
#include "transport/byte_stream.hpp"
#include "transport/response_reader.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace davit::transport {

/// Lets another thread withdraw a call.
class call_control {
public:
  /// Ends the call with an error of kind `cancelled`. Thread-safe, idempotent.
  void cancel();
  bool cancelled() const;

private:
  friend class http_client;
  friend class control_scope;
  void bind(std::function<void()> on_cancel);

  mutable std::mutex mutex_;
  bool cancelled_ = false;
  std::function<void()> on_cancel_;
};

using control_ptr = std::shared_ptr<call_control>;

struct call_options {
  deadline until = no_deadline;
  control_ptr control;                     ///< May be null.
  std::size_t max_body = 16 * 1024 * 1024; ///< Of an answer that is read whole; more is an error.
};

struct http_request {
  std::string method = "GET";
  std::string target;
  std::string body;
  std::string_view long_body; ///< In place of `body`: it is not copied, and must outlive the call.
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  /// Where the body comes from, instead of `body`; sent in chunks. If it fails, so does the request.
  std::shared_ptr<byte_channel> body_from = nullptr;
};

struct http_response {
  int status = 0;
  std::string body;
  std::function<std::string(std::string_view)> header;
};

/// While it lives, cancelling the control closes the stream.
class control_scope {
public:
  control_scope(control_ptr control, boost::asio::any_io_executor executor, byte_stream& stream);
  control_scope(const control_scope&) = delete;
  control_scope& operator=(const control_scope&) = delete;
  ~control_scope();
  bool cancelled() const { return control_ && control_->cancelled(); }

private:
  control_ptr control_;
  std::shared_ptr<byte_stream*> target_;
};

class http_client;

/// An answer whose body is read piece by piece: the connection's window is the back-pressure. Read to its end it gives
/// the connection back.
class response_stream {
public:
  response_stream(std::shared_ptr<http_client> client, std::unique_ptr<byte_stream> stream, response_reader reader,
                  std::string first, std::unique_ptr<control_scope> scope);
  ~response_stream();

  int status() const { return reader_.status(); }
  std::string header(std::string_view name) const { return reader_.header(name); }
  /// What has read the answer, to be asked for its header. Nothing may be read afterwards.
  response_reader take_reader() { return std::move(reader_); }

  /// The next bytes of the body; empty at its end. An error if the connection ends before the body does.
  /// The view lives until the next call.
  awaitable<result<std::string_view>> read(deadline until);

  void close() noexcept;

private:
  void give_back();

  std::shared_ptr<http_client> client_;
  std::unique_ptr<byte_stream> stream_;  ///< None: the body has ended.
  std::unique_ptr<control_scope> scope_; ///< Cancelling reaches the body too.
  response_reader reader_;
  std::string body_;  ///< What the last feed gave.
  bool fresh_ = true; ///< body_ was not handed out yet.
  std::vector<char> buffer_;
};

/// A connection that has left HTTP behind (101 Switching Protocols, or the raw stream that Docker gives).
struct hijacked_stream {
  std::unique_ptr<byte_stream> stream;
  std::string first; ///< Came with the answer's header.
  std::string content_type;
};

/// What the Host header says of an endpoint: with the port, unless it is the scheme's own.
std::string host_header(const endpoint& where);

/// Everything runs on `executor`, which is a strand (or a single thread).
class http_client : public std::enable_shared_from_this<http_client> {
public:
  http_client(boost::asio::any_io_executor executor, endpoint where);

  /// An answer of any status is a value. A connection that the server had closed while it waited is replaced.
  awaitable<result<http_response>> request(http_request request, call_options options);

  /// As request(), but the body is left to be read. `options.until` covers up to the answer's header.
  awaitable<result<std::unique_ptr<response_stream>>> open(http_request request, call_options options);

  /// Asks for `Upgrade: tcp`. An answer other than 101 and 200 is an error with the server's message.
  awaitable<result<hijacked_stream>> hijack(http_request request, call_options options);

  const endpoint& where() const noexcept { return where_; }
  boost::asio::any_io_executor executor() const { return executor_; }

  /// Closes the connections that wait.
  void drop_idle();

private:
  friend class response_stream;
  awaitable<result<std::unique_ptr<byte_stream>>> acquire(deadline until);
  void release(std::unique_ptr<byte_stream> stream);
  std::string render(const http_request& request, bool upgrade) const;

  boost::asio::any_io_executor executor_;
  endpoint where_;
  std::vector<std::unique_ptr<byte_stream>> idle_;
};

/// Percent-encodes what may not stand in a query's value or a path's segment: RFC 3986, 2.3.
std::string url_encode(std::string_view text);

} // namespace davit::transport
