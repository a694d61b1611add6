#include "api/metrics_text.hpp"

#include <utility>

namespace davit::api {

namespace {

using labels = std::vector<std::pair<std::string_view, std::string>>;

void begin(std::string& text, const std::string& name, const std::string& type, const std::string& help) {
  text += "# HELP " + name + ' ' + help + "\n# TYPE " + name + ' ' + type + '\n';
}

/// An owner's name may have any characters.
std::string escaped(const std::string& value) {
  std::string safe;
  for (char one : value)
    if (one == '\n')
      safe += "\\n";
    else if (one == '\\' || one == '"')
      safe.append({'\\', one});
    else
      safe += one;
  return safe;
}

void add(std::string& text, const std::string& name, const labels& of, std::uint64_t value) {
  text += name;
  char before = '{';
  for (const auto& [label, is] : of) {
    text += before;
    text.append(label).append("=\"").append(escaped(is)) += '"';
    before = ',';
  }
  text += (of.empty() ? " " : "} ") + std::to_string(value) + '\n';
}

void add_states(std::string& text, const std::string& name, labels of, const task_counts& tasks) {
  for (auto [state, count] :
       {std::pair{"queued", tasks.queued}, {"starting", tasks.starting}, {"running", tasks.running}}) {
    auto all = of;
    all.emplace_back("state", state);
    add(text, name, all, static_cast<std::uint64_t>(count));
  }
}

} // namespace

std::string metrics_of_owner(const task_counts& tasks, const owner_totals& totals) {
  std::string text;
  begin(text, "davit_tasks", "gauge", "Your tasks that are not finished, by state.");
  add_states(text, "davit_tasks", {}, tasks);
  begin(text, "davit_tasks_accepted_total", "counter", "Your tasks that this agent has accepted.");
  add(text, "davit_tasks_accepted_total", {}, totals.accepted);
  begin(text, "davit_tasks_total", "counter", "Attempts of your tasks that ended on this agent, by outcome.");
  for (const auto& [outcome, count] : totals.ended)
    add(text, "davit_tasks_total", {{"outcome", outcome}}, count);
  begin(text, "davit_log_bytes_total", "counter", "Bytes of output of these attempts.");
  add(text, "davit_log_bytes_total", {}, totals.log_bytes);
  return text;
}

std::string metrics_by_owner(const std::vector<owner_counts>& owners) {
  std::string text;
  begin(text, "davit_owner_tasks", "gauge", "Tasks that are not finished, by owner and state.");
  for (const auto& one : owners)
    add_states(text, "davit_owner_tasks", {{"owner", one.owner}}, one.tasks);
  return text;
}

} // namespace davit::api
