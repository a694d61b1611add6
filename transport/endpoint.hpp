// Where an engine, or a davit agent, listens.
#pragma once

#include "transport/error.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace davit::transport {

struct tls_settings {
  std::string ca;          ///< File, PEM; empty: the system's authorities.
  std::string certificate; ///< File, PEM; empty: none is shown.
  std::string key;         ///< File, PEM.
  bool verify = true;      ///< Whether the server's certificate and name are checked.
  bool operator==(const tls_settings&) const = default;
};

struct endpoint {
  std::string path; ///< Of a unix socket; empty for tcp.
  std::string host;
  std::uint16_t port = 0;
  std::optional<tls_settings> tls;

  bool is_unix() const noexcept { return !path.empty(); }
  bool operator==(const endpoint&) const = default;
};

/// `unix:///var/run/docker.sock`, `tcp://host:2376`, and `http://`, `https://` for tcp without and with TLS. Without a
/// port `tcp` takes Docker's: 2376 with TLS, 2375 without. `advice` ends the error's sentence: what to write instead.
result<endpoint> parse_endpoint(std::string_view text, std::optional<tls_settings> tls = std::nullopt,
                                std::string_view advice = "write unix:///path/to/docker.sock or tcp://host:port");

/// Where to listen: `host:port`, `tcp://host:port` or `unix:///path`.
result<endpoint> parse_listen_address(const std::string& text);

struct host_and_port {
  std::string host;
  std::uint16_t port = 0;
};

/// `host:port`, `[::1]:port`; no value: it is neither. Without a network: a name is not looked up.
std::optional<host_and_port> parse_host_and_port(std::string_view text);

/// `http://host:port/path`, taken apart.
struct service_url {
  endpoint where;
  std::string path; ///< Begins with a slash.
};

/// `usual` is the path if the URL has none.
result<service_url> parse_service_url(const std::string& url, const std::string& usual, const std::string& tls_ca);

std::string to_string(const endpoint& where);

/// What `DOCKER_HOST`, `DOCKER_TLS_VERIFY`, `DOCKER_TLS` and `DOCKER_CERT_PATH` say, as Docker's own client takes them;
/// unix:///var/run/docker.sock if they say nothing. `get` is std::getenv, or a test's.
engine_settings engine_from_environment(const std::function<const char*(const char*)>& get);

/// The endpoint that an engine's settings describe.
result<endpoint> endpoint_of(const engine_settings& settings);

} // namespace davit::transport
