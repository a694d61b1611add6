#include "transport/http_message.hpp"

#include <boost/beast/http/status.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <cstdio>

namespace davit::transport {

namespace http = boost::beast::http;

std::string server_request::parameter(std::string_view name) const {
  for (const auto& [key, value] : query)
    if (key == name)
      return value;
  return {};
}

std::string server_request::header(const std::string& lower_case_name) const {
  auto found = headers.find(lower_case_name);
  return found == headers.end() ? std::string{} : found->second;
}

std::string render_header(const server_response& response, const answer_form& form) {
  std::string text = "HTTP/1.1 " + std::to_string(response.status) + ' ';
  auto reason = http::obsolete_reason(static_cast<http::status>(response.status));
  text.append(reason.data(), reason.size()).append("\r\n");
  if (!response.content_type.empty() && response.status != 204)
    text.append("Content-Type: ").append(response.content_type).append("\r\n");
  for (const auto& [name, value] : response.headers)
    text.append(name).append(": ").append(value).append("\r\n");
  if (form.chunked)
    text += "Transfer-Encoding: chunked\r\n";
  else if (response.status != 204)
    text += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  text += form.keep_alive ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
  text += "X-Content-Type-Options: nosniff\r\n\r\n";
  return text;
}

std::string render_chunk(std::string_view bytes) {
  char size[24];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  std::string text{size};
  text.append(bytes).append("\r\n");
  return text;
}

server_response refusal(int status, const std::string& detail) {
  auto title = http::obsolete_reason(static_cast<http::status>(status));
  server_response response;
  response.status = status;
  response.content_type = "application/problem+json";
  response.body = R"({"type":"about:blank","title":")" + std::string{title} + R"(","status":)" + std::to_string(status)
                + R"(,"detail":")" + detail + "\"}\n";
  return response;
}

bool read_target(std::string_view target, server_request& request) {
  if (auto scheme = target.find("://"); scheme != std::string_view::npos && target.front() != '/') {
    // A proxy's form of the target (RFC 9112, 3.2.2): what follows the host is the usual one.
    auto rest = target.find_first_of("/?#", scheme + 3);
    auto kind = target.substr(0, scheme);
    if ((kind != "http" && kind != "https") || rest == scheme + 3)
      return false;
    // It counts, and not what the header Host says.
    request.headers.erase("host");
    request.headers.emplace(
      "host", std::string{target.substr(scheme + 3, rest == std::string_view::npos ? rest : rest - scheme - 3)});
    target = rest == std::string_view::npos ? "/" : target.substr(rest);
    if (target.front() == '?')
      return read_target('/' + std::string{target}, request);
  }
  auto parsed = boost::urls::parse_origin_form({target.data(), target.size()});
  if (!parsed)
    return false;
  request.path = "/";
  for (auto segment : parsed->segments()) {
    std::string text{segment};
    if (text.find('\0') != std::string::npos || text == "..")
      return false;
    if (text.empty())
      continue;
    if (request.path.size() > 1)
      request.path += '/';
    request.path += text;
    request.segments.push_back(std::move(text));
  }
  for (auto parameter : parsed->params())
    if (std::string key{parameter.key}, value{parameter.value}; !key.empty() || !value.empty()) // "?" alone, "a=1&"
      request.query.emplace_back(std::move(key), std::move(value));
  return true;
}

} // namespace davit::transport
