#include "transport/peer_gate.hpp"

#include "transport/as_awaitable.hpp"
#include "transport/guest_executor.hpp"
#include "transport/resolver.hpp"
#include "transport/spawn.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>

#include <deque>
#include <future>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace davit::transport {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;

namespace {

constexpr std::chrono::milliseconds accept_pause{50};
constexpr std::chrono::seconds longest_stop{1};
constexpr std::size_t relay_bytes = 64 * 1024;

using peer_stream = asio::ssl::stream<beast::basic_stream<asio::generic::stream_protocol>>;

/// Three descriptors each; the rest is for all else that the process does.
std::size_t most_connections(std::size_t wanted) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY)
    return wanted;
  return std::clamp<std::size_t>(wanted, 1, std::max<std::size_t>(files.rlim_cur / 16, 8));
}

/// One peer's connection, and the pair of sockets that it goes on by. Everything runs on the stream's strand.
class peer_link : public std::enable_shared_from_this<peer_link> {
public:
  peer_link(stream_socket socket, std::shared_ptr<asio::ssl::context> tls, peer_watch watch, gate_limits limits)
    : tls_(std::move(tls)), watch_(std::move(watch)), limits_(limits),
      stream_(beast::basic_stream<asio::generic::stream_protocol>{std::move(socket)}, *tls_),
      inner_(stream_.get_executor()) {}

  /// False: the list lets nobody in.
  bool enter(open_connections& list, const std::string& address, std::shared_ptr<guest> visitor) {
    auto close = [weak = this->weak_from_this(), executor = stream_.get_executor(), visitor] {
      visitor->leaves();
      asio::post(executor, [weak] {
        if (auto one = weak.lock())
          one->close();
      });
    };
    place_ = list.enter(address, std::move(close), [visitor] { visitor->known = true; });
    return place_ != nullptr;
  }

  awaitable<error_code> shake_hands(asio::ssl::stream_base::handshake_type as, deadline until) {
    lowest().expires_at(until);
    auto [ec] = co_await stream_.async_handshake(as, as_awaitable);
    co_return ec;
  }

  /// Goes on between the peer and a pair of sockets: the other one, or -1 without descriptors.
  int begin() {
    if (place_) { // a peer at work is not closed in favour of others
      place_->known();
      place_->busy();
    }
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
      return -1;
    error_code ec;
    inner_.assign(asio::local::stream_protocol{}, pair[0], ec);
    if (ec) {
      ::close(pair[0]);
      ::close(pair[1]);
      return -1;
    }
    lowest().expires_never();
    spawn_detached(stream_.get_executor(), "what a peer says",
                   [self = this->shared_from_this()] { return self->bring_in(); });
    spawn_detached(stream_.get_executor(), "what a peer is told",
                   [self = this->shared_from_this()] { return self->take_out(); });
    return pair[1];
  }

  void close() {
    error_code ignored;
    lowest().socket().shutdown(asio::socket_base::shutdown_both, ignored);
    lowest().close();
    inner_.close(ignored);
  }

private:
  beast::basic_stream<asio::generic::stream_protocol>& lowest() { return beast::get_lowest_layer(stream_); }

  awaitable<void> bring_in() {
    std::vector<char> bytes(relay_bytes);
    while (true) {
      auto [ec, count] = co_await stream_.async_read_some(asio::buffer(bytes), as_awaitable);
      if (ec || !watch_({bytes.data(), count}))
        break;
      auto [write_ec, written] = co_await asio::async_write(inner_, asio::buffer(bytes.data(), count), as_awaitable);
      if (write_ec)
        break;
    }
    close();
  }

  /// Takes all that there is, however slow the peer: whoever speaks behind the gate has no limit for what waits.
  awaitable<void> take_out() {
    std::vector<char> bytes(relay_bytes);
    while (true) {
      auto [ec, count] = co_await inner_.async_read_some(asio::buffer(bytes), as_awaitable);
      if (ec)
        break;
      unsent_ += count;
      if (unsent_ > limits_.unsent)
        co_return close();
      waiting_.emplace_back(bytes.data(), count);
      if (!std::exchange(sending_, true))
        spawn_detached(stream_.get_executor(), "what a peer is sent",
                       [self = this->shared_from_this()] { return self->send(); });
    }
    over_ = true;
    if (!sending_)
      close();
  }

  awaitable<void> send() {
    while (!waiting_.empty()) {
      asio::steady_timer stalled{stream_.get_executor(), limits_.stalled};
      stalled.async_wait([weak = this->weak_from_this()](error_code cancelled) {
        if (auto one = weak.lock(); one && !cancelled)
          one->close();
      });
      auto [ec, count] = co_await asio::async_write(stream_, asio::buffer(waiting_.front()), as_awaitable);
      if (ec)
        co_return close();
      unsent_ -= waiting_.front().size();
      waiting_.pop_front();
    }
    sending_ = false;
    if (over_)
      close();
  }

  std::shared_ptr<asio::ssl::context> tls_; ///< Outlives the stream.
  peer_watch watch_;
  const gate_limits limits_;
  peer_stream stream_;
  asio::local::stream_protocol::socket inner_;
  std::deque<std::string> waiting_; ///< For the peer.
  std::size_t unsent_ = 0;          ///< Its bytes.
  bool sending_ = false;
  bool over_ = false;                              ///< Nothing more comes for the peer.
  std::shared_ptr<open_connections::place> place_; ///< None: it was made from here.
};

} // namespace

peer_gate::peer_gate(io_runtime& io, tls_settings tls, watch_maker watch, gate_limits limits)
  : io_(io), certificate_(std::move(tls)), watch_(std::move(watch)), limits_(limits),
    open_(std::make_shared<open_connections>(most_connections(limits.connections))) {}

result<std::uint16_t> peer_gate::listen(const host_and_port& where, taker on_peer) {
  if (auto good = certificate_.current(); !good)
    return good.error();
  endpoint at;
  at.host = where.host;
  at.port = where.port;
  auto opened = open_acceptor(asio::make_strand(io_.context()), at);
  if (!opened)
    return opened.error();
  acceptor_ = std::move(*opened);
  auto port = port_of(*acceptor_);
  spawn_detached(acceptor_->get_executor(), "the fleet's accept loop",
                 [self = shared_from_this(), on_peer = std::move(on_peer)] { return self->accept(on_peer); });
  return port;
}

awaitable<void> peer_gate::accept(taker on_peer) {
  while (true) {
    auto visitor = std::make_shared<guest>(); // a handshake takes a millisecond of a processor
    auto strand = guest_strand(io_, visitor);
    auto [ec, socket] = co_await acceptor_->async_accept(strand, as_awaitable);
    if (!acceptor_->is_open())
      co_return;
    auto tls = certificate_.current();
    if (ec || !tls) { // out of descriptors, for instance: the next may do
      asio::steady_timer pause{acceptor_->get_executor(), accept_pause};
      co_await pause.async_wait(as_awaitable);
      continue;
    }
    auto stream = std::make_shared<stream_socket>(std::move(socket));
    visitor->from = origin_of(peer_of(*stream));
    spawn_detached(strand, "a peer's handshake", [self = shared_from_this(), stream, tls = *tls, on_peer, visitor] {
      return self->welcome(std::move(*stream), tls, on_peer, visitor);
    });
  }
}

awaitable<void> peer_gate::welcome(stream_socket socket, std::shared_ptr<asio::ssl::context> tls, taker on_peer,
                                   std::shared_ptr<guest> visitor) {
  auto address = address_group(peer_of(socket));
  auto link = std::make_shared<peer_link>(std::move(socket), std::move(tls), watch_(true), limits_);
  if (!link->enter(*open_, address, std::move(visitor)))
    co_return;
  if (auto wrong = co_await link->shake_hands(asio::ssl::stream_base::server, within(limits_.handshake)))
    co_return link->close();
  if (auto plain = link->begin(); plain >= 0)
    on_peer(plain);
  else
    link->close();
}

void peer_gate::connect(host_and_port where, deadline until, std::function<void(result<int>)> done) {
  auto strand = asio::make_strand(io_.context());
  spawn_detached(strand, "a connection to a peer",
                 [self = shared_from_this(), where = std::move(where), until,
                  done = std::move(done)]() -> awaitable<void> { done(co_await self->reach(where, until)); });
}

awaitable<result<int>> peer_gate::reach(host_and_port where, deadline until) {
  auto name = where.host + ':' + std::to_string(where.port);
  auto tls = certificate_.current();
  if (!tls)
    co_return tls.error();
  auto addresses = co_await resolve(where.host, where.port, until);
  if (!addresses)
    co_return addresses.error();
  auto executor = co_await asio::this_coro::executor;
  error last{engine_errc::unreachable, 0, "there is no address of " + name};
  for (const auto& address : *addresses) {
    stream_socket socket{executor};
    beast::basic_stream<asio::generic::stream_protocol> stream{std::move(socket)};
    stream.expires_at(until);
    auto [ec] = co_await stream.async_connect(asio::generic::stream_protocol::endpoint{address}, as_awaitable);
    if (ec) {
      last.message = "cannot connect to " + name + ": " + ec.message();
      continue;
    }
    auto link = std::make_shared<peer_link>(stream.release_socket(), *tls, watch_(false), limits_);
    if (auto wrong = co_await link->shake_hands(asio::ssl::stream_base::client, until)) {
      link->close();
      co_return error{engine_errc::tls, 0, "TLS with " + name + " failed: " + wrong.message()};
    }
    if (auto plain = link->begin(); plain >= 0)
      co_return plain;
    link->close();
    co_return error{engine_errc::unreachable, 0, "the agent has no file descriptors left"};
  }
  co_return last;
}

void peer_gate::stop() {
  if (!acceptor_)
    return;
  auto closed = std::make_shared<std::promise<void>>();
  asio::post(acceptor_->get_executor(), [self = shared_from_this(), closed] {
    error_code ignored;
    self->acceptor_->close(ignored);
    closed->set_value();
  });
  closed->get_future().wait_for(longest_stop); // an io_context that has ended closes nothing
}

} // namespace davit::transport
