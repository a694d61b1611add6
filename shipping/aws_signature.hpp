// AWS Signature Version 4.
#pragma once

#include "messages/units.hpp"

#include <map>
#include <string>

namespace davit::shipping {

struct aws_credentials {
  std::string access_key, secret_key;
  std::string session_token; ///< Of temporary ones.
  std::optional<timestamp> expires_at;
};

struct aws_request {
  std::string method = "POST";
  std::string path = "/";
  std::string query{};                        ///< As it is sent; encoded.
  std::map<std::string, std::string> headers; ///< Names in lower case; `host` among them.
  std::string body{};
  std::string body_sha256{}; ///< In hexadecimal, if it is known; then `body` is not looked at.
};

/// What is sent beside the request's own headers: `Authorization`, `X-Amz-Date`, and `X-Amz-Security-Token` if the
/// credentials are temporary.
std::map<std::string, std::string> aws_sign(const aws_request& request, const aws_credentials& credentials,
                                            const std::string& region, const std::string& service, timestamp at);

} // namespace davit::shipping
