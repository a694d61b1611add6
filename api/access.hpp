// Who calls, and whether they may. For the API's actor alone.
#pragma once

#include "api/audit_log.hpp"
#include "api/identities.hpp"
#include "api/rate_limit.hpp"
#include "transport/exchange.hpp"

#include <map>
#include <optional>
#include <string>

namespace davit::api {

/// How a caller stood when its token was last judged, while its request lasts.
struct standing {
  std::optional<identity> known; ///< None: not judged yet, or it came without a token.
  std::uint64_t version = 0;
};

class access_control {
public:
  /// `executor`: where keys of issuers are fetched.
  access_control(access_settings settings, const std::filesystem::path& data_dir,
                 const boost::asio::any_io_executor& executor);

  /// The caller, or the answer that refuses the request: 401, 403 (from a web page of another origin), 429.
  struct verdict {
    caller who;
    std::optional<transport::server_response> refusal;
  };
  verdict admit(const transport::server_request& request);

  /// Why a request that was let in would not be let in now: its token was revoked or has expired. None: it would be.
  /// Costs little while no token changes.
  std::optional<std::string> lapsed(const transport::server_request& request, standing& last);

  /// Fetches what is to be fetched. To be called now and then.
  void tend() { identities_.tend(); }

  /// Of nobody's requests (no scope: they were refused) a few each second are written down, and the others counted: so
  /// that nobody can push what others did out of the log.
  /// Writes down who did what, and calls `then` on another thread when that is written. Never fails a request: what
  /// can't be written is told in davit's own log, and `then` is called all the same.
  void audit(const caller& who, const transport::server_request& request, int status, const std::string& location,
             std::function<void()> then);

private:
  access_settings settings_;
  identities identities_;
  rate_limit rates_;
  /// Lines per second of the audit log about what was refused: of each owner, and of all whom nobody knows.
  rate_limit refusals_{10};
  std::map<std::string, std::uint64_t> left_out_;
  audit_log audit_;
};

} // namespace davit::api
