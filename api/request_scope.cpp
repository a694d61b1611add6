#include "api/request_scope.hpp"

#include "api/page.hpp"

#include <set>
#include <vector>

namespace davit::api {

bool reads_files(const transport::server_request& request) {
  const auto& path = request.segments;
  return path.size() >= 2 && path[0] == "v1"
      && ((path.size() == 4 && path[1] == "tasks" && path[3] == "files")
          || (path.size() > 4 && path[1] == "tasks" && path[3] == "outputs")
          || (path.size() == 3 && (path[1] == "blobs" || path[1] == "trees")));
}

bool brings_files(const transport::server_request& request) {
  const auto& path = request.segments;
  return path.size() >= 2 && path[0] == "v1" && (path[1] == "blobs" || path[1] == "uploads" || path[1] == "trees");
}

namespace {

bool reads_metrics(const transport::server_request& request) {
  return request.segments == std::vector<std::string>{"metrics"}
      && (request.method == "GET" || request.method == "HEAD");
}

} // namespace

std::optional<api_scope> scope_of(const transport::server_request& request, const access_settings& settings) {
  const auto& path = request.segments;
  if (path.size() == 1
      && (path[0] == "healthz" || path[0] == "readyz" || path[0] == "openapi.json"
          || (path[0] == "metrics" && settings.open_metrics)))
    return std::nullopt;
  if (!page_asset(request.path).bytes.empty()) // it asks for the token itself
    return std::nullopt;
  // What lies in a container is nearer to who runs it than to who watches.
  if (reads_files(request))
    return api_scope::submit;
  if (reads_metrics(request))
    return api_scope::metrics;
  if (brings_files(request))
    return api_scope::submit;
  if (request.method == "GET" || request.method == "HEAD")
    return api_scope::read;
  if (path.size() >= 2 && path[1] == "tasks" && (path.size() == 2 || (path.size() == 4 && path[3] == "retry")))
    return api_scope::submit;
  if (path.size() == 4 && path[1] == "tasks" && path[3] == "cancel")
    return api_scope::cancel;
  if (path.size() == 2 && path[1] == "caches") // who may keep them may remove them
    return api_scope::submit;
  return api_scope::admin;
}

std::optional<std::string> repeated_parameter(const transport::server_request& request) {
  std::set<std::string> seen;
  for (const auto& [name, _] : request.query)
    if (name != "label" && !seen.insert(name).second)
      return name;
  return std::nullopt;
}

std::string unknown_parameter(const transport::server_request& request) {
  const auto& path = request.segments;
  if ((path.size() == 2 && path[1] == "tasks" && request.method != "POST") || (path.size() == 4 && path[3] == "logs"))
    return {};
  if (path.size() == 2 && path[1] == "caches") {
    auto removes = request.method == "DELETE";
    for (const auto& [name, value] : request.query)
      if (name != "scope" && (removes ? name != "key" && name != "prefix" : name != "after"))
        return name;
    return {};
  }
  auto taken = path.back() == "wait"   ? "timeout"
             : path.back() == "cancel" ? "within"
             : path.back() == "events" ? "after"
             : path.back() == "files"  ? "path"
             : path[1] == "uploads"    ? "offset"
                                       : "";
  for (const auto& [name, value] : request.query)
    if (name != taken)
      return name;
  return {};
}

} // namespace davit::api
