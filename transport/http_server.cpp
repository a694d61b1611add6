#include "transport/http_server.hpp"

#include "transport/as_awaitable.hpp"
#include "transport/awaitable.hpp"
#include "transport/http_connection.hpp"
#include "transport/guest_executor.hpp"
#include "transport/open_connections.hpp"
#include "transport/server_certificate.hpp"
#include "transport/server_socket.hpp"
#include "transport/spawn.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include <algorithm>
#include <sys/resource.h>
#include <unistd.h>

namespace davit::transport {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr std::chrono::milliseconds accept_pause{50}, closing_pause{1};
constexpr int closing_pauses = 20;

/// Half of the process's descriptors are for all else that it does: engines, the store, logs. What is left of the other
/// half is for connections that are being closed.
std::shared_ptr<open_connections> places_for(std::size_t wanted) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY)
    return std::make_shared<open_connections>(wanted, wanted);
  const std::size_t half = std::max<std::size_t>(files.rlim_cur / 2, 1),
                    most = std::clamp<std::size_t>(wanted, 1, half);
  return std::make_shared<open_connections>(most, std::min(most, half - most + most / 4));
}

class listening_server final : public http_server, public std::enable_shared_from_this<listening_server> {
public:
  listening_server(io_runtime& io, endpoint where, stream_acceptor acceptor,
                   std::shared_ptr<const connection_rules> rules, std::unique_ptr<server_certificate> certificate,
                   std::shared_ptr<open_connections> open)
    : io_(io), acceptor_(std::move(acceptor)), where_(std::move(where)), rules_(std::move(rules)),
      open_(open ? std::move(open) : places_for(rules_->limits.connections)), certificate_(std::move(certificate)) {
    if (!where_.is_unix())
      where_.port = port_of(acceptor_);
  }

  void run() {
    spawn_detached(acceptor_.get_executor(), "the HTTP server's accept loop",
                   [self = shared_from_this()]() -> awaitable<void> { co_await self->accept(); });
  }

  endpoint where() const override { return where_; }

  const std::shared_ptr<open_connections>& connections() const override { return open_; }

  void stop() override {
    asio::post(acceptor_.get_executor(), [self = shared_from_this()] {
      if (!self->acceptor_.is_open())
        return;
      if (self->where_.is_unix()) // before the end: afterwards another server's may be there
        ::unlink(self->where_.path.c_str());
      error_code ignored;
      self->acceptor_.close(ignored);
    });
    open_->close_all();
  }

private:
  awaitable<void> accept() {
    while (true) {
      // They have their descriptors still. One that waits for its own answer may be long: nobody else waits for that.
      for (int i = 0; i < closing_pauses && open_->has_many_closing(); ++i) {
        asio::steady_timer pause{acceptor_.get_executor(), closing_pause};
        co_await pause.async_wait(as_awaitable);
      }
      auto visitor = std::make_shared<guest>();
      auto [ec, socket] = co_await acceptor_.async_accept(guest_strand(io_, visitor), as_awaitable);
      if (!acceptor_.is_open())
        co_return;
      if (ec) { // out of descriptors, for instance: the next may do
        asio::steady_timer pause{acceptor_.get_executor(), accept_pause};
        co_await pause.async_wait(as_awaitable);
        continue;
      }
      std::shared_ptr<asio::ssl::context> tls;
      if (certificate_) {
        auto current = certificate_->current();
        if (!current)
          continue;
        tls = *current;
      }
      stream_socket stream{std::move(socket)};
      visitor->from = origin_of(peer_of(stream));
      serve_connection(rules_, open_, std::move(stream), std::move(tls), std::move(visitor));
    }
  }

  io_runtime& io_;
  stream_acceptor acceptor_;
  endpoint where_;
  std::shared_ptr<const connection_rules> rules_;
  std::shared_ptr<open_connections> open_;
  std::unique_ptr<server_certificate> certificate_; ///< None: without TLS.
};

} // namespace

result<std::shared_ptr<http_server>> http_server::listen(io_runtime& io, const endpoint& where, server_limits limits,
                                                         std::function<void(exchange_ptr)> on_header,
                                                         std::shared_ptr<open_connections> connections) {
  auto fail = [&](const error& e) {
    return error{e.code, 0, "cannot listen on " + to_string(where) + ": " + e.message};
  };
  std::unique_ptr<server_certificate> certificate;
  if (where.tls && !where.is_unix()) {
    certificate = std::make_unique<server_certificate>(*where.tls);
    if (auto good = certificate->current(); !good)
      return fail(good.error());
  }
  auto acceptor = open_acceptor(asio::make_strand(io.context()), where);
  if (!acceptor)
    return fail(acceptor.error());
  auto rules = std::make_shared<connection_rules>(connection_rules{limits, std::move(on_header)});
  auto server = std::make_shared<listening_server>(io, where, std::move(*acceptor), std::move(rules),
                                                   std::move(certificate), std::move(connections));
  server->run();
  return std::shared_ptr<http_server>{server};
}

std::function<void(exchange_ptr)> when_whole(std::function<void(exchange_ptr)> on_request) {
  return [on_request = std::move(on_request)](exchange_ptr one) {
    auto& asked = *one;
    asked.read_body([on_request, one = std::move(one)] { on_request(one); });
  };
}

} // namespace davit::transport
