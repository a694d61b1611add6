#include "cli/client.hpp"

#include "cli/no_answer.hpp"
#include "transport/spawn.hpp"

#include <boost/asio/co_spawn.hpp>

#include <cstdlib>
#include <filesystem>

namespace davit {

void usage(std::string message) {
  throw command_failure{std::move(message), 125};
}

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

transport::result<transport::http_response>
api_client::ask(transport::http_request request, transport::call_options options) {
  transport::result<transport::http_response> answer;
  boost::asio::co_spawn(
    context_,
    [&]() -> transport::awaitable<void> { answer = co_await http_->request(std::move(request), std::move(options)); },
    transport::rethrow_escaped);
  context_.restart();
  context_.run();
  return answer;
}

std::string api_client::call(const std::string& method, const std::string& target, const std::string& body) {
  transport::call_options options;
  options.max_body = 1024 * 1024 * 1024;
  auto answer = ask(request(method, target, body), std::move(options));
  if (!answer)
    throw no_answer(answer.error());
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
  if (text.find("://") == std::string::npos) {
    if (text.find(':') == std::string::npos || text.back() == ']') // Docker's port would be taken otherwise
      text += ":7300";
    text = "tcp://" + text;
  }
  std::optional<transport::tls_settings> tls;
  if (auto folder = std::getenv("DAVIT_CERT_PATH"); folder && *folder && text.starts_with("https://")) {
    auto file = [&](const char* name) {
      auto path = std::filesystem::path{folder} / name;
      return std::filesystem::exists(path) ? path.string() : std::string{};
    };
    tls = transport::tls_settings{file("ca.pem"), file("cert.pem"), file("key.pem")};
  }
  auto where = transport::parse_endpoint(text, tls, "write host:port, https://host:port or unix:///path/to/davit.sock");
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

} // namespace davit
