#include "cli/print.hpp"

#include <algorithm>
#include <chrono>
#include <iostream>
#include <unistd.h>

namespace davit {

namespace {

std::string number_at(json::element root, std::string_view field) {
  std::int64_t number = 0;
  return root[field].get(number) == simdjson::SUCCESS ? std::to_string(number) : "";
}

std::string age(const std::string& text) {
  auto at = parse_timestamp(text);
  return at ? age_text(*at) : text;
}

} // namespace

std::string age_text(timestamp at) {
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now() - at);
  return format_duration(std::max(seconds, std::chrono::seconds{0})) + " ago";
}

std::string json_for_stdout(std::string json) {
  return ::isatty(STDOUT_FILENO) ? encoding::printable_json(json) : std::move(json);
}

void print_table(const std::vector<std::vector<std::string>>& table,
                 const std::map<std::size_t, std::vector<std::string>>& below) {
  auto rows = table;
  for (auto& row : rows)
    for (auto& cell : row)
      cell = printable(cell);
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths.resize(std::max(widths.size(), i + 1));
      widths[i] = std::max(widths[i], row[i].size());
    }
  for (std::size_t at = 0; at < rows.size(); ++at) {
    const auto& row = rows[at];
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += row[i] + (i + 1 < row.size() ? std::string(widths[i] - row[i].size() + 2, ' ') : "");
    std::cout << line << '\n';
    if (auto lines = below.find(at); lines != below.end())
      for (const auto& one : lines->second)
        std::cout << "  " << printable(one) << '\n';
  }
}

std::string text_at(json::element root, std::string_view field) {
  std::string_view text;
  return root[field].get(text) == simdjson::SUCCESS ? printable(text) : "";
}

simdjson::dom::array list_at(json::element root, std::string_view field) {
  simdjson::dom::array list;
  if (root[field].get(list) != simdjson::SUCCESS)
    throw command_failure{"the agent's answer is malformed"};
  return list;
}

json::element parse(json::parser& parser, const std::string& text) {
  auto root = parser.parse(text);
  if (!root)
    throw command_failure{"the agent's answer is malformed: " + root.error().text()};
  return *root;
}

void print_tasks(api_client& client, const std::string& query, bool as_json, std::size_t limit) {
  std::vector<std::vector<std::string>> rows{{"TASK", "STATE", "OUTCOME", "EXIT", "IMAGE", "CREATED", "NAME"}};
  std::string cursor;
  std::size_t shown = 0;
  do {
    auto text = client.call("GET", "/v1/tasks?limit=" + std::to_string(std::min<std::size_t>(limit - shown, 500))
                                     + query + (cursor.empty() ? "" : "&cursor=" + cursor));
    json::parser parser;
    auto root = parse(parser, text);
    for (auto one : list_at(root, "tasks")) {
      ++shown;
      if (as_json)
        std::cout << json_for_stdout(simdjson::minify(one)) << '\n';
      else
        rows.push_back({text_at(one, "id"), text_at(one, "state"), text_at(one, "outcome"), number_at(one, "exit_code"),
                        text_at(one["spec"].value(), "image"), age(text_at(one, "created_at")), text_at(one, "name")});
    }
    cursor = text_at(root, "cursor");
  } while (!cursor.empty() && shown < limit);
  if (!as_json)
    print_table(rows);
}

void print_engines(api_client& client, bool as_json) {
  auto text = client.call("GET", "/v1/engines");
  json::parser parser;
  std::vector<std::vector<std::string>> rows{
    {"ENGINE", "STATE", "BUSY", "SLOTS", "VERSION", "API", "LABELS", "MESSAGE"}};
  for (auto one : list_at(parse(parser, text), "engines")) {
    if (as_json) {
      std::cout << json_for_stdout(simdjson::minify(one)) << '\n';
      continue;
    }
    std::string labels;
    for (auto label : list_at(one, "labels"))
      labels += (labels.empty() ? "" : ",") + std::string{label.get_string().value()};
    json::element info = one["info"].value();
    rows.push_back({text_at(one, "name"), text_at(one, "state"), number_at(one, "busy"), number_at(one, "slots"),
                    text_at(info, "version"), text_at(info, "api_version"), labels,
                    text_at(one, text_at(one, "message").empty() ? "blocked" : "message")});
  }
  if (!as_json)
    print_table(rows);
}

/// An agent's engines: `host ready, dind down`.
static std::string engines_of(json::element agent) {
  std::string text;
  for (auto one : list_at(agent, "engines"))
    text += (text.empty() ? "" : ", ") + text_at(one, "name") + " " + text_at(one, "state");
  return text;
}

void print_agents(api_client& client, bool as_json) {
  auto text = client.call("GET", "/v1/agents");
  json::parser parser;
  std::vector<std::vector<std::string>> rows{
    {"AGENT", "STATE", "VERSION", "BUSY", "SLOTS", "ENGINES", "LAST HEARTBEAT"}};
  for (auto one : list_at(parse(parser, text), "agents")) {
    if (as_json)
      std::cout << json_for_stdout(simdjson::minify(one)) << '\n';
    else
      rows.push_back({text_at(one, "name"), text_at(one, "state"), text_at(one, "version"), number_at(one, "busy"),
                      number_at(one, "slots"), engines_of(one), text_at(one, "heartbeat_at")});
  }
  if (!as_json)
    print_table(rows);
}

void print_events(api_client& client, const std::string& id, bool as_json) {
  std::int64_t after = 0;
  while (true) {
    auto text = client.call("GET", (id.empty() ? std::string{"/v1/events"} : "/v1/tasks/" + id + "/events")
                                     + "?after=" + std::to_string(after));
    json::parser parser;
    std::size_t count = 0;
    for (auto one : list_at(parse(parser, text), "events")) {
      ++count;
      after = one["sequence"].get_int64().value();
      if (as_json)
        std::cout << json_for_stdout(simdjson::minify(one)) << '\n';
      else
        std::cout << text_at(one, "at") << "  " << text_at(one, "task") << "  " << text_at(one, "kind")
                  << (text_at(one, "outcome").empty() ? "" : " " + text_at(one, "outcome"))
                  << (text_at(one, "message").empty() ? "" : ": " + text_at(one, "message")) << '\n';
    }
    if (count == 0)
      return;
  }
}

} // namespace davit
