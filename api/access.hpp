// Who calls, and whether they may. For the API's actor alone.
#pragma once

#include "api/audit_log.hpp"
#include "api/tokens.hpp"
#include "transport/exchange.hpp"

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace davit::api {

struct caller {
  std::string owner; ///< Whose tasks its tasks are: a token's owner, `token NAME`, `uid 1000`, `loopback`.
  std::string name;  ///< `token NAME`, `uid 1000 (pid 77)`, `loopback`
  std::vector<api_scope> scopes;
  std::optional<policy_profile> profile;
};

class access_control {
public:
  access_control(access_settings settings, const std::filesystem::path& data_dir);

  /// The caller, or the answer that refuses the request: 401, 403 (from a web page of another origin), 429.
  struct verdict {
    caller who;
    std::optional<transport::server_response> refusal;
  };
  verdict admit(const transport::server_request& request);

  /// Writes down who did what, and calls `then` on another thread when that is written. Never fails a request: what
  /// can't be written is told in davit's own log, and `then` is called all the same.
  void audit(const caller& who, const transport::server_request& request, int status, const std::string& location,
             std::function<void()> then);

private:
  const token_list* tokens();
  bool within_rate(const std::string& id);

  struct bucket {
    double left = 0;
    std::chrono::steady_clock::time_point at;
  };

  access_settings settings_;
  std::optional<token_list> tokens_;
  std::filesystem::file_time_type tokens_seen_;
  std::chrono::steady_clock::time_point tokens_looked_;
  std::map<std::string, bucket> buckets_;
  audit_log audit_;
};

} // namespace davit::api
