#include "api/request_text.hpp"

#include <simdjson.h>

#include <algorithm>
#include <utility>

namespace davit::api {

namespace {

/// Headers whose values are more than a word of HTTP.
constexpr std::pair<const char*, const char*> text_headers[]
  = {{"idempotency-key", "Idempotency-Key"}, {"last-event-id", "Last-Event-ID"}};

} // namespace

bool is_text(std::string_view bytes) {
  return bytes.find('\0') == std::string_view::npos && simdjson::validate_utf8(bytes.data(), bytes.size());
}

std::string first_not_text(const transport::server_request& request) {
  for (const auto& [name, value] : request.query)
    if (!is_text(name))
      return "query";
    else if (!is_text(value))
      return name;
  for (const auto& [name, shown] : text_headers)
    if (!is_text(request.header(name)))
      return shown;
  return std::all_of(request.segments.begin(), request.segments.end(), is_text) ? "" : "path";
}

std::string first_not_text(const task_spec& spec) {
  if (!is_text(spec.name))
    return "name";
  if (!is_text(spec.dedupe_key))
    return "dedupe_key";
  for (const auto& [name, value] : spec.labels)
    if (!is_text(name) || !is_text(value))
      return "labels";
  return {};
}

} // namespace davit::api
