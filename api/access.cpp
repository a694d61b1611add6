#include "api/access.hpp"

#include "api/problem.hpp"
#include "encoding/printable.hpp"
#include "json/write.hpp"
#include "store/private_files.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace davit::api {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;
using transport::server_request;
using transport::server_response;

namespace {

/// The host of a Host header, or of an origin: without scheme and port.
std::string host_of(std::string text) {
  if (auto scheme = text.find("://"); scheme != std::string::npos)
    text.erase(0, scheme + 3);
  if (text.starts_with('['))
    return text.substr(0, text.find(']') + 1);
  return text.substr(0, text.find(':'));
}

bool is_loopback_name(const std::string& host) {
  return host == "localhost" || host == "[::1]"
      || (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos);
}

server_response turn_away(int status, std::string why) {
  auto response = problem(status, std::move(why));
  if (status == 401)
    response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"davit\"");
  if (status == 429)
    response.headers.emplace_back("Retry-After", "1");
  return response;
}

} // namespace

access_control::access_control(access_settings settings, const std::filesystem::path& data_dir)
  : settings_(std::move(settings)),
    audit_(settings_.audit_log.empty() ? (data_dir / "audit.log").string() : settings_.audit_log,
           settings_.audit_log.empty() || store::lies_in(settings_.audit_log, data_dir)) {}

/// The tokens as the file has them now: a token that was revoked is worth nothing within a second.
const token_list* access_control::tokens() {
  if (settings_.tokens_file.empty())
    return nullptr;
  auto now = steady::now();
  if (tokens_ && now - tokens_looked_ < 1s)
    return &*tokens_;
  tokens_looked_ = now;
  std::error_code ec;
  auto seen = std::filesystem::last_write_time(settings_.tokens_file, ec);
  if (tokens_ && !ec && seen == tokens_seen_)
    return &*tokens_;
  std::string error;
  if (auto loaded = token_list::load(settings_.tokens_file, error)) {
    tokens_ = std::move(loaded);
    tokens_seen_ = seen;
  } else {
    // Nobody comes in by tokens that can't be read: not even by those that were read before.
    spdlog::error("the API's tokens: {}", error);
    tokens_.emplace();
    tokens_seen_ = {};
  }
  return &*tokens_;
}

bool access_control::within_rate(const std::string& id) {
  if (settings_.rate_limit <= 0)
    return true;
  auto now = steady::now();
  auto [entry, made] = buckets_.try_emplace(id, bucket{settings_.rate_limit * 2, now});
  auto& one = entry->second;
  one.left = std::min(settings_.rate_limit * 2,
                      one.left + settings_.rate_limit * std::chrono::duration<double>(now - one.at).count());
  one.at = now;
  if (one.left < 1)
    return false;
  one.left -= 1;
  return true;
}

access_control::verdict access_control::admit(const server_request& request) {
  verdict result;
  auto& who = result.who;
  const auto& peer = request.peer;
  auto list = tokens();
  auto authorization = request.header("authorization");
  constexpr std::string_view bearer = "bearer ";
  auto has_token = authorization.size() > bearer.size()
                && std::equal(bearer.begin(), bearer.end(), authorization.begin(),
                              [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
  who.name = peer.local ? "uid " + std::to_string(peer.uid) + " (pid " + std::to_string(peer.pid) + ")" : peer.address;
  who.owner = peer.local ? "uid " + std::to_string(peer.uid) : "loopback";
  if (!peer.certificate.empty())
    who.name += " certificate " + peer.certificate;
  if (has_token && list) {
    auto found = list->find(std::string_view{authorization}.substr(bearer.size()), std::chrono::system_clock::now());
    if (!found) {
      result.refusal = turn_away(401, "this token is unknown or has expired");
      return result;
    }
    who.name = "token " + found->name + " from " + who.name;
    who.owner = found->owner.empty() ? "token " + found->name : found->owner;
    who.scopes = found->scopes;
    who.profile = found->profile;
    if (!within_rate(found->id))
      result.refusal = turn_away(429, "more than " + std::to_string(static_cast<long>(settings_.rate_limit))
                                        + " requests per second came with this token");
    return result;
  }
  if (!peer.local && !settings_.tokens_file.empty()) {
    result.refusal = turn_away(401, "this needs a token: send Authorization: Bearer ... (the davit command reads "
                                    "DAVIT_TOKEN); davit token create makes one");
    return result;
  }
  // Without a token it counts where a request comes from. A web page that runs in a browser on this machine comes from
  // here too: by a name of its own that it made to point here, or across origins.
  if (!peer.local) {
    if (auto host = host_of(request.header("host")); !is_loopback_name(host)) {
      result.refusal = turn_away(
        403, "the Host \"" + host
               + "\" is not a name of this machine (localhost, 127.0.0.1, [::1]); use one of them, or a token");
      return result;
    }
    if (auto origin = request.header("origin");
        !origin.empty()
        && (!origin.starts_with("http") || origin.substr(origin.find("://") + 3) != request.header("host"))) {
      result.refusal = turn_away(403, "a web page from " + origin + " may not call this API");
      return result;
    }
  }
  who.scopes = settings_.local_scopes;
  return result;
}

void access_control::audit(const caller& who, const server_request& request, int status, const std::string& location,
                           std::function<void()> then) {
  json::object line{{"time", format_timestamp(std::chrono::system_clock::now())},
                    {"caller", json::to_value(who.name)},
                    {"method", json::to_value(request.method)},
                    {"path", json::to_value(request.path)},
                    {"status", status},
                    {"location", json::to_value(location)}};
  if (auto file = request.parameter("path"); !file.empty()) // what is read from a container
    line["file"] = json::to_value(file);
  audit_.write(encoding::printable_json(json::write(json::value(std::move(line)))), std::move(then));
}

} // namespace davit::api
