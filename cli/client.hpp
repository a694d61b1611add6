// The command line's side of the HTTP API.
#pragma once

#include "encoding/printable.hpp"
#include "json/read.hpp"
#include "transport/http_client.hpp"

#include <boost/asio/io_context.hpp>

#include <memory>
#include <string>

namespace davit {

/// What went wrong, for the user; and the exit code that goes with it.
struct command_failure {
  std::string message;
  int exit_code = 125;
};

/// Throws a command_failure with exit code 125, as docker does for what it can't make sense of.
[[noreturn]] void usage(std::string message);

/// Talks to one agent. Blocking functions run the context until they are done; coroutines may run beside them.
class api_client {
public:
  explicit api_client(transport::endpoint where);

  /// An answer that is not 2xx is thrown as command_failure with the problem's detail.
  std::string call(const std::string& method, const std::string& target, const std::string& body = {});

  /// An answer of any status, or why there is none.
  transport::result<transport::http_response> ask(transport::http_request request, transport::call_options options);

  boost::asio::io_context& context() { return context_; }
  std::shared_ptr<transport::http_client> http() { return http_; }
  std::string token;

  /// A request with what every request carries.
  transport::http_request request(std::string method, std::string target, std::string body = {}) const;

private:
  boost::asio::io_context context_{1};
  std::shared_ptr<transport::http_client> http_;
};

/// The agent that `--host` or DAVIT_HOST names, or 127.0.0.1:7300.
transport::endpoint agent_endpoint(const std::string& host);

/// The failure that an API answer stands for.
command_failure failure_of(int status, const std::string& body);

using encoding::printable;

} // namespace davit
