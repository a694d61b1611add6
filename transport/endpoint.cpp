#include "transport/endpoint.hpp"

#include <charconv>

namespace davit::transport {

namespace {

bool is_host(std::string_view text) {
  return !text.empty()
      && text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
           == std::string_view::npos;
}

bool is_ipv6(std::string_view text) {
  auto zone = text.find('%');
  return text.substr(0, zone).find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos
      && text.find(':') != std::string_view::npos && (zone == std::string_view::npos || is_host(text.substr(zone + 1)));
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), port);
  return code == std::errc{} && end == text.data() + text.size() && port != 0 ? std::optional{port} : std::nullopt;
}

} // namespace

std::optional<host_and_port> parse_host_and_port(std::string_view text) {
  auto colon = text.rfind(':');
  if (colon == std::string_view::npos)
    return std::nullopt;
  auto host = text.substr(0, colon);
  auto port = parse_port(text.substr(colon + 1));
  auto bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed)
    host = host.substr(1, host.size() - 2);
  if (!port || !(bracketed ? is_ipv6(host) : is_host(host)))
    return std::nullopt;
  return host_and_port{std::string{host}, *port};
}

result<endpoint> parse_endpoint(std::string_view text, std::optional<tls_settings> tls, std::string_view advice) {
  auto bad = [&](std::string_view text, std::string_view why) {
    return error{engine_errc::refused, 0,
                 "\"" + std::string{text} + "\" is not a valid endpoint: " + std::string{why} + "; "
                   + std::string{advice}};
  };
  auto colon = text.find("://");
  if (colon == std::string_view::npos)
    return bad(text, "it has no scheme");
  auto scheme = text.substr(0, colon), rest = text.substr(colon + 3);
  endpoint result;
  if (scheme == "unix") {
    if (rest.empty() || rest.front() != '/')
      return bad(text, "the path of a unix socket must be absolute");
    if (rest.back() == '/')
      return bad(text, "the path of a unix socket must not end with a slash");
    if (rest.size() > 107) // sizeof sockaddr_un::sun_path, less its terminating zero: unix(7)
      return bad(text, "the path of a unix socket can have 107 bytes at most");
    result.path = rest;
    return result;
  }
  if (scheme == "https" && !tls)
    tls.emplace();
  if (scheme != "tcp" && scheme != "http" && scheme != "https")
    return bad(text, "the scheme must be unix, tcp, http or https");
  if (scheme == "http")
    tls.reset();
  while (!rest.empty() && rest.back() == '/')
    rest.remove_suffix(1);
  if (rest.find('@') != std::string_view::npos)
    return bad(text, "an address has no user and no password");
  if (rest.find_first_of("/?#") != std::string_view::npos)
    return bad(text, "nothing may follow the port");
  std::string_view port;
  if (!rest.empty() && rest.front() == '[') { // an IPv6 address
    auto close = rest.find(']');
    if (close == std::string_view::npos)
      return bad(text, "the bracket is not closed");
    result.host = rest.substr(1, close - 1);
    if (!is_ipv6(result.host))
      return bad(text, "the brackets do not contain an IPv6 address");
    auto after = rest.substr(close + 1);
    if (!after.empty() && after.front() != ':')
      return bad(text, "write a colon before the port");
    port = after.empty() ? after : after.substr(1);
  } else {
    auto at = rest.rfind(':');
    result.host = rest.substr(0, at);
    if (!is_host(result.host))
      return bad(text, "the host is missing or malformed");
    if (at != std::string_view::npos)
      port = rest.substr(at + 1);
  }
  if (port.empty()) {
    result.port = scheme == "http" ? 80 : scheme == "https" ? 443 : tls ? 2376 : 2375;
  } else {
    auto number = parse_port(port);
    if (!number)
      return bad(text, "the port must be a number from 1 to 65535");
    result.port = *number;
  }
  result.tls = std::move(tls);
  return result;
}

result<service_url> parse_service_url(const std::string& url, const std::string& usual, const std::string& tls_ca) {
  auto scheme = url.find("://");
  auto slash = scheme == std::string::npos ? scheme : url.find('/', scheme + 3);
  std::optional<tls_settings> tls;
  if (url.starts_with("https:")) {
    tls.emplace();
    tls->ca = tls_ca;
  }
  constexpr auto advice = "write http://host:port or https://host:port, with a path if it is not the default";
  if (!url.starts_with("http://") && !url.starts_with("https://"))
    return error{engine_errc::refused, 0,
                 "\"" + url + "\" is not a valid address of a log service: it must start with http:// or https://"};
  auto where = parse_endpoint(url.substr(0, slash), tls, advice);
  if (!where)
    return where.error();
  auto path = slash == std::string::npos ? std::string{} : url.substr(slash);
  if (path.empty() || path == "/")
    path = usual.empty() ? "/" : usual;
  return service_url{*where, path};
}

result<endpoint> parse_listen_address(const std::string& text) {
  return parse_endpoint(text.find("://") == std::string::npos ? "tcp://" + text : text, std::nullopt,
                        "write host:port or unix:///run/davit.sock");
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
