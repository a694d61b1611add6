#include "shipping/log_format.hpp"

#include "json/write.hpp"

#include <algorithm>
#include <array>
#include <chrono>

namespace davit::shipping {

namespace {

using namespace std::chrono_literals;

struct template_name {
  std::string_view name;
  std::string log_names::*member;
};

constexpr std::array known{
  template_name{"fleet", &log_names::fleet},     template_name{"agent", &log_names::agent},
  template_name{"engine", &log_names::engine},   template_name{"task", &log_names::task},
  template_name{"attempt", &log_names::attempt}, template_name{"name", &log_names::name},
  template_name{"owner", &log_names::owner},     template_name{"image", &log_names::image},
};

constexpr std::string_view label_prefix = "label:";

/// Calls `text` for what stands as it is and `name` for what stands in braces. False: a brace is not closed.
template <class Text, class Name>
bool walk(std::string_view whole, Text text, Name name) {
  while (!whole.empty()) {
    auto open = whole.find('{');
    text(whole.substr(0, open));
    if (open == std::string_view::npos)
      return true;
    auto close = whole.find('}', open);
    if (close == std::string_view::npos)
      return false;
    name(whole.substr(open + 1, close - open - 1));
    whole.remove_prefix(close + 1);
  }
  return true;
}

std::string nanoseconds(timestamp at) {
  return std::to_string(at.time_since_epoch().count());
}

json::object attribute(std::string_view key, std::string_view value) {
  return {{"key", key}, {"value", {{"stringValue", json::detail::valid_utf8(value)}}}};
}

// CloudWatch's own numbers: API reference, PutLogEvents.
constexpr std::size_t most_batch_bytes = 1'048'576, event_overhead = 26, most_event_bytes = 262'144 - event_overhead,
                      most_events = 10'000;
constexpr auto most_span = 24h;

/// Where a text may be cut so that it stays UTF-8.
std::size_t cut_before(std::string_view text, std::size_t most) {
  if (text.size() <= most)
    return text.size();
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80)
    --most;
  return most;
}

} // namespace

std::string wrong_template(std::string_view text) {
  std::string wrong;
  auto closed = walk(
    text, [](std::string_view) {},
    [&](std::string_view name) {
      auto is_known = std::any_of(known.begin(), known.end(), [&](const auto& one) { return one.name == name; });
      if (!is_known && !(name.starts_with(label_prefix) && name.size() > label_prefix.size()))
        wrong = "{" + std::string{name}
              + "} is not one of fleet, agent, engine, task, attempt, name, owner, image and label:NAME";
    });
  return closed ? wrong : "a { is not closed";
}

std::string expand(std::string_view text, const log_names& names) {
  std::string result;
  walk(
    text, [&](std::string_view part) { result += part; },
    [&](std::string_view name) {
      auto found = std::find_if(known.begin(), known.end(), [&](const auto& one) { return one.name == name; });
      if (found != known.end()) {
        const auto& value = names.*(found->member);
        result += value.empty() ? "none" : value;
        return;
      }
      auto label = names.labels.find(std::string{name.substr(std::min(label_prefix.size(), name.size()))});
      result += label == names.labels.end() ? "none" : label->second;
    });
  return result;
}

std::string line_of(const log_record& record) {
  std::string_view bytes = record.bytes;
  if (bytes.ends_with('\n'))
    bytes.remove_suffix(1);
  if (bytes.ends_with('\r'))
    bytes.remove_suffix(1);
  return json::detail::valid_utf8(bytes);
}

std::string json_line(const log_names& names, const log_record& record) {
  json::object line{{"time", format_timestamp(record.at)},
                    {"stream", to_string(record.stream)},
                    {"line", line_of(record)},
                    {"task", names.task},
                    {"attempt", names.attempt},
                    {"agent", names.agent},
                    {"engine", names.engine},
                    {"fleet", names.fleet}};
  if (!names.name.empty())
    line["name"] = names.name;
  if (!names.traceparent.empty())
    line["traceparent"] = names.traceparent;
  return json::write(json::value(std::move(line))) + '\n';
}

std::string loki_body(const std::string& job, const log_names& names, const std::vector<log_record>& records) {
  std::map<log_stream, json::array> values;
  for (const auto& one : records) {
    json::object more{{"task", names.task}, {"attempt", names.attempt}};
    if (!names.name.empty())
      more["name"] = names.name;
    values[one.stream].push_back(json::array{nanoseconds(one.at), line_of(one), std::move(more)});
  }
  json::array streams;
  for (auto& [stream, lines] : values)
    streams.push_back(json::object{{"stream",
                                    {{"job", job},
                                     {"fleet", names.fleet},
                                     {"agent", names.agent},
                                     {"engine", names.engine},
                                     {"stream", to_string(stream)}}},
                                   {"values", std::move(lines)}});
  return json::write(json::value(json::object{{"streams", std::move(streams)}}));
}

std::string otlp_body(const std::string& service, const log_names& names, const std::vector<log_record>& records) {
  auto trace = names.traceparent.size() == 55 ? names.traceparent.substr(3, 32) : std::string{},
       span = trace.empty() ? std::string{} : names.traceparent.substr(36, 16);
  json::array lines;
  for (const auto& one : records) {
    json::object line{{"timeUnixNano", nanoseconds(one.at)},
                      {"severityNumber", 9},
                      {"severityText", "INFO"},
                      {"body", {{"stringValue", line_of(one)}}},
                      {"attributes", json::array{attribute("log.iostream", to_string(one.stream))}}};
    if (!trace.empty()) {
      line["traceId"] = trace;
      line["spanId"] = span;
    }
    lines.push_back(std::move(line));
  }
  json::array resource{attribute("service.name", service),
                       attribute("service.instance.id", names.agent),
                       attribute("davit.fleet", names.fleet),
                       attribute("davit.engine", names.engine),
                       attribute("davit.task.id", names.task),
                       attribute("davit.attempt", names.attempt),
                       attribute("container.image.name", names.image)};
  if (!names.name.empty())
    resource.push_back(attribute("davit.task.name", names.name));
  return json::write(json::value(json::object{
    {"resourceLogs",
     json::array{json::object{
       {"resource", {{"attributes", std::move(resource)}}},
       {"scopeLogs", json::array{json::object{{"scope", {{"name", "davit"}}}, {"logRecords", std::move(lines)}}}}}}}}));
}

cloudwatch_batch next_cloudwatch_batch(const std::vector<log_record>& records, std::size_t from) {
  struct event {
    timestamp at;
    std::string message;
  };
  std::vector<event> events;
  cloudwatch_batch batch;
  std::size_t bytes = 0;
  timestamp first{}, last{};
  for (auto i = from; i < records.size(); ++i) {
    auto line = line_of(records[i]);
    if (line.empty())
      line = " "; // an event must say something
    std::vector<event> pieces;
    for (std::string_view rest = line; !rest.empty();) {
      auto cut = cut_before(rest, most_event_bytes);
      pieces.push_back({records[i].at, std::string{rest.substr(0, cut)}});
      rest.remove_prefix(cut);
    }
    std::size_t size = line.size() + pieces.size() * event_overhead;
    auto earliest = events.empty() ? records[i].at : std::min(first, records[i].at),
         latest = events.empty() ? records[i].at : std::max(last, records[i].at);
    // A record that fills a batch by itself goes alone; its last pieces are lost to the service's own limit if it is
    // longer than one.
    if (!events.empty()
        && (bytes + size > most_batch_bytes || events.size() + pieces.size() > most_events
            || latest - earliest >= most_span))
      break;
    for (auto& piece : pieces) {
      if (bytes + piece.message.size() + event_overhead > most_batch_bytes)
        break;
      bytes += piece.message.size() + event_overhead;
      events.push_back(std::move(piece));
    }
    first = earliest;
    last = latest;
    ++batch.records;
  }
  // The two streams of a container may come a little out of order.
  std::stable_sort(events.begin(), events.end(), [](const event& a, const event& b) { return a.at < b.at; });
  json::array list;
  for (auto& one : events)
    list.push_back(json::object{
      {"timestamp", std::chrono::duration_cast<std::chrono::milliseconds>(one.at.time_since_epoch()).count()},
      {"message", std::move(one.message)}});
  batch.events = json::write(json::value(std::move(list)));
  return batch;
}

} // namespace davit::shipping
