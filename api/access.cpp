#include "api/access.hpp"

#include "api/problem.hpp"
#include "encoding/printable.hpp"
#include "json/write.hpp"
#include "store/private_files.hpp"

#include <algorithm>

namespace davit::api {

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
  return response;
}

/// Where a request comes from.
std::string place_of(const transport::server_peer& peer) {
  auto place
    = peer.local ? "uid " + std::to_string(peer.uid) + " (pid " + std::to_string(peer.pid) + ")" : peer.address;
  return peer.certificate.empty() ? place : place + " certificate " + peer.certificate;
}

/// The token that a request carries, which nobody has if it is of another scheme or empty: who means to show one does
/// not come as somebody without one. None: it carries none.
std::optional<std::string> bearer_of(const server_request& request) {
  if (!request.headers.contains("authorization"))
    return std::nullopt;
  auto authorization = request.header("authorization");
  constexpr std::string_view bearer = "bearer ";
  if (authorization.size() <= bearer.size()
      || !std::equal(bearer.begin(), bearer.end(), authorization.begin(),
                     [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); }))
    return std::string{};
  auto begin = authorization.find_first_not_of(' ', bearer.size());
  return begin == std::string::npos ? std::string{} : authorization.substr(begin);
}

} // namespace

access_control::access_control(access_settings settings, const std::filesystem::path& data_dir,
                               const boost::asio::any_io_executor& executor)
  : settings_(std::move(settings)), identities_(settings_, executor), rates_(settings_.rate_limit),
    audit_(settings_.audit_log.empty() ? (data_dir / "audit.log").string() : settings_.audit_log,
           settings_.audit_log.empty() || store::lies_in(settings_.audit_log, data_dir)) {}

access_control::verdict access_control::admit(const server_request& request) {
  verdict result;
  auto& who = result.who;
  const auto& peer = request.peer;
  who.name = place_of(peer);
  who.owner = peer.local ? "uid " + std::to_string(peer.uid) : "loopback";
  if (auto bearer = bearer_of(request); bearer && identities_.any()) {
    auto judged = identities_.judge(*bearer, std::chrono::system_clock::now());
    if (!judged.known) {
      result.refusal = turn_away(judged.status, judged.why);
      return result;
    }
    auto from = std::move(who.name);
    who = std::move(judged.known->who);
    who.name += " from " + from;
    if (!rates_.allows(judged.known->subject, std::chrono::steady_clock::now()))
      result.refusal = turn_away(429, "more than " + std::to_string(static_cast<long>(settings_.rate_limit))
                                        + " requests per second came with this token");
    return result;
  }
  if (!peer.local && identities_.any()) {
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

std::optional<std::string> access_control::lapsed(const server_request& request, standing& last) {
  auto now = std::chrono::system_clock::now();
  auto version = identities_.version();
  auto& known = last.known;
  if (known && known->expires_at && now >= *known->expires_at)
    return "this token has expired";
  if (known && version == last.version)
    return std::nullopt;
  auto bearer = bearer_of(request);
  if (!bearer || !identities_.any())
    return std::nullopt;
  auto judged = identities_.judge(*bearer, now);
  if (judged.status == 503) // it can't be told now
    return std::nullopt;
  if (!judged.known)
    return judged.why;
  const auto& who = judged.known->who;
  auto may_less = [&](api_scope one) { return allows(known->who.scopes, one) && !allows(who.scopes, one); };
  if (known
      && (known->who.owner != who.owner || known->who.labels != who.labels || may_less(api_scope::read)
          || may_less(api_scope::read_all)))
    return "this token allows less than before";
  known = std::move(judged.known);
  known->who.name += " from " + place_of(request.peer);
  last.version = version;
  return std::nullopt;
}

void access_control::audit(const caller& who, const server_request& request, int status, const std::string& location,
                           std::function<void()> then) {
  constexpr std::size_t longest_path = 2048, refused_path = 200;
  // What was refused changed nothing: a caller's refusals must not push all other lines out.
  auto stranger = who.scopes.empty(), quiet = stranger || status >= 400;
  auto whose = stranger ? std::string{} : who.owner;
  if (quiet && !refusals_.allows(whose, std::chrono::steady_clock::now())) {
    ++left_out_[whose];
    return then();
  }
  json::object line{{"time", format_timestamp(std::chrono::system_clock::now())},
                    {"caller", json::to_value(who.name)},
                    {"method", json::to_value(request.method)},
                    {"path", json::to_value(request.path.substr(0, quiet ? refused_path : longest_path))},
                    {"status", status},
                    {"location", json::to_value(location)}};
  if (auto file = request.parameter("path"); !file.empty() && !stranger) // what is read from a container
    line["file"] = json::to_value(file.substr(0, longest_path));
  if (auto missed = quiet ? left_out_.extract(whose) : decltype(left_out_)::node_type{})
    line["left_out"] = missed.mapped();
  audit_.write(encoding::printable_json(json::write(json::value(std::move(line)))), std::move(then));
}

} // namespace davit::api
