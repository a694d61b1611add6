#include "transport/server_socket.hpp"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace davit::transport {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using generic = asio::generic::stream_protocol;

namespace {

constexpr mode_t socket_mode = 0660;

error_code last_error() {
  return {errno, boost::system::system_category()};
}

error to_error(error_code ec) {
  return {ec.value() == EACCES ? engine_errc::permission : engine_errc::unreachable, 0, ec.message()};
}

/// None: it is of another family.
std::optional<tcp::endpoint> as_tcp(const generic::endpoint& from) {
  auto family = from.protocol().family();
  if (family != AF_INET && family != AF_INET6)
    return std::nullopt;
  tcp::endpoint to;
  if (from.size() > to.capacity())
    return std::nullopt;
  std::memcpy(to.data(), from.data(), from.size());
  to.resize(from.size());
  return to;
}

/// Removes the socket of a process that was killed: one that nobody listens on. An error: the path is taken.
result<void> clear_path(const asio::any_io_executor& executor, const std::string& path) {
  asio::local::stream_protocol::socket probe{executor};
  error_code ec;
  probe.connect(asio::local::stream_protocol::endpoint{path}, ec);
  if (!ec)
    return error{engine_errc::refused, 0, "another process listens there"};
  struct stat there {};
  if (::lstat(path.c_str(), &there) != 0)
    return {};
  if (!S_ISSOCK(there.st_mode))
    return error{engine_errc::refused, 0, "there is a file of this name that is not a socket"};
  if (ec.value() == ECONNREFUSED)
    ::unlink(path.c_str());
  return {};
}

result<stream_acceptor> listen_unix(const asio::any_io_executor& executor, const std::string& path) {
  if (path.size() >= sizeof(sockaddr_un::sun_path))
    return error{engine_errc::unreachable, 0,
                 "the path is longer than the " + std::to_string(sizeof(sockaddr_un::sun_path) - 1)
                   + " bytes that a unix socket may have"};
  if (auto cleared = clear_path(executor, path); !cleared)
    return cleared.error();
  asio::local::stream_protocol::endpoint address{path};
  stream_acceptor acceptor{executor};
  error_code ec;
  acceptor.open(generic{address.protocol()}, ec);
  // The file gets the socket's mode, less the umask. The umask is the whole process's: it stays as it is, and what it
  // takes away is given back before listen(). Nobody can connect before that.
  if (!ec && ::fchmod(acceptor.native_handle(), socket_mode) != 0)
    ec = last_error();
  if (!ec)
    acceptor.bind(generic::endpoint{address}, ec);
  if (ec)
    return to_error(ec);
  if (::chmod(path.c_str(), socket_mode) != 0)
    ec = last_error();
  if (!ec)
    acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (ec) {
    ::unlink(path.c_str());
    return to_error(ec);
  }
  return acceptor;
}

result<stream_acceptor> listen_tcp(const asio::any_io_executor& executor, const endpoint& where) {
  error_code ec;
  tcp::resolver resolver{executor};
  auto flags = tcp::resolver::passive | tcp::resolver::numeric_service;
  auto addresses = resolver.resolve(where.host, std::to_string(where.port), flags, ec);
  if (ec || addresses.empty())
    return error{engine_errc::unreachable, 0, ec.message()};
  auto address = addresses.begin()->endpoint();
  stream_acceptor acceptor{executor};
  acceptor.open(generic{address.protocol()}, ec);
  if (!ec)
    acceptor.set_option(asio::socket_base::reuse_address{true}, ec);
  if (!ec)
    acceptor.bind(generic::endpoint{address}, ec);
  if (!ec)
    acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (ec)
    return to_error(ec);
  return acceptor;
}

} // namespace

result<stream_acceptor> open_acceptor(const asio::any_io_executor& executor, const endpoint& where) {
  return where.is_unix() ? listen_unix(executor, where.path) : listen_tcp(executor, where);
}

std::uint16_t port_of(const stream_acceptor& acceptor) {
  error_code ec;
  auto address = as_tcp(acceptor.local_endpoint(ec));
  return address ? address->port() : std::uint16_t{0};
}

server_peer peer_of(stream_socket& socket) {
  server_peer peer;
  error_code ec;
  if (socket.local_endpoint(ec).protocol().family() != AF_UNIX) {
    auto remote = socket.remote_endpoint(ec);
    if (auto address = ec ? std::nullopt : as_tcp(remote))
      peer.address = address->address().to_string();
    return peer;
  }
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &who, &size) == 0) {
    peer.local = true;
    peer.uid = who.uid;
    peer.gid = who.gid;
    peer.pid = who.pid;
  }
  return peer;
}

std::string address_group(const server_peer& peer) {
  error_code ec;
  auto address = asio::ip::make_address(peer.address, ec);
  if (peer.local || ec)
    return {};
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  if (address.is_loopback())
    return {};
  if (address.is_v4())
    return address.to_string();
  auto bytes = address.to_v6().to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), static_cast<unsigned char>(0));
  return asio::ip::address_v6{bytes}.to_string();
}

std::uint64_t origin_of(const server_peer& peer) {
  auto group = address_group(peer);
  return std::hash<std::string>{}(group.empty() ? peer.address : group);
}

} // namespace davit::transport
