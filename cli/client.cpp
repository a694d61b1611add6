#include "cli/client.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <cstdlib>

namespace davit {

api_client::api_client(transport::endpoint where)
  : http_(std::make_shared<transport::http_client>(context_.get_executor(), std::move(where))) {
  if (auto text = std::getenv("DAVIT_TOKEN"))
    token = text;
}

transport::http_request api_client::request(std::string method, std::string target, std::string body) const {
  transport::http_request request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.body = std::move(body);
  if (!token.empty())
    request.headers.emplace_back("Authorization", "Bearer " + token);
  return request;
}

std::string api_client::call(const std::string& method, const std::string& target, const std::string& body) {
  transport::result<transport::http_response> answer;
  boost::asio::co_spawn(
    context_,
    [&]() -> transport::awaitable<void> {
      transport::call_options options;
      options.max_body = 1024 * 1024 * 1024;
      answer = co_await http_->request(request(method, target, body), options);
    },
    boost::asio::detached);
  context_.restart();
  context_.run();
  if (!answer)
    throw command_failure{answer.error().message + " (is a davit agent running there? --host and DAVIT_HOST say where)"};
  if (answer->status >= 300)
    throw failure_of(answer->status, answer->body);
  return std::move(answer->body);
}

transport::endpoint agent_endpoint(const std::string& host) {
  std::string text = host;
  if (text.empty())
    if (auto env = std::getenv("DAVIT_HOST"))
      text = env;
  if (text.empty())
    text = "127.0.0.1:7300";
  if (text.find("://") == std::string::npos)
    text = "tcp://" + text;
  auto where = transport::parse_endpoint(text);
  if (!where)
    throw command_failure{"--host or DAVIT_HOST: " + where.error().message, 2};
  return *where;
}

command_failure failure_of(int status, const std::string& body) {
  json::parser parser;
  auto root = parser.parse(body);
  std::string_view detail;
  std::string text = "the agent answered " + std::to_string(status);
  if (root && (*root)["detail"].get(detail) == simdjson::SUCCESS)
    text = detail;
  return {text, status == 400 ? 2 : 125};
}

std::string printable(std::string_view text) {
  std::string result;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      char code[8];
      std::snprintf(code, sizeof code, "\\x%02x", byte);
      result += c == '\t' || c == '\n' ? " " : code;
    } else {
      result += c;
    }
  }
  return result;
}

} // namespace davit
