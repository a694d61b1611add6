#include "api/log_stream.hpp"

#include "json/write.hpp"
#include "encoding/base64.hpp"

#include <charconv>

namespace davit {

namespace {

std::optional<bool> read_flag(const std::string& text) {
  if (text.empty() || text == "0" || text == "false")
    return false;
  if (text == "1" || text == "true")
    return true;
  return std::nullopt;
}

} // namespace

std::optional<attempt_key> read_answer(const std::string& text) {
  attempt_key key;
  auto slash = text.find('/');
  if (slash == std::string::npos || !from_string(text.substr(0, slash), key.task))
    return std::nullopt;
  auto [end, ec] = std::from_chars(text.data() + slash + 1, text.data() + text.size(), key.number);
  return ec == std::errc{} && end == text.data() + text.size() ? std::optional{key} : std::nullopt;
}

bool read_log_request(const transport::server_request& request, log_stream_state& stream, std::string& field,
                      std::string& why) {
  for (const auto& [name, value] : request.query) {
    field = name;
    if (name == "follow" || name == "timestamps") {
      auto flag = read_flag(value);
      if (!flag) {
        why = "must be 0 or 1";
        return false;
      }
      (name == "follow" ? stream.follow : stream.timestamps) = *flag;
    } else if (name == "since") {
      if (auto at = parse_timestamp(value)) {
        stream.since = at;
      } else if (auto ago = parse_duration(value)) {
        stream.since = std::chrono::system_clock::now() - *ago;
      } else {
        why = "must be a time such as 2026-01-31T12:00:00Z, or a duration such as 5m";
        return false;
      }
    } else if (name == "stream") {
      if (value == "stdout" || value == "stderr") {
        from_string(value, stream.only);
      } else {
        why = "must be stdout or stderr";
        return false;
      }
    } else if (name == "tail" || name == "attempt") {
      std::int32_t number = 0;
      auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), number);
      if (code != std::errc{} || end != value.data() + value.size() || number < (name == "tail" ? 0 : 1)
          || number > 1'000'000) {
        why = "must be a whole number up to 1000000";
        return false;
      }
      if (name == "tail") {
        stream.tail.emplace(static_cast<std::uint64_t>(number));
      } else {
        stream.at.number = number;
        stream.one_attempt = true;
      }
    } else {
      why = "unknown parameter; the parameters are follow, since, stream, timestamps, tail, attempt";
      return false;
    }
  }
  auto accept = request.header("accept");
  if (accept.find("text/event-stream") != std::string::npos)
    stream.format = log_format::events;
  else if (accept.find("application/vnd.docker.multiplexed-stream") != std::string::npos)
    stream.format = log_format::multiplexed;
  if (auto last = request.header("last-event-id"); !last.empty()) {
    // ATTEMPT-OFFSET, as an event's id has told.
    field = "Last-Event-ID";
    std::int32_t number = 0;
    std::uint64_t offset = 0;
    auto end = last.data() + last.size();
    auto [dash, code] = std::from_chars(last.data(), end, number);
    if (code != std::errc{} || dash == end || *dash != '-' || number < 1) {
      why = "must be the id of an event of this log";
      return false;
    }
    auto [rest, offset_code] = std::from_chars(dash + 1, end, offset);
    if (offset_code != std::errc{} || rest != end) {
      why = "must be the id of an event of this log";
      return false;
    }
    if (stream.one_attempt && stream.at.number != number) {
      why = "is of another attempt";
      return false;
    }
    stream.at.number = number;
    stream.offset = offset;
    stream.tail.reset(); // it has been sent
  }
  return true;
}

std::string content_type(log_format format) {
  switch (format) {
    case log_format::events:
      return "text/event-stream";
    case log_format::multiplexed:
      return "application/vnd.docker.multiplexed-stream";
    default:
      return "text/plain; charset=utf-8";
  }
}

bool wanted(const log_stream_state& stream, const log_record& record) {
  if (stream.since && record.at < *stream.since)
    return false;
  if (stream.only != log_stream::none)
    return record.stream == stream.only;
  // Text is the container's bytes alone: a remark of davit's in the middle of them would be taken for output.
  return stream.format != log_format::text || record.stream != log_stream::note;
}

namespace {

/// The record's bytes from `first` on, with the time before each line, if it is wanted.
std::string with_stamps(log_stream_state& stream, const log_record& record, std::size_t first) {
  std::string out;
  if (stream.timestamps && stream.format != log_format::events) {
    auto stamp = format_timestamp(record.at) + ' ';
    const auto& lines = stream.shown;
    for (auto at = lines.begin(record, 0); at != open_lines::none; at = lines.begin(record, at + 1))
      if (at >= first) {
        out.append(record.bytes, first, at - first).append(stamp);
        first = at;
      }
  }
  stream.shown.pass(record);
  return out.append(record.bytes, first);
}

} // namespace

std::string render(log_stream_state& stream, const log_record& record, std::uint64_t end) {
  if (!wanted(stream, record))
    return {};
  auto first = stream.cut && end <= stream.cut->end() ? stream.cut->dropped(record) : 0;
  auto text = with_stamps(stream, record, first);
  if (first != 0 && text.empty())
    return {};
  std::string out;
  switch (stream.format) {
    case log_format::text:
      return text;
    case log_format::multiplexed:
      out += static_cast<char>(record.stream);
      out.append(3, '\0');
      for (int shift = 24; shift >= 0; shift -= 8)
        out += static_cast<char>(text.size() >> shift & 0xff);
      return out += text;
    case log_format::events: {
      json::object data{
        {"stream", to_string(record.stream)}, {"at", format_timestamp(record.at)}, {"text", json::to_value(text)}};
      if (json::detail::valid_utf8(text) != text)
        data["base64"] = encoding::base64_encode(text);
      out = "event: log\nid: " + std::to_string(stream.at.number) + '-' + std::to_string(end)
          + "\ndata: " + json::write(json::value(std::move(data))) + "\n\n";
      break;
    }
  }
  return out;
}

std::string render_end(const log_stream_state& stream) {
  return stream.format == log_format::events ? "event: end\ndata: {}\n\n" : std::string{};
}

} // namespace davit
