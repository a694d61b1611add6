#include "transport/registry_credentials.hpp"

#include "json/read.hpp"
#include "json/write.hpp"
#include "encoding/base64.hpp"
#include "transport/helper_process.hpp"

namespace davit::transport {

namespace {

struct helper_answer {
  std::string user, secret;
};
template <class Inspector>
bool inspect(Inspector& f, helper_answer& x) {
  return f.object(x).fields(f.field("Username", x.user), f.field("Secret", x.secret));
}

} // namespace

awaitable<result<registry_auth>> registry_credentials::of_image(std::string image, deadline until) const {
  auto registry = registry_of(image);
  auto place = place_of(registry);
  json::object auth;
  auth["serveraddress"] = registry;
  auto helper = store_;
  if (auto found = helpers_.find(place); found != helpers_.end())
    helper = found->second;
  auto stored = auths_.find(place);
  if (!helper.empty() && (helpers_.contains(place) || stored == auths_.end())) {
    std::vector<std::string> words(1, "get"); // g++ 12 has trouble with initializer lists in coroutines
    auto answer = co_await run_helper("docker-credential-" + helper, std::move(words), registry + "\n", until);
    if (!answer)
      co_return error{engine_errc::refused, 0, "no credentials for " + registry + ": " + answer.error().message};
    if (answer->exit_code != 0) {
      // The helpers' own word for "I have none"; a public image needs none.
      if (answer->output.find("credentials not found") != std::string::npos)
        co_return registry_auth{};
      co_return error{engine_errc::refused, 0,
                      "no credentials for " + registry + ": docker-credential-" + helper + " ended with exit code "
                        + std::to_string(answer->exit_code)};
    }
    auto given = json::read<helper_answer>(std::string_view{answer->output}, json::unknown_fields::ignore);
    if (!given)
      co_return error{engine_errc::refused, 0,
                      "no credentials for " + registry + ": docker-credential-" + helper
                        + " did not answer as a credential helper does"};
    if (given->user == "<token>") {
      auth["identitytoken"] = given->secret;
    } else {
      auth["username"] = given->user;
      auth["password"] = given->secret;
    }
  } else if (stored != auths_.end()) {
    const auto& one = stored->second;
    if (!one.registry_token.empty())
      auth["registrytoken"] = one.registry_token;
    if (!one.identity_token.empty())
      auth["identitytoken"] = one.identity_token;
    auth["username"] = one.username;
    auth["password"] = one.password;
  } else {
    co_return registry_auth{};
  }
  co_return registry_auth{encoding::base64url_encode(json::write(json::value(std::move(auth))))};
}

} // namespace davit::transport
