// Between davit's words and the Docker Engine API's JSON. No I/O in here, so it can be fuzzed.
// Source: Docker Engine API reference, v1.41.
#pragma once

#include "transport/error.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace davit::transport {

/// The body of `POST /containers/create`. (docker_create_json.cpp)
std::string create_body(const container_plan& plan);

/// `GET /containers/{id}/json`
result<container_status> read_container(std::string_view body);

/// `GET /containers/json`
result<std::vector<container_summary>> read_containers(std::string_view body);
result<std::vector<volume_summary>> read_volumes(std::string_view body);

/// The answer of `POST /volumes/create`
result<volume_summary> read_volume(std::string_view body);

/// `GET /images/{name}/json`
result<image_info> read_image(std::string_view body);

/// `GET /info`; version and API fields are left to the caller.
result<engine_info> read_info(std::string_view body);

/// A line of `GET /events`.
result<engine_event> read_event(std::string_view line);

/// The engine's `{"message": "..."}`, or the start of whatever else it said.
std::string read_message(std::string_view body);

/// The error that an answer with a status of 400 and above is: 404 not_found, 409 conflict, other 4xx refused, 5xx
/// failed.
error read_error(int status, std::string_view body);

/// The `filters` of a query, before they are encoded for its URL.
std::string write_filters(const std::vector<std::pair<std::string, std::string>>& filters);

/// The `Id` of an answer to create.
result<std::string> read_id(std::string_view body);

/// Follows the lines of `POST /images/create`.
class pull_reader {
public:
  explicit pull_reader(std::string image) { progress_.image = std::move(image); }

  /// A line of the answer. An error is the engine's own: the pull has failed.
  result<void> line(std::string_view text);

  const pull_progress& progress() const noexcept { return progress_; }

private:
  struct layer {
    std::uint64_t current = 0;
    std::uint64_t total = 0;
    bool done = false;
  };
  pull_progress progress_;
  std::map<std::string, layer> layers_;
};

/// Cuts a stream into lines, over the borders of its pieces. A line over `max_line` bytes is an error.
class line_splitter {
public:
  explicit line_splitter(std::size_t max_line = 4 * 1024 * 1024) : max_line_(max_line) {}

  template <class Sink>
  result<void> feed(std::string_view bytes, Sink sink) {
    while (!bytes.empty()) {
      auto end = bytes.find('\n');
      if (held_.size() + std::min(end, bytes.size()) > max_line_)
        return error{engine_errc::protocol, 0,
                     "a line of the engine's answer is longer than " + std::to_string(max_line_) + " bytes"};
      if (end == std::string_view::npos) {
        held_.append(bytes);
        return {};
      }
      held_.append(bytes.substr(0, end));
      bytes.remove_prefix(end + 1);
      auto line = std::exchange(held_, {});
      while (!line.empty() && line.back() == '\r')
        line.pop_back();
      if (!line.empty())
        if (result<void> taken = sink(std::string_view{line}); !taken)
          return taken;
    }
    return {};
  }

private:
  std::size_t max_line_;
  std::string held_;
};

} // namespace davit::transport
