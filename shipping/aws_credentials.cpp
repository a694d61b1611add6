#include "shipping/aws_credentials.hpp"

#include "json/read.hpp"
#include "messages/regular_file.hpp"
#include "shipping/aws_profile.hpp"
#include "transport/http_client.hpp"

#include <optional>

namespace davit::shipping {

using namespace transport;

namespace {

using environment = std::function<const char*(const char*)>;

struct served_credentials {
  std::string access_key, secret_key, token, expiration;
};
template <class Inspector>
bool inspect(Inspector& f, served_credentials& x) {
  return f.object(x).fields(f.field("AccessKeyId", x.access_key), f.field("SecretAccessKey", x.secret_key),
                            f.field("Token", x.token), f.field("Expiration", x.expiration));
}

result<aws_credentials> read_served(const std::string& body, const std::string& from) {
  auto read = json::read<served_credentials>(std::string_view{body}, json::unknown_fields::ignore);
  if (!read || read->access_key.empty() || read->secret_key.empty())
    return error{engine_errc::protocol, 0, from + " did not answer with credentials"};
  aws_credentials found{read->access_key, read->secret_key, read->token, {}};
  found.expires_at = parse_timestamp(read->expiration);
  return found;
}

/// The body of an answer of 200, or an error.
awaitable<result<std::string>> fetch(boost::asio::any_io_executor executor, service_url where, std::string method,
                                     std::vector<std::pair<std::string, std::string>> headers, deadline until) {
  auto client = std::make_shared<http_client>(executor, where.where);
  http_request request;
  request.method = std::move(method);
  request.target = where.path;
  request.headers = std::move(headers);
  call_options options;
  options.until = until;
  options.max_body = 64 * 1024;
  auto answer = co_await client->request(std::move(request), std::move(options));
  if (!answer)
    co_return answer.error();
  if (answer->status != 200)
    co_return error{engine_errc::refused, answer->status,
                    to_string(where.where) + where.path + " answers with " + std::to_string(answer->status)};
  co_return std::move(answer->body);
}

awaitable<result<aws_credentials>>
of_container(boost::asio::any_io_executor executor, environment get, deadline until) {
  auto full = aws_variable(get, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
       relative = aws_variable(get, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  auto where = parse_service_url(relative.empty() ? full : "http://169.254.170.2" + relative, "", "");
  if (!where)
    co_return where.error();
  auto token = aws_variable(get, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
  if (auto file = aws_variable(get, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); !file.empty()) {
    regular_file in{file};
    auto text = in.read();
    if (!text)
      co_return error{engine_errc::refused, 0, file + ' ' + in.wrong()};
    token = text->substr(0, text->find('\n'));
  }
  std::vector<std::pair<std::string, std::string>> headers;
  if (!token.empty())
    headers.emplace_back("Authorization", token);
  auto body = co_await fetch(executor, *where, "GET", std::move(headers), until);
  if (!body)
    co_return body.error();
  co_return read_served(*body, "the container's credentials endpoint");
}

/// IMDSv2: a token first, then the role, then its credentials.
awaitable<result<aws_credentials>> of_instance(boost::asio::any_io_executor executor, environment get, deadline until) {
  auto base = aws_variable(get, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
  auto where = parse_service_url(base.empty() ? "http://169.254.169.254" : base, "", "");
  if (!where)
    co_return where.error();
  auto at = *where;
  std::vector<std::pair<std::string, std::string>> headers;
  headers.emplace_back("X-aws-ec2-metadata-token-ttl-seconds", "21600");
  at.path = "/latest/api/token";
  auto token = co_await fetch(executor, at, "PUT", std::move(headers), until);
  if (!token)
    co_return token.error();
  std::vector<std::pair<std::string, std::string>> with_token;
  with_token.emplace_back("X-aws-ec2-metadata-token", *token);
  at.path = "/latest/meta-data/iam/security-credentials/";
  auto role = co_await fetch(executor, at, "GET", with_token, until);
  if (!role)
    co_return role.error();
  at.path += role->substr(0, role->find_first_of("\r\n"));
  auto body = co_await fetch(executor, at, "GET", with_token, until);
  if (!body)
    co_return body.error();
  co_return read_served(*body, "the instance's metadata service");
}

} // namespace

awaitable<result<aws_credentials>>
find_aws_credentials(boost::asio::any_io_executor executor, environment get, deadline until) {
  aws_credentials found{aws_variable(get, "AWS_ACCESS_KEY_ID"),
                        aws_variable(get, "AWS_SECRET_ACCESS_KEY"),
                        aws_variable(get, "AWS_SESSION_TOKEN"),
                        {}};
  if (!found.access_key.empty() && !found.secret_key.empty())
    co_return found;
  auto file = aws_shared_file(get, "AWS_SHARED_CREDENTIALS_FILE", "credentials"), profile = aws_profile(get);
  found = {aws_file_value(file, profile, "aws_access_key_id"),
           aws_file_value(file, profile, "aws_secret_access_key"),
           aws_file_value(file, profile, "aws_session_token"),
           {}};
  if (!found.access_key.empty() && !found.secret_key.empty())
    co_return found;
  if (!aws_variable(get, "AWS_CONTAINER_CREDENTIALS_FULL_URI").empty()
      || !aws_variable(get, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").empty())
    co_return co_await of_container(executor, get, until);
  if (aws_variable(get, "AWS_EC2_METADATA_DISABLED") != "true") {
    auto served = co_await of_instance(executor, get, until);
    if (served)
      co_return served;
    co_return error{engine_errc::permission, 0,
                    "no AWS credentials: none in the environment, none in " + file + " [" + profile + "], and "
                      + served.error().message};
  }
  co_return error{engine_errc::permission, 0,
                  "no AWS credentials: none in the environment, none in " + file + " [" + profile + "]"};
}

} // namespace davit::shipping
