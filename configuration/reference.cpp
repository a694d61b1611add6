// What people read of the options: config/davit.conf and docs/configuration.md.
#include "configuration/configuration.hpp"
#include "configuration/options.hpp"

#include <algorithm>
#include <sstream>

namespace davit {

namespace {

std::vector<std::string> split(const std::string& name) {
  std::vector<std::string> path;
  std::string part;
  std::istringstream parts{name};
  while (std::getline(parts, part, '.'))
    path.push_back(part);
  return path;
}

/// Groups in a file, opened and closed as the names ask for it.
class group_writer {
public:
  template <class Settings>
  void write(const option<Settings>& one, const Settings& defaults) {
    auto path = split(one.name);
    auto leaf = path.back();
    path.pop_back();
    while (!open_.empty() && (open_.size() > path.size() || !std::equal(open_.begin(), open_.end(), path.begin())))
      close();
    while (open_.size() < path.size()) {
      text += indent() + path[open_.size()] + " {\n";
      open_.push_back(path[open_.size()]);
    }
    auto value = one.get(defaults);
    text += indent() + "# " + one.description + '\n' + indent()
          + (value.empty() ? "# " + leaf + " = (" + one.unset + ')' : leaf + " = " + value) + '\n';
  }

  /// A group whose name is the user's to choose, as an example that is commented out.
  template <class Settings>
  void write_example(const std::string& group, const std::string& name, const std::vector<option<Settings>>& options) {
    auto margin = indent() + "  # ";
    text += indent() + group + " {\n" + margin + name + " {\n";
    for (const auto& one : options) {
      auto value = one.get(Settings{});
      text += margin + "  # " + one.description + '\n' + margin + "  " + one.name + " = "
            + (value.empty() ? '(' + one.unset + ')' : value) + '\n';
    }
    text += margin + "}\n" + indent() + "}\n";
  }

  void close() {
    open_.pop_back();
    text += indent() + "}\n";
  }

  std::string indent() const { return std::string(2 * (open_.size() + 1), ' '); }
  std::string text;

private:
  std::vector<std::string> open_;
};

/// A cell of a Markdown table.
std::string cell(std::string text) {
  for (std::size_t i = 0; (i = text.find('|', i)) != std::string::npos; i += 2)
    text.insert(i, 1, '\\');
  return text;
}

template <class Settings>
std::string table(const std::vector<option<Settings>>& options) {
  const Settings defaults{};
  std::string text = "| option | value | default | |\n|---|---|---|---|\n";
  for (const auto& one : options) {
    auto value = one.get(defaults);
    text += "| `" + one.name + "` | " + to_string(one.kind) + (one.bounds.empty() ? "" : ": " + cell(one.bounds))
          + " | " + (value.empty() ? cell(one.unset) : '`' + cell(value) + '`') + " | " + cell(one.description)
          + " |\n";
  }
  return text;
}

} // namespace

std::string default_configuration() {
  group_writer writer;
  writer.text
    = "# Every option of davit with its default. An option that is commented out is not set; the text in parentheses\n"
      "# says what applies then.\n"
      "# Written by: davit check-config --defaults\n\ndavit {\n";
  const auto& all = agent_options();
  for (auto one = all.begin(); one != all.end(); ++one) {
    writer.write(*one, agent_settings{});
    if (one->name.starts_with("api.") && (one + 1 == all.end() || !(one + 1)->name.starts_with("api."))) {
      writer.text += writer.indent()
                   + "# Identity providers whose tokens may call the API: one group for each. You choose its name.\n";
      writer.write_example("issuers", "gitlab", issuer_options());
    }
    if (one->name.starts_with("policy.ceilings.") && !(one + 1)->name.starts_with("policy.ceilings.")) {
      writer.close();
      writer.text
        += writer.indent()
         + "# What is otherwise for tasks that are judged by a profile: restricted, baseline or privileged.\n";
      writer.write_example("profiles", "restricted", profile_options());
    }
  }
  // `logs` is the last group, and still open.
  writer.text
    += writer.indent()
     + "# Where davit sends logs, in addition to the agent's disk: one group for each sink. You choose its name.\n";
  writer.write_example("sinks", "loki", sink_options());
  writer.close();
  writer.text += "  # One group for each engine. You choose its name. Without a group, davit uses DOCKER_HOST, "
                 "DOCKER_TLS_VERIFY\n"
                 "  # and DOCKER_CERT_PATH, or the default socket.\n";
  writer.write_example("engines", "host", engine_options());
  return writer.text + "}\n";
}

std::string configuration_reference() {
  return "# Configuration\n"
         "[config/davit.conf](../config/davit.conf) lists every option and its default. `davit check-config "
         "FILE` checks a file and names the line of each\n"
         "mistake. You can also set options on the command line: `davit agent --config-file=FILE "
         "--davit.agent.name=a2`.\n"
         "Write durations as `30s`, `10min` or `2h`, sizes as `\"512m\"` or `\"4g\"` (powers of 1024), and texts in "
         "quotes.\n"
         "Put CAF's own options into a group `caf` next to `davit`.\n\n"
         "`davit check-config --reference` writes this page.\n\n"
         "## In the group `davit`\n"
       + table(agent_options())
       + "\n## In the group `davit.engines.NAME`\nOne group for each engine. You choose its name. Without "
         "a group, davit uses `DOCKER_HOST`, `DOCKER_TLS_VERIFY` and\n"
         "`DOCKER_CERT_PATH`, or the default socket.\n\n"
       + table(engine_options())
       + "\n## In the group `davit.logs.sinks.NAME`\nOne group for each sink: a place where davit sends "
         "logs, in addition to the agent's disk. You choose its name.\n\n"
       + table(sink_options())
       + "\n## In the group `davit.policy.profiles.NAME`\nOne group for each profile whose tasks have other ceilings "
         "or shared volumes than `policy.ceilings` and `policy.volumes.allow` say.\nThe name is `restricted`, "
         "`baseline` "
         "or `privileged`.\n\n"
       + table(profile_options())
       + "\n## In the group `davit.api.issuers.NAME`\nOne group for each identity provider whose tokens may call the "
         "API (docs/security.md). You choose its name.\n\n"
       + table(issuer_options());
}

} // namespace davit
