// What a TLS server shows to its clients.
#pragma once

#include "transport/endpoint.hpp"

#include <boost/asio/ssl/context.hpp>

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace davit::transport {

/// The certificate and key of a TLS server, read again when their files have changed. With an authority, whoever is at
/// the other end must show a certificate of it. Peers use it in both directions. Thread-safe.
class server_certificate {
public:
  explicit server_certificate(tls_settings settings) : settings_(std::move(settings)) {}

  /// What a new connection is to use. An error only if the files have never been good.
  result<std::shared_ptr<boost::asio::ssl::context>> current();

private:
  using stamp_list = std::vector<std::filesystem::file_time_type>;

  stamp_list stamps() const;
  result<std::shared_ptr<boost::asio::ssl::context>> load() const;

  tls_settings settings_;
  std::mutex mutex_;
  std::shared_ptr<boost::asio::ssl::context> context_;
  stamp_list seen_;
};

/// The common name of the certificate that the client has shown; empty if it has shown none.
std::string client_common_name(SSL* session);

} // namespace davit::transport
