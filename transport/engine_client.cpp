#include "transport/engine_client.hpp"

#include "json/write.hpp"
#include "json/read.hpp"
#include "transport/docker_json.hpp"

#include <boost/asio/strand.hpp>

#include <charconv>
#include <deque>

namespace davit::transport {

namespace asio = boost::asio;

std::strong_ordering compare_versions(std::string_view a, std::string_view b) {
  auto take = [](std::string_view& text) {
    int number = 0;
    auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (!text.empty())
      text.remove_prefix(1);
    return number;
  };
  while (!a.empty() || !b.empty())
    if (auto order = take(a) <=> take(b); order != 0)
      return order;
  return std::strong_ordering::equal;
}

result<std::string> choose_version(std::string_view engine_least, std::string_view engine_most) {
  // It becomes a part of every request's path.
  for (auto text : {engine_least, engine_most}) {
    auto dot = text.find('.');
    auto digits = [](std::string_view part) {
      return !part.empty() && part.size() <= 4 && part.find_first_not_of("0123456789") == std::string_view::npos;
    };
    if (dot == std::string_view::npos || !digits(text.substr(0, dot)) || !digits(text.substr(dot + 1)))
      return error{engine_errc::protocol, 0, "this is not a Docker engine: it reports an invalid API version"};
  }
  if (compare_versions(engine_most, least_api_version) < 0)
    return error{engine_errc::version, 0,
                 "the engine offers API " + std::string{engine_most} + " at most, davit needs "
                   + std::string{least_api_version} + " (Docker 19.03) at least; upgrade the engine"};
  if (compare_versions(engine_least, most_api_version) > 0)
    return error{engine_errc::version, 0,
                 "the engine needs API " + std::string{engine_least} + " or newer, davit speaks "
                   + std::string{most_api_version} + " at most; upgrade davit"};
  return std::string{compare_versions(engine_most, most_api_version) < 0 ? engine_most : most_api_version};
}

std::pair<std::string, std::string> split_image(std::string_view name) {
  if (auto at = name.find('@'); at != std::string_view::npos)
    return {std::string{name.substr(0, at)}, std::string{name.substr(at + 1)}};
  auto colon = name.rfind(':');
  if (colon == std::string_view::npos || name.find('/', colon) != std::string_view::npos)
    return {std::string{name}, "latest"};
  return {std::string{name.substr(0, colon)}, std::string{name.substr(colon + 1)}};
}

// -- event_stream ----------------------------------------------------------------------------------------------------

struct event_stream::state {
  std::unique_ptr<response_stream> stream;
  line_splitter lines;
  std::deque<engine_event> events;
};

event_stream::event_stream(std::unique_ptr<response_stream> stream) : state_(std::make_unique<state>()) {
  state_->stream = std::move(stream);
}

event_stream::~event_stream() = default;

awaitable<result<std::optional<engine_event>>> event_stream::next(deadline until) {
  auto& s = *state_;
  while (s.events.empty()) {
    auto piece = co_await s.stream->read(until);
    if (!piece)
      co_return piece.error();
    if (piece->empty())
      co_return std::optional<engine_event>{};
    auto fed = s.lines.feed(*piece, [&](std::string_view line) -> result<void> {
      auto event = read_event(line);
      if (!event)
        return event.error();
      s.events.push_back(std::move(*event));
      return {};
    });
    if (!fed)
      co_return fed.error();
  }
  std::optional<engine_event> event{std::move(s.events.front())};
  s.events.pop_front();
  co_return event;
}

// -- engine_client ---------------------------------------------------------------------------------------------------

engine_client::engine_client(asio::io_context& context, endpoint where)
  : http_(std::make_shared<http_client>(asio::make_strand(context), std::move(where))) {}

asio::any_io_executor engine_client::executor() const {
  return http_->executor();
}

const endpoint& engine_client::where() const {
  return http_->where();
}

void engine_client::drop_idle() {
  http_->drop_idle();
}

std::string engine_client::versioned(const std::string& path) const {
  return api_version_.empty() ? path : "/v" + api_version_ + path;
}

awaitable<result<http_response>>
engine_client::call(std::string method, std::string path, std::string body, call_options options) {
  auto self = shared_from_this();
  http_request request;
  request.method = std::move(method);
  request.target = versioned(path);
  request.body = std::move(body);
  auto response = co_await http_->request(std::move(request), std::move(options));
  if (!response)
    co_return response.error();
  if (response->status >= 400)
    co_return read_error(response->status, response->body);
  co_return response;
}

awaitable<result<std::unique_ptr<response_stream>>>
engine_client::open(std::string method, std::string path, call_options options,
                    std::vector<std::pair<std::string, std::string>> headers) {
  auto self = shared_from_this();
  http_request request;
  request.method = std::move(method);
  request.target = versioned(path);
  request.headers = std::move(headers);
  auto until = options.until;
  auto opened = co_await http_->open(std::move(request), std::move(options));
  if (!opened)
    co_return opened.error();
  auto stream = std::move(*opened);
  if (stream->status() < 400)
    co_return stream;
  std::string body;
  while (body.size() < 64 * 1024) {
    auto piece = co_await stream->read(until);
    if (!piece || piece->empty())
      break;
    body.append(*piece);
  }
  co_return read_error(stream->status(), body);
}

awaitable<result<engine_info>> engine_client::connect(call_options options) {
  auto self = shared_from_this();
  api_version_.clear();
  auto pinged = co_await call("GET", "/_ping", {}, options);
  if (!pinged) {
    auto e = pinged.error();
    if (e.message.find("HTTP request to an HTTPS server") != std::string::npos)
      e = {engine_errc::tls, 0,
           to_string(where())
             + " speaks TLS; set tls-ca, tls-certificate and tls-key (or DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH)"};
    co_return e;
  }
  auto most = pinged->header("Api-Version");
  std::string least = "1.0";
  auto versions = co_await call("GET", "/version", {}, options);
  if (!versions)
    co_return versions.error();
  {
    json::parser parser;
    auto root = parser.parse(versions->body);
    if (!root)
      co_return error{engine_errc::protocol, 0, "the answer to /version is malformed: " + root.error().text()};
    std::string_view text;
    if ((*root)["MinAPIVersion"].get(text) == simdjson::SUCCESS)
      least = text;
    if (most.empty() && (*root)["ApiVersion"].get(text) == simdjson::SUCCESS)
      most = text;
  }
  if (most.empty())
    co_return error{engine_errc::protocol, 0,
                    to_string(where()) + " is not a Docker engine: it reports no API version"};
  auto chosen = choose_version(least, most);
  if (!chosen)
    co_return chosen.error();
  api_version_ = *chosen;
  api_range_ = least + "-" + most;
  co_return co_await info(options);
}

awaitable<result<void>> engine_client::ping(call_options options) {
  auto self = shared_from_this();
  auto response = co_await call("GET", "/_ping", {}, std::move(options));
  if (!response)
    co_return response.error();
  co_return result<void>{};
}

awaitable<result<engine_info>> engine_client::info(call_options options) {
  auto self = shared_from_this();
  auto response = co_await call("GET", "/info", {}, options);
  if (!response)
    co_return response.error();
  auto info = read_info(response->body);
  if (info) {
    info->api_version = api_version_;
    info->api_range = api_range_;
    if (auto named = co_await identify(*info, std::move(options)); !named)
      co_return named.error();
  }
  co_return info;
}

void engine_client::remember(std::string reported_id, std::string id) {
  std::lock_guard lock{known_mutex_};
  known_ = {std::move(reported_id), std::move(id)};
}

awaitable<result<void>> engine_client::identify(engine_info& info, call_options options) {
  auto self = shared_from_this();
  info.reported_id = info.id;
  auto label_of = [](const std::string& body) {
    json::parser parser;
    std::string_view text;
    auto root = parser.parse(body);
    uuid id;
    return root && (*root)["Labels"][engine_label].get(text) == simdjson::SUCCESS && from_string(text, id)
           ? to_string(id)
           : std::string{};
  };
  auto found = co_await call("GET", "/volumes/" + std::string{engine_volume}, {}, options);
  std::string id;
  if (found) {
    id = label_of(found->body);
  } else if (found.error().code == engine_errc::not_found) {
    id = to_string(uuid::make_v4());
    {
      std::lock_guard lock{known_mutex_};
      if (known_.first == info.reported_id && !known_.second.empty()) // somebody has pruned the volume
        id = known_.second;
    }
    // One that another agent has just made is given as it is.
    json::object body{{"Name", engine_volume}, {"Labels", json::object{{std::string{engine_label}, id}}}};
    auto made = co_await call("POST", "/volumes/create", json::write(json::value(std::move(body))), std::move(options));
    id = made ? label_of(made->body) : std::string{};
  } else if (auto code = found.error().code; code == engine_errc::cancelled || is_connection_trouble(code)) {
    co_return found.error();
  }
  if (!id.empty()) { // else it may not have volumes, or davit may not make them
    info.id = id;
    remember(info.reported_id, id);
  }
  co_return result<void>{};
}

namespace {

/// An image's name has slashes, which the engine wants to see as they are.
std::string path_of_image(const std::string& name) {
  std::string path;
  for (std::size_t at = 0; at <= name.size();) {
    auto slash = std::min(name.find('/', at), name.size());
    path += url_encode(name.substr(at, slash - at));
    path += slash < name.size() ? "/" : "";
    at = slash + 1;
  }
  return path;
}

std::vector<std::pair<std::string, std::string>> headers_of(const registry_auth& auth) {
  std::vector<std::pair<std::string, std::string>> headers;
  if (!auth.header.empty())
    headers.emplace_back("X-Registry-Auth", auth.header);
  return headers;
}

} // namespace

awaitable<result<void>> engine_client::ask_registry(std::string name, registry_auth auth, call_options options) {
  auto self = shared_from_this();
  auto until = options.until;
  auto opened
    = co_await open("GET", "/distribution/" + path_of_image(name) + "/json", std::move(options), headers_of(auth));
  if (!opened) {
    const auto& text = opened.error().message;
    if (text.find("not supported") != std::string::npos || text.find("page not found") != std::string::npos)
      co_return result<void>{};
    co_return opened.error();
  }
  auto stream = std::move(*opened);
  while (true) {
    auto piece = co_await stream->read(until);
    if (!piece)
      co_return piece.error();
    if (piece->empty())
      co_return result<void>{};
  }
}

awaitable<result<image_info>> engine_client::inspect_image(std::string name, call_options options) {
  auto self = shared_from_this();
  auto response = co_await call("GET", "/images/" + path_of_image(name) + "/json", {}, std::move(options));
  if (!response)
    co_return response.error();
  co_return read_image(response->body);
}

awaitable<result<void>> engine_client::pull_image(std::string name, registry_auth auth,
                                                  std::function<void(const pull_progress&)> progress,
                                                  call_options options) {
  auto self = shared_from_this();
  auto [image, tag] = split_image(name);
  auto opened = co_await open("POST", "/images/create?fromImage=" + url_encode(image) + "&tag=" + url_encode(tag),
                              options, headers_of(auth));
  if (!opened)
    co_return opened.error();
  auto stream = std::move(*opened);
  pull_reader reader{name};
  line_splitter lines;
  while (true) {
    auto piece = co_await stream->read(options.until);
    if (!piece)
      co_return piece.error();
    if (piece->empty())
      break;
    auto fed = lines.feed(*piece, [&](std::string_view line) { return reader.line(line); });
    if (!fed)
      co_return fed.error();
    if (progress)
      progress(reader.progress());
  }
  co_return result<void>{};
}

awaitable<result<bool>> engine_client::remove_image(std::string name, call_options options) {
  auto self = shared_from_this();
  // A name's slashes are part of the path here.
  auto response = co_await call("DELETE", "/images/" + name + "?force=0", {}, std::move(options));
  if (!response && response.error().code != engine_errc::not_found)
    co_return response.error();
  co_return response.has_value();
}

awaitable<result<std::string>> engine_client::send_tar(std::string method, std::string target,
                                                       std::shared_ptr<byte_channel> tar, call_options options) {
  auto self = shared_from_this();
  http_request request;
  request.method = std::move(method);
  request.target = versioned(target);
  request.body_from = tar;
  request.content_type = "application/x-tar";
  auto response = co_await http_->request(std::move(request), std::move(options));
  result<std::string> outcome{std::string{}};
  if (!response)
    outcome = response.error();
  else if (response->status >= 400)
    outcome = read_error(response->status, response->body);
  else
    outcome = std::move(response->body);
  if (!outcome)
    tar->fail(outcome.error());
  co_return outcome;
}

awaitable<result<std::unique_ptr<event_stream>>> engine_client::events(event_options what, call_options options) {
  auto self = shared_from_this();
  std::string path = "/events?filters=" + url_encode(write_filters(what.filters));
  if (!what.since.empty())
    path += "&since=" + what.since;
  if (!what.until.empty())
    path += "&until=" + what.until;
  auto opened = co_await open("GET", path, std::move(options));
  if (!opened)
    co_return opened.error();
  co_return std::make_unique<event_stream>(std::move(*opened));
}

} // namespace davit::transport
