#include "transport/byte_stream.hpp"

#include "messages/regular_file.hpp"
#include "transport/as_awaitable.hpp"
#include "transport/resolver.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cerrno>
#include <cstring>
#include <grp.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace davit::transport {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace ssl = asio::ssl;
using tcp = asio::ip::tcp;
using local = asio::local::stream_protocol;
using boost::system::error_code;

namespace {

using tls_stream = ssl::stream<beast::tcp_stream>;
using unix_stream = beast::basic_stream<local>;

/// What a failed read or write means.
error classify(error_code ec, const std::string& peer) {
  if (ec == beast::error::timeout)
    return {engine_errc::timed_out, 0, peer + " did not answer in time"};
  if (ec == asio::error::operation_aborted || ec == asio::error::bad_descriptor)
    return {engine_errc::cancelled, 0, "the call was cancelled"};
  if (ec.category() == asio::error::get_ssl_category()) {
    std::string text = ec.message();
    // With TLS 1.3 a server tells what it thinks of the client's certificate only after the handshake.
    if (text.find("certificate required") != std::string::npos)
      text = "it asks for a client certificate and got none (set tls-certificate and tls-key)";
    else if (text.find("bad certificate") != std::string::npos || text.find("unknown ca") != std::string::npos)
      text = "it does not accept the client certificate (is it signed by the engine's own CA?)";
    else if (text.find("certificate expired") != std::string::npos)
      text = "it says that the client certificate has expired";
    return {engine_errc::tls, 0, "TLS with " + peer + " failed: " + text};
  }
  return {engine_errc::lost, 0, "the connection to " + peer + " was lost: " + ec.message()};
}

template <class Stream>
class stream_of : public byte_stream {
public:
  template <class... Args>
  explicit stream_of(std::string peer, Args&&... args) : peer_(std::move(peer)), stream_(std::forward<Args>(args)...) {}

  awaitable<result<std::size_t>> read_some(std::span<char> buffer, deadline until) override {
    expire(until);
    auto [ec, count] = co_await stream_.async_read_some(asio::buffer(buffer.data(), buffer.size()), as_awaitable);
    if (ec == asio::error::eof || ec == ssl::error::stream_truncated)
      co_return std::size_t{0};
    if (ec)
      co_return classify(ec, peer_);
    co_return count;
  }

  awaitable<result<std::size_t>> write(std::string_view bytes, deadline until) override {
    expire(until);
    auto [ec, count] = co_await asio::async_write(stream_, asio::buffer(bytes.data(), bytes.size()), as_awaitable);
    if (ec)
      co_return classify(ec, peer_);
    co_return count;
  }

  awaitable<void> shutdown_write() override {
    if constexpr (std::is_same_v<Stream, tls_stream>) {
      // Asio's own shutdown waits for the peer's, and loses what the peer still sends. So the close_notify is made in a
      // buffer of ours, and sent past Asio; all that Asio had to write is written by now.
      auto handle = stream_.native_handle();
      auto asios = SSL_get_wbio(handle);
      BIO_up_ref(asios);
      auto ours = BIO_new(BIO_s_mem());
      BIO_up_ref(ours);
      SSL_set0_wbio(handle, ours);
      SSL_shutdown(handle);
      SSL_set0_wbio(handle, asios);
      char* bytes = nullptr;
      auto count = BIO_get_mem_data(ours, &bytes);
      expire(within(std::chrono::seconds{30}));
      co_await asio::async_write(beast::get_lowest_layer(stream_), asio::buffer(bytes, static_cast<std::size_t>(count)),
                                 as_awaitable);
      BIO_free(ours);
    } else {
      error_code ignored;
      beast::get_lowest_layer(stream_).socket().shutdown(asio::socket_base::shutdown_send, ignored);
    }
  }

  void close() noexcept override { beast::get_lowest_layer(stream_).close(); }

  std::size_t untaken() noexcept override {
    int bytes = 0;
    auto fd = beast::get_lowest_layer(stream_).socket().native_handle();
    return ::ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
  }

  bool idle_and_alive() noexcept override {
    char byte = 0;
    auto fd = beast::get_lowest_layer(stream_).socket().native_handle();
    return ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  }

  Stream& stream() { return stream_; }

private:
  void expire(deadline until) {
    if (until == no_deadline)
      beast::get_lowest_layer(stream_).expires_never();
    else
      beast::get_lowest_layer(stream_).expires_at(until);
  }

  std::string peer_;
  Stream stream_;
};

/// Empty: it has none. Several engines may ask at once: getgrgid has one place for all its answers.
std::string group_name(gid_t id) {
  std::vector<char> buffer(16 * 1024);
  group entry{};
  group* found = nullptr;
  ::getgrgid_r(id, &entry, buffer.data(), buffer.size(), &found);
  return found ? found->gr_name : std::string{};
}

/// A sentence about a socket that is there and that we may not open, with what to do.
std::string permission_hint(const std::string& path) {
  struct stat info {};
  std::string text = "permission denied at " + path;
  if (::stat(path.c_str(), &info) == 0) {
    text += ": it belongs to group " + std::to_string(info.st_gid);
    if (auto name = group_name(info.st_gid); !name.empty())
      text += " (" + name + ")";
    text += ", and uid " + std::to_string(::getuid())
          + " is not a member; run davit with that group (docker run --group-add " + std::to_string(info.st_gid)
          + ", or usermod -aG)";
  }
  return text;
}

awaitable<result<std::unique_ptr<byte_stream>>> connect_unix(endpoint where, deadline until) {
  auto executor = co_await asio::this_coro::executor;
  auto made = std::make_unique<stream_of<unix_stream>>("unix://" + where.path, executor);
  auto& stream = made->stream();
  if (until != no_deadline)
    stream.expires_at(until);
  auto [ec] = co_await stream.async_connect(local::endpoint{where.path}, as_awaitable);
  if (!ec)
    co_return std::unique_ptr<byte_stream>{std::move(made)};
  if (ec == beast::error::timeout)
    co_return error{engine_errc::timed_out, 0, "unix://" + where.path + " did not accept in time"};
  if (ec == asio::error::access_denied || ec.value() == EACCES)
    co_return error{engine_errc::permission, 0, permission_hint(where.path)};
  if (ec.value() == ENOENT)
    co_return error{engine_errc::unreachable, 0, "there is no socket at " + where.path + "; is it running?"};
  co_return error{engine_errc::unreachable, 0,
                  "cannot connect to unix://" + where.path + ": " + ec.message() + "; is it running?"};
}

std::string openssl_reason() {
  auto code = ERR_get_error();
  ERR_clear_error();
  auto reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason ? reason : "unknown reason";
}

/// Loads the files of `tls`, telling which one is the trouble.
result<std::shared_ptr<ssl::context>> make_context(const tls_settings& tls) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  ERR_clear_error();
  auto handle = context->native_handle();
  regular_file ca{tls.ca}, certificate{tls.certificate}, key{tls.key};
  for (auto [file, name] :
       {std::pair{&ca, &tls.ca}, std::pair{&certificate, &tls.certificate}, std::pair{&key, &tls.key}})
    if (!name->empty() && !file->wrong().empty())
      return error{engine_errc::tls, 0,
                   *name + ' ' + file->wrong() + " (davit waits for a TLS file that does not exist yet)"};
  if (tls.ca.empty())
    SSL_CTX_set_default_verify_paths(handle);
  else if (SSL_CTX_load_verify_locations(handle, ca.name().c_str(), nullptr) != 1)
    return error{engine_errc::tls, 0, tls.ca + " has no PEM certificate authority: " + openssl_reason()};
  if (!tls.certificate.empty()) {
    if (SSL_CTX_use_certificate_chain_file(handle, certificate.name().c_str()) != 1)
      return error{engine_errc::tls, 0, tls.certificate + " has no PEM certificate: " + openssl_reason()};
    if (X509_cmp_current_time(X509_get0_notAfter(SSL_CTX_get0_certificate(handle))) < 0)
      return error{engine_errc::tls, 0, "the client certificate " + tls.certificate + " has expired"};
    if (SSL_CTX_use_PrivateKey_file(handle, key.name().c_str(), SSL_FILETYPE_PEM) != 1)
      return error{engine_errc::tls, 0, tls.key + " has no key that fits " + tls.certificate + ": " + openssl_reason()};
  }
  context->set_verify_mode(tls.verify ? ssl::verify_peer : ssl::verify_none);
  return context;
}

/// A TLS stream and the context that it needs as long as it lives.
class tls_stream_with_context final : public stream_of<tls_stream> {
public:
  tls_stream_with_context(std::string peer, tcp::socket socket, std::shared_ptr<ssl::context> context)
    : stream_of<tls_stream>(std::move(peer), beast::tcp_stream{std::move(socket)}, *context),
      context_(std::move(context)) {}

private:
  std::shared_ptr<ssl::context> context_;
};

std::string handshake_failure(error_code ec, const std::string& peer, tls_stream& stream) {
  auto text = ec.message();
  auto verdict = SSL_get_verify_result(stream.native_handle());
  if (verdict != X509_V_OK)
    return "the certificate of " + peer + " is not accepted: " + X509_verify_cert_error_string(verdict)
         + " (does tls-ca name the authority that signed it, and is its name the one in the endpoint?)";
  if (text.find("wrong version number") != std::string::npos
      || text.find("packet length too long") != std::string::npos)
    return peer + " does not speak TLS; a port without TLS (Docker's 2375) needs no tls-... options";
  return "TLS with " + peer + " failed: " + text;
}

awaitable<result<std::unique_ptr<byte_stream>>> connect_tcp(endpoint where, deadline until) {
  auto executor = co_await asio::this_coro::executor;
  auto peer = to_string(where);
  std::shared_ptr<ssl::context> context;
  if (where.tls) {
    auto made = make_context(*where.tls);
    if (!made)
      co_return made.error();
    context = *made;
  }
  auto addresses = co_await resolve(where.host, where.port, until);
  if (!addresses)
    co_return addresses.error();
  beast::tcp_stream stream{executor};
  if (until != no_deadline)
    stream.expires_at(until);
  auto [connect_error, chosen] = co_await stream.async_connect(*addresses, as_awaitable);
  if (connect_error == beast::error::timeout)
    co_return error{engine_errc::timed_out, 0, peer + " did not accept in time"};
  if (connect_error)
    co_return error{engine_errc::unreachable, 0,
                    "cannot connect to " + peer + ": " + connect_error.message() + "; is it running?"};
  error_code ignored;
  auto socket = stream.release_socket();
  socket.set_option(tcp::no_delay{true}, ignored);
  socket.set_option(asio::socket_base::keep_alive{true}, ignored);
  if (!where.tls)
    co_return std::unique_ptr<byte_stream>{std::make_unique<stream_of<beast::tcp_stream>>(peer, std::move(socket))};
  auto made = std::make_unique<tls_stream_with_context>(peer, std::move(socket), context);
  auto& secured = made->stream();
  SSL_set_tlsext_host_name(secured.native_handle(), where.host.c_str());
  if (where.tls->verify)
    secured.set_verify_callback(ssl::host_name_verification{where.host});
  if (until != no_deadline)
    beast::get_lowest_layer(secured).expires_at(until);
  auto [handshake_error] = co_await secured.async_handshake(ssl::stream_base::client, as_awaitable);
  if (handshake_error == beast::error::timeout)
    co_return error{engine_errc::timed_out, 0, "the TLS handshake with " + peer + " did not end in time"};
  if (handshake_error)
    co_return error{engine_errc::tls, 0, handshake_failure(handshake_error, peer, secured)};
  co_return std::unique_ptr<byte_stream>{std::move(made)};
}

} // namespace

awaitable<result<std::unique_ptr<byte_stream>>> connect(endpoint where, deadline until) {
  if (where.is_unix())
    return connect_unix(std::move(where), until);
  return connect_tcp(std::move(where), until);
}

} // namespace davit::transport
