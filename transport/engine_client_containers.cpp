// What an engine_client asks about containers.
#include "transport/engine_client.hpp"

#include "encoding/base64.hpp"
#include "json/read.hpp"
#include "json/write.hpp"
#include "transport/docker_json.hpp"

namespace davit::transport {

namespace {

/// How long an archive may stand still, at either end.
constexpr std::chrono::minutes archive_patience{5};

} // namespace

awaitable<result<std::string>> engine_client::create_container(container_plan plan, call_options options) {
  auto self = shared_from_this();
  auto response
    = co_await call("POST", "/containers/create?name=" + url_encode(plan.name), create_body(plan), std::move(options));
  if (!response)
    co_return response.error();
  co_return read_id(response->body);
}

awaitable<result<bool>> engine_client::start_container(std::string id, call_options options) {
  auto self = shared_from_this();
  auto response = co_await call("POST", "/containers/" + url_encode(id) + "/start", {}, std::move(options));
  if (!response)
    co_return response.error();
  co_return response->status != 304;
}

awaitable<result<std::int64_t>> engine_client::wait_container(std::string id, call_options options) {
  auto self = shared_from_this();
  auto response
    = co_await call("POST", "/containers/" + url_encode(id) + "/wait?condition=not-running", {}, std::move(options));
  if (!response)
    co_return response.error();
  // The header comes before the result: an engine that dies meanwhile leaves 200 and an empty body.
  json::parser parser;
  auto root = parser.parse(response->body);
  std::int64_t code = 0;
  if (!root || (*root)["StatusCode"].get_int64().get(code) != simdjson::SUCCESS)
    co_return error{engine_errc::lost, 0, "the engine ended the wait without a result"};
  co_return code;
}

awaitable<result<container_status>> engine_client::inspect_container(std::string id_or_name, call_options options) {
  auto self = shared_from_this();
  auto response = co_await call("GET", "/containers/" + url_encode(id_or_name) + "/json", {}, std::move(options));
  if (!response)
    co_return response.error();
  co_return read_container(response->body);
}

awaitable<result<std::uint32_t>> engine_client::count_processes(std::string id, call_options options) {
  auto self = shared_from_this();
  auto response
    = co_await call("GET", "/containers/" + url_encode(id) + "/stats?stream=0&one-shot=1", {}, std::move(options));
  if (!response)
    co_return response.error();
  json::parser parser;
  auto root = parser.parse(response->body);
  std::uint64_t count = 0;
  if (!root)
    co_return error{engine_errc::protocol, 0, "the engine's answer is malformed: " + root.error().text()};
  if ((*root)["pids_stats"]["current"].get_uint64().get(count) != simdjson::SUCCESS)
    count = 0;
  co_return static_cast<std::uint32_t>(count);
}

awaitable<result<bool>> engine_client::stop_container(std::string id, duration grace, call_options options) {
  auto self = shared_from_this();
  auto seconds = std::to_string((grace.count() + 999) / 1000);
  auto response = co_await call("POST", "/containers/" + url_encode(id) + "/stop?t=" + seconds, {}, std::move(options));
  if (!response)
    co_return response.error();
  co_return response->status != 304;
}

awaitable<result<void>> engine_client::rename_container(std::string id, std::string name, call_options options) {
  auto self = shared_from_this();
  auto response = co_await call("POST", "/containers/" + url_encode(id) + "/rename?name=" + url_encode(name), {},
                                std::move(options));
  if (!response)
    co_return response.error();
  co_return result<void>{};
}

awaitable<result<void>> engine_client::kill_container(std::string id, std::string signal, call_options options) {
  auto self = shared_from_this();
  auto response = co_await call("POST", "/containers/" + url_encode(id) + "/kill?signal=" + url_encode(signal), {},
                                std::move(options));
  if (!response)
    co_return response.error();
  co_return result<void>{};
}

awaitable<result<void>> engine_client::remove_container(std::string id, call_options options) {
  auto self = shared_from_this();
  auto response = co_await call("DELETE", "/containers/" + url_encode(id) + "?v=1&force=1", {}, std::move(options));
  if (!response && response.error().code != engine_errc::not_found)
    co_return response.error();
  co_return result<void>{};
}

awaitable<result<std::vector<container_summary>>>
engine_client::list_containers(std::vector<std::string> labels, call_options options) {
  auto self = shared_from_this();
  std::vector<std::pair<std::string, std::string>> filters;
  filters.reserve(labels.size());
  for (auto& label : labels)
    filters.emplace_back("label", std::move(label));
  auto response = co_await call("GET", "/containers/json?all=1&filters=" + url_encode(write_filters(filters)), {},
                                std::move(options));
  if (!response)
    co_return response.error();
  co_return read_containers(response->body);
}

awaitable<result<std::vector<volume_summary>>>
engine_client::list_volumes(std::vector<std::string> labels, call_options options) {
  auto self = shared_from_this();
  std::vector<std::pair<std::string, std::string>> filters;
  filters.reserve(labels.size());
  for (auto& label : labels)
    filters.emplace_back("label", std::move(label));
  auto response
    = co_await call("GET", "/volumes?filters=" + url_encode(write_filters(filters)), {}, std::move(options));
  if (!response)
    co_return response.error();
  co_return read_volumes(response->body);
}

awaitable<result<volume_summary>> engine_client::create_volume(volume_plan plan, call_options options) {
  auto self = shared_from_this();
  json::object body{{"Name", plan.name},
                    {"Driver", "local"},
                    {"DriverOpts", json::to_value(plan.options)},
                    {"Labels", json::to_value(plan.labels)}};
  auto response
    = co_await call("POST", "/volumes/create", json::write(json::value(std::move(body))), std::move(options));
  if (!response)
    co_return response.error();
  co_return read_volume(response->body);
}

awaitable<result<bool>> engine_client::remove_volume(std::string name, call_options options) {
  auto self = shared_from_this();
  auto response = co_await call("DELETE", "/volumes/" + url_encode(name), {}, std::move(options));
  if (!response && response.error().code != engine_errc::not_found)
    co_return response.error();
  co_return response.has_value();
}

awaitable<result<std::unique_ptr<response_stream>>>
engine_client::logs(std::string id, log_options what, call_options options) {
  auto self = shared_from_this();
  std::string path = "/containers/" + url_encode(id) + "/logs?stdout=1&stderr=1&timestamps=1";
  if (what.follow)
    path += "&follow=1";
  if (!what.since.empty())
    path += "&since=" + what.since;
  if (what.tail != 0)
    path += "&tail=" + std::to_string(what.tail);
  co_return co_await open("GET", path, std::move(options));
}

awaitable<result<hijacked_stream>> engine_client::attach(std::string id, bool output, call_options options) {
  auto self = shared_from_this();
  http_request request;
  request.method = "POST";
  request.target
    = versioned("/containers/" + url_encode(id) + "/attach?stream=1&stdin=1" + (output ? "&stdout=1&stderr=1" : ""));
  auto hijacked = co_await http_->hijack(std::move(request), std::move(options));
  if (!hijacked && hijacked.error().status != 0)
    co_return read_error(hijacked.error().status, hijacked.error().message);
  co_return hijacked;
}

awaitable<result<std::string>> engine_client::create_exec(std::string container, exec_plan plan, call_options options) {
  auto self = shared_from_this();
  json::array env;
  for (const auto& [name, value] : plan.env)
    env.push_back(json::to_value(name + '=' + value));
  json::object body{{"Cmd", json::to_value(plan.command)}, {"Env", std::move(env)}, {"Tty", plan.tty},
                    {"AttachStdin", plan.open_stdin},      {"AttachStdout", true},  {"AttachStderr", true},
                    {"WorkingDir", plan.workdir},          {"User", plan.user}};
  auto response = co_await call("POST", "/containers/" + url_encode(container) + "/exec",
                                json::write(json::value(std::move(body))), std::move(options));
  if (!response)
    co_return response.error();
  co_return read_id(response->body);
}

awaitable<result<hijacked_stream>> engine_client::start_exec(std::string exec, bool tty, call_options options) {
  auto self = shared_from_this();
  http_request request;
  request.method = "POST";
  request.target = versioned("/exec/" + url_encode(exec) + "/start");
  request.body = tty ? R"({"Detach":false,"Tty":true})" : R"({"Detach":false,"Tty":false})";
  auto hijacked = co_await http_->hijack(std::move(request), std::move(options));
  if (!hijacked && hijacked.error().status != 0)
    co_return read_error(hijacked.error().status, hijacked.error().message);
  co_return hijacked;
}

awaitable<result<exec_status>> engine_client::inspect_exec(std::string exec, call_options options) {
  auto self = shared_from_this();
  auto response = co_await call("GET", "/exec/" + url_encode(exec) + "/json", {}, std::move(options));
  if (!response)
    co_return response.error();
  json::parser parser;
  auto root = parser.parse(response->body);
  exec_status status;
  if (!root || (*root)["Running"].get_bool().get(status.running) != simdjson::SUCCESS)
    co_return error{engine_errc::protocol, 0, "the engine's answer is malformed: an exec without Running"};
  if (!status.running && (*root)["ExitCode"].get_int64().get(status.exit_code) != simdjson::SUCCESS)
    co_return error{engine_errc::protocol, 0, "the engine's answer is malformed: an ended exec without ExitCode"};
  co_return status;
}

awaitable<result<std::string>>
engine_client::link_target(std::string container, std::string path, call_options options) {
  auto self = shared_from_this();
  auto response = co_await call("HEAD", "/containers/" + url_encode(container) + "/archive?path=" + url_encode(path),
                                {}, std::move(options));
  if (!response)
    co_return response.error();
  auto stat = encoding::base64_decode(response->header("X-Docker-Container-Path-Stat"));
  json::parser parser;
  std::string_view target;
  auto root = parser.parse(stat.value_or(""));
  if (!root || (*root)["linkTarget"].get_string().get(target) != simdjson::SUCCESS)
    co_return error{engine_errc::protocol, 0, "the engine's answer is malformed: a path without linkTarget"};
  co_return std::string{target};
}

awaitable<result<std::string>>
engine_client::download_archive(std::string container, std::string path, call_options options) {
  auto self = shared_from_this();
  auto response = co_await call("GET", "/containers/" + url_encode(container) + "/archive?path=" + url_encode(path), {},
                                std::move(options));
  if (!response)
    co_return response.error();
  co_return std::move(response->body);
}

awaitable<result<void>>
engine_client::upload_archive(std::string container, std::string path, std::string tar, call_options options) {
  auto self = shared_from_this();
  http_request request;
  request.method = "PUT";
  request.target
    = versioned("/containers/" + url_encode(container) + "/archive?noOverwriteDirNonDir=1&path=" + url_encode(path));
  request.body = std::move(tar);
  request.content_type = "application/x-tar";
  auto response = co_await http_->request(std::move(request), std::move(options));
  if (!response)
    co_return response.error();
  if (response->status >= 400)
    co_return read_error(response->status, response->body);
  co_return result<void>{};
}

awaitable<result<void>> engine_client::upload_stream(std::string container, std::string path,
                                                     std::shared_ptr<byte_channel> tar, call_options options) {
  auto self = shared_from_this();
  auto done = co_await send_tar(
    "PUT", "/containers/" + url_encode(container) + "/archive?noOverwriteDirNonDir=1&path=" + url_encode(path),
    std::move(tar), std::move(options));
  co_return done ? result<void>{} : result<void>{done.error()};
}

awaitable<result<void>> engine_client::download_stream(std::string container, std::string path,
                                                       std::shared_ptr<byte_channel> to, call_options options) {
  auto self = shared_from_this();
  auto give_up = [&](error why) {
    to->fail(why);
    return result<void>{std::move(why)};
  };
  auto opened = co_await open("GET", "/containers/" + url_encode(container) + "/archive?path=" + url_encode(path),
                              std::move(options));
  if (!opened)
    co_return give_up(opened.error());
  auto stream = std::move(*opened);
  while (true) {
    auto piece = co_await stream->read(within(archive_patience));
    if (!piece)
      co_return give_up(piece.error());
    if (piece->empty())
      break;
    if (!co_await to->push_async(std::string{*piece}, within(archive_patience))) {
      stream->close();
      co_return give_up(to->failure().value_or(error{engine_errc::timed_out, 0, "nobody took the archive's bytes"}));
    }
  }
  to->end();
  co_return result<void>{};
}

} // namespace davit::transport
