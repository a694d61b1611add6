#include "transport/endpoint.hpp"

#include <charconv>

namespace davit::transport {

namespace {

error bad(std::string_view text, std::string_view why) {
  return {engine_errc::refused, 0,
          "\"" + std::string{text} + "\" is no endpoint: " + std::string{why}
            + "; write unix:///path/to/docker.sock or tcp://host:port"};
}

} // namespace

result<endpoint> parse_endpoint(std::string_view text, std::optional<tls_settings> tls) {
  auto colon = text.find("://");
  if (colon == std::string_view::npos)
    return bad(text, "it has no scheme");
  auto scheme = text.substr(0, colon), rest = text.substr(colon + 3);
  endpoint result;
  if (scheme == "unix") {
    if (rest.empty() || rest.front() != '/')
      return bad(text, "the path of a unix socket must be absolute");
    if (rest.size() > 107) // sizeof sockaddr_un::sun_path, less its terminating zero: unix(7)
      return bad(text, "the path of a unix socket can have 107 bytes at most");
    result.path = rest;
    return result;
  }
  if (scheme == "https" && !tls)
    tls.emplace();
  if (scheme != "tcp" && scheme != "http" && scheme != "https")
    return bad(text, "the scheme is none of unix, tcp, http, https");
  if (scheme == "http")
    tls.reset();
  while (!rest.empty() && rest.back() == '/')
    rest.remove_suffix(1);
  std::string_view port;
  if (!rest.empty() && rest.front() == '[') { // an IPv6 address
    auto close = rest.find(']');
    if (close == std::string_view::npos)
      return bad(text, "the bracket is not closed");
    result.host = rest.substr(1, close - 1);
    auto after = rest.substr(close + 1);
    if (!after.empty() && after.front() != ':')
      return bad(text, "a port goes behind a colon");
    port = after.empty() ? after : after.substr(1);
  } else {
    auto at = rest.rfind(':');
    result.host = rest.substr(0, at);
    if (at != std::string_view::npos)
      port = rest.substr(at + 1);
  }
  if (result.host.empty() || result.host.find_first_of("/@ ") != std::string::npos)
    return bad(text, "the host is missing or malformed");
  if (port.empty()) {
    result.port = scheme == "http" ? 80 : scheme == "https" ? 443 : tls ? 2376 : 2375;
  } else {
    auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), result.port);
    if (code != std::errc{} || end != port.data() + port.size() || result.port == 0)
      return bad(text, "the port is no number from 1 to 65535");
  }
  result.tls = std::move(tls);
  return result;
}

std::string to_string(const endpoint& where) {
  if (where.is_unix())
    return "unix://" + where.path;
  auto host = where.host.find(':') == std::string::npos ? where.host : "[" + where.host + "]";
  return "tcp://" + host + ":" + std::to_string(where.port);
}

engine_settings engine_from_environment(const std::function<const char*(const char*)>& get) {
  auto value = [&](const char* name) -> std::string {
    auto text = get(name);
    return text ? text : "";
  };
  engine_settings result;
  result.name = "default";
  result.endpoint = value("DOCKER_HOST");
  if (result.endpoint.empty())
    result.endpoint = "unix:///var/run/docker.sock";
  auto verify = !value("DOCKER_TLS_VERIFY").empty(), tls = verify || !value("DOCKER_TLS").empty();
  if (tls && !result.endpoint.starts_with("unix:")) {
    auto folder = value("DOCKER_CERT_PATH");
    if (folder.empty())
      folder = value("HOME") + "/.docker";
    result.tls_ca = folder + "/ca.pem";
    result.tls_certificate = folder + "/cert.pem";
    result.tls_key = folder + "/key.pem";
    result.tls_verify = verify;
  }
  return result;
}

result<endpoint> endpoint_of(const engine_settings& settings) {
  std::optional<tls_settings> tls;
  if (!settings.tls_ca.empty() || !settings.tls_certificate.empty() || !settings.tls_key.empty())
    tls = tls_settings{settings.tls_ca, settings.tls_certificate, settings.tls_key, settings.tls_verify};
  if (tls && tls->certificate.empty() != tls->key.empty())
    return error{engine_errc::refused, 0,
                 "engine " + settings.name + ": tls-certificate and tls-key go together, one of them is missing"};
  if (tls && settings.endpoint.starts_with("unix:"))
    return error{engine_errc::refused, 0,
                 "engine " + settings.name + ": TLS options are for tcp endpoints, not for a unix socket"};
  return parse_endpoint(settings.endpoint, tls);
}

} // namespace davit::transport
