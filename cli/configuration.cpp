#include "cli/configuration.hpp"

#include "json/read.hpp"
#include "messages/actors.hpp"
#include "shipping/aws_profile.hpp"
#include "transport/endpoint.hpp"
#include "shipping/log_format.hpp"
#include "transport/registry_credentials.hpp"

#include <caf/init_global_meta_objects.hpp>
#include <caf/io/middleman.hpp>
#include <caf/openssl/manager.hpp>
#include <caf/pec.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>
#include <unistd.h>

namespace davit {

namespace {

// -- where an option stands in the file ---------------------------------------------------------------------------------

/// What CAF's parser does not tell of a configuration file.
struct file_outline {
  std::map<std::string, int> lines;              ///< Of each key, by its full name.
  std::vector<std::pair<std::string, int>> open; ///< Groups that the file's end leaves open, and where they begin: CAF takes half a file for a whole one.
  int open_list = 0;                             ///< The line where a list begins that is not closed; 0: there is none.
};

file_outline outline_of(const std::string& text) {
  file_outline result;
  auto& lines = result.lines;
  auto& groups = result.open;
  auto& list = result.open_list;
  std::string word;
  int line = 1;
  auto full = [&](const std::string& name) {
    std::string all;
    for (const auto& [group, _] : groups)
      all += group + '.';
    return all + name;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\n') {
      ++line;
    } else if (c == '#') {
      while (i + 1 < text.size() && text[i + 1] != '\n')
        ++i;
    } else if (c == '"' || c == '\'') {
      std::string quoted;
      for (++i; i < text.size() && text[i] != c && text[i] != '\n'; ++i) {
        if (text[i] == '\\')
          ++i;
        if (i < text.size())
          quoted += text[i];
      }
      word = quoted;
    } else if (c == '{') {
      if (!word.empty()) {
        lines.emplace(full(word), line);
        groups.emplace_back(std::exchange(word, {}), line);
      } else {
        groups.emplace_back("?", line);
      }
    } else if (c == '}') {
      word.clear();
      if (!groups.empty())
        groups.pop_back();
    } else if (c == '=') {
      if (!word.empty())
        lines.emplace(full(word), line);
      word.clear();
    } else if (c == ' ' || c == '\t' || c == '\r' || c == ',' || c == '[' || c == ']') {
      if (c == '[')
        list = line;
      else if (c == ']')
        list = 0;
      if (c == ',' || c == '[' || c == ']')
        word.clear();
    } else {
      if (i > 0 && (text[i - 1] == ' ' || text[i - 1] == '\t' || text[i - 1] == '\n' || text[i - 1] == '"'))
        word.clear();
      word += c;
    }
  }
  return result;
}

/// In words, CAF's code for what it found; its place stands beside it.
std::string parser_words(const caf::error& why) {
  auto text = caf::to_string(static_cast<caf::pec>(why.code()));
  text = text.substr(text.rfind(':') + 1);
  std::replace(text.begin(), text.end(), '_', ' ');
  if (why.category() != caf::type_id_v<caf::pec>)
    return caf::to_string(why);
  if (why.context().match_element<std::int32_t>(1))
    text += " in column " + std::to_string(why.context().get_as<std::int32_t>(1));
  return text;
}

// -- values ------------------------------------------------------------------------------------------------------------

using caf::config_value;

/// What a value was written as.
std::string written(const config_value& value) {
  if (auto text = caf::get_if<std::string>(&value))
    return *text;
  return caf::to_string(value);
}

/// Each of these reads a value, or says what it should have been.
std::string take(const config_value& value, std::string& into) {
  if (auto text = caf::get_if<std::string>(&value)) {
    into = *text;
    return {};
  }
  return "must be a text in quotes";
}

std::string take(const config_value& value, bool& into) {
  if (auto flag = caf::get_if<bool>(&value)) {
    into = *flag;
    return {};
  }
  return "must be true or false";
}

std::string take(const config_value& value, duration& into) {
  if (auto span = caf::get_if<caf::timespan>(&value)) {
    into = std::chrono::duration_cast<duration>(*span);
    return span->count() < 0 ? "must not be negative" : "";
  }
  if (auto text = caf::get_if<std::string>(&value))
    if (auto parsed = parse_duration(*text)) {
      into = *parsed;
      return {};
    }
  return "must be a duration such as 30s, 10min or 2h";
}

std::string take(const config_value& value, byte_size& into) {
  if (auto number = caf::get_if<caf::config_value::integer>(&value); number && *number >= 0) {
    into.bytes = static_cast<std::uint64_t>(*number);
    return {};
  }
  if (auto text = caf::get_if<std::string>(&value); text && from_string(*text, into))
    return {};
  return "must be " + expected_text(into) + " (in quotes)";
}

std::string take(const config_value& value, double& into) {
  if (auto number = caf::get_if<double>(&value)) {
    into = *number;
    return {};
  }
  if (auto number = caf::get_if<caf::config_value::integer>(&value)) {
    into = static_cast<double>(*number);
    return {};
  }
  return "must be a number";
}

std::string take(const config_value& value, std::int64_t& into) {
  if (auto number = caf::get_if<caf::config_value::integer>(&value)) {
    into = *number;
    return {};
  }
  return "must be a whole number";
}

std::string take(const config_value& value, std::uint32_t& into) {
  std::int64_t wide = 0;
  if (auto wrong = take(value, wide); !wrong.empty())
    return wrong;
  if (wide < 1 || wide > 100'000)
    return "must be from 1 to 100000";
  into = static_cast<std::uint32_t>(wide);
  return {};
}

std::string take(const config_value& value, sink_type& into) {
  if (auto text = caf::get_if<std::string>(&value); text && from_string(*text, into))
    return {};
  return "must be \"file\", \"stdout\", \"cloudwatch\", \"loki\" or \"otlp\"";
}

std::string take(const config_value& value, placement_strategy& into) {
  if (auto text = caf::get_if<std::string>(&value); text && from_string(*text, into))
    return {};
  return "must be \"spread\" or \"pack\"";
}

std::string take(const config_value& value, policy_profile& into) {
  if (auto text = caf::get_if<std::string>(&value); text && from_string(*text, into))
    return {};
  return "must be \"restricted\", \"baseline\" or \"privileged\"";
}

std::string take(const config_value& value, std::vector<std::string>& into) {
  auto list = caf::get_if<config_value::list>(&value);
  if (!list)
    return "must be a list of texts, such as [\"a\", \"b\"]";
  into.clear();
  for (const auto& one : *list) {
    std::string text;
    if (auto wrong = take(one, text); !wrong.empty())
      return "must be a list of texts, each in quotes";
    into.push_back(std::move(text));
  }
  return {};
}

std::string take(const config_value& value, std::vector<api_scope>& into) {
  std::vector<std::string> names;
  std::vector<api_scope> scopes;
  auto wrong = take(value, names);
  for (const auto& name : names)
    if (api_scope scope; from_string(name, scope))
      scopes.push_back(scope);
    else
      wrong = "must be a list of submit, read, cancel and admin";
  if (wrong.empty())
    into = std::move(scopes);
  return wrong;
}

std::string take(const config_value& value, std::vector<label_limit>& into) {
  std::vector<std::string> texts;
  if (auto wrong = take(value, texts); !wrong.empty())
    return wrong;
  into.clear();
  for (const auto& text : texts)
    if (label_limit limit; from_string(text, limit))
      into.push_back(std::move(limit));
    else
      return "must be a list of " + expected_text(limit);
  return {};
}

template <class T>
std::string take(const config_value& value, std::optional<T>& into) {
  T inner{};
  auto wrong = take(value, inner);
  if (wrong.empty())
    into = std::move(inner);
  return wrong;
}

// -- the options -------------------------------------------------------------------------------------------------------

/// What is read before the settings are made from it.
struct raw_settings {
  agent_settings agent;
  std::string data_dir = "/var/lib/davit";
  std::string secrets_key, docker_config;
};

struct option {
  std::string name;     ///< Below `davit.`, or below an engine's name.
  std::string standard; ///< As it is written in a file; `#` in front: not set.
  std::string help;
  std::function<std::string(raw_settings&, const config_value&)> set;
};

template <class Get>
option make_option(std::string name, std::string standard, std::string help, Get get) {
  return {std::move(name), std::move(standard), std::move(help), [get](raw_settings& target, const config_value& value) { return take(value, get(target)); }};
}

#define DAVIT_AT(member) [](raw_settings& s) -> auto& { return s.member; }

/// Every option of davit's, in the order of the file.
const std::vector<option>& options() {
  static const std::vector<option> all{
    make_option("agent.name", "# the host's name", "This agent's name: unique in its fleet, and kept over restarts.", DAVIT_AT(agent.name)),
    make_option("agent.data-dir", "\"/var/lib/davit\"", "Logs of tasks, and the store if it is SQLite.", DAVIT_AT(data_dir)),
    make_option("agent.drain-timeout", "10min", "How long SIGTERM waits for running tasks.", DAVIT_AT(agent.drain_timeout)),
    make_option("agent.drain-action", "\"leave\"", "What happens to tasks that run longer than that: \"leave\" them running, or \"stop\" them (they end as agent_lost and go by their retry policy).", DAVIT_AT(agent.drain_action)),
    make_option("agent.log-format", "\"text\"", "What the agent says on stderr: \"text\", or \"json\": an object on each line.", DAVIT_AT(agent.log_format)),
    make_option("agent.min-free-disk", "\"256m\"", "With less free space in the data directory no task is claimed, nor accepted if the store is SQLite.", DAVIT_AT(agent.min_free_disk)),
    make_option("agent.pull-timeout", "30min", "For pulling an image, unless the task says.", DAVIT_AT(agent.pull_timeout)),
    make_option("agent.secrets-key", "# <data-dir>/secrets.key", "File with the key that seals tasks' secrets in the store: 32 bytes in base64; made if it is not there. All agents of a fleet need the same.", DAVIT_AT(secrets_key)),
    make_option("agent.docker-config", "# none", "A docker config.json with the credentials of registries (auths, credHelpers, credsStore).", DAVIT_AT(docker_config)),
    make_option("api.listen", "\"127.0.0.1:7300\"", "host:port, or \"unix:///run/davit.sock\".", DAVIT_AT(agent.api_listen)),
    make_option("api.tokens-file", "# none", "Who may call (davit token create writes it). Without it: processes of this machine alone, over loopback or the unix socket.", DAVIT_AT(agent.access.tokens_file)),
    make_option("api.local-scopes", "[\"admin\"]", "What callers without a token may do, on the unix socket or (if there is no tokens-file) on loopback: submit, read, cancel, admin.", DAVIT_AT(agent.access.local_scopes)),
    make_option("api.tls-certificate", "# none", "PEM file: shown to callers; switches TLS on. Read again when it has changed.", DAVIT_AT(agent.access.tls_certificate)),
    make_option("api.tls-key", "# none", "PEM file: the certificate's key.", DAVIT_AT(agent.access.tls_key)),
    make_option("api.tls-client-ca", "# none", "PEM file: callers must show a certificate that this authority has signed, beside their token.", DAVIT_AT(agent.access.tls_client_ca)),
    make_option("api.rate-limit", "200", "Requests per second and token (twice as many at once); 0: any number.", DAVIT_AT(agent.access.rate_limit)),
    make_option("api.open-metrics", "false", "true: /metrics asks for no token.", DAVIT_AT(agent.access.open_metrics)),
    make_option("api.audit-log", "# <data-dir>/audit.log", "Who did what, and who was turned away: a JSON object on each line.", DAVIT_AT(agent.access.audit_log)),
    make_option("store.url", "# sqlite:///<data-dir>/davit.db", "Where tasks live; postgresql://user@host/database for a fleet.", DAVIT_AT(agent.store_url)),
    make_option("store.retention", "720h", "How long finished tasks and their logs are kept; 0s: for ever.", DAVIT_AT(agent.retention)),
    make_option("policy.profile", "\"baseline\"", "What tasks may ask of an engine: \"restricted\", \"baseline\" or \"privileged\" (docs/security.md).", DAVIT_AT(agent.policy.profile)),
    make_option("policy.images.allow", "[]", "RE2 patterns, each for the whole name (docker.io/library/alpine:3.20, or alpine:3.20 for short); empty: all that are not denied.", DAVIT_AT(agent.policy.images_allow)),
    make_option("policy.images.deny", "[]", "The same; goes before allow.", DAVIT_AT(agent.policy.images_deny)),
    make_option("policy.images.require-digest", "false", "true: an image must be named by its digest (name@sha256:...).", DAVIT_AT(agent.policy.require_digest)),
    make_option("policy.images.always-pull", "false", "true: also what an engine has already is pulled, so that a registry judges each task's credentials.", DAVIT_AT(agent.policy.always_pull)),
    make_option("policy.networks.allow", "[\"none\", \"bridge\"]", "Networks that a task may name.", DAVIT_AT(agent.policy.networks_allow)),
    make_option("policy.networks.default", "\"bridge\"", "For tasks that name none.", DAVIT_AT(agent.policy.default_network)),
    make_option("policy.defaults.cpus", "1", "For tasks that say nothing.", DAVIT_AT(agent.policy.defaults.cpus)),
    make_option("policy.defaults.memory", "\"512m\"", "", DAVIT_AT(agent.policy.defaults.memory)),
    make_option("policy.defaults.pids", "512", "", DAVIT_AT(agent.policy.defaults.pids)),
    make_option("policy.defaults.shm", "# the engine's (64m)", "", DAVIT_AT(agent.policy.defaults.shm)),
    make_option("policy.defaults.timeout", "# none", "", DAVIT_AT(agent.policy.default_timeout)),
    make_option("policy.ceilings.cpus", "# none", "A task that asks for more is refused.", DAVIT_AT(agent.policy.ceilings.cpus)),
    make_option("policy.ceilings.memory", "# none", "", DAVIT_AT(agent.policy.ceilings.memory)),
    make_option("policy.ceilings.pids", "# none", "", DAVIT_AT(agent.policy.ceilings.pids)),
    make_option("policy.ceilings.shm", "# none", "", DAVIT_AT(agent.policy.ceilings.shm)),
    make_option("policy.ceilings.timeout", "# none", "", DAVIT_AT(agent.policy.max_timeout)),
    make_option("fleet.name", "\"default\"", "Marks this fleet's containers (label davit.fleet).", DAVIT_AT(agent.fleet)),
    make_option("fleet.listen", "# none", "host:port where other agents reach this one; needs the three certificates. Without it news comes from the store alone, and live logs of other agents can't be read.", DAVIT_AT(agent.peers.listen)),
    make_option("fleet.advertise", "# listen", "host:port that is told to the others, if it is another one; where listen is all addresses: the host's name.", DAVIT_AT(agent.peers.advertise)),
    make_option("fleet.peers", "[]", "host:port of agents, beside those that the store names; a name that stands for several addresses (a headless service) is for an agent at each.", DAVIT_AT(agent.peers.peers)),
    make_option("fleet.tls-ca", "# none", "PEM file: the authority that has signed all agents' certificates. An authority of the fleet's own: whoever has a certificate of it is believed.", DAVIT_AT(agent.peers.tls_ca)),
    make_option("fleet.tls-certificate", "# none", "PEM file: this agent's.", DAVIT_AT(agent.peers.tls_certificate)),
    make_option("fleet.tls-key", "# none", "PEM file: its key.", DAVIT_AT(agent.peers.tls_key)),
    make_option("fleet.lease", "20s", "With a shared store: how long after an agent's last sign of life others take over what it has left. One that can't reach the store gives up its tasks after two thirds of it.", DAVIT_AT(agent.lease)),
    make_option("placement.strategy", "\"spread\"", "Which of the engines that could take a task gets it: \"spread\" over all, or \"pack\" the fullest first.", DAVIT_AT(agent.placement.strategy)),
    make_option("placement.image-patience", "2s", "How long a task waits for an engine that has its image already, while others are free; 0s: not at all.", DAVIT_AT(agent.placement.image_patience)),
    make_option("placement.max-per-owner", "# any number", "How many tasks of one owner run at once in the whole fleet.", DAVIT_AT(agent.placement.most_per_owner)),
    make_option("placement.max-per-label", "[]", "How many tasks of a label run at once in the whole fleet: \"team=red: 8\", or \"deploy: 1\" for each value of deploy by itself (a concurrency group).", DAVIT_AT(agent.placement.label_limits)),
    make_option("logs.max-bytes", "\"4g\"", "What is kept of an attempt's output; \"0\": all.", DAVIT_AT(agent.logs.max_bytes)),
  };
  return all;
}

#undef DAVIT_AT

struct engine_option {
  std::string name;
  std::string standard;
  std::string help;
  std::function<std::string(engine_settings&, const config_value&)> set;
};

const std::vector<engine_option>& engine_options() {
  static const auto make = [](std::string name, std::string standard, std::string help, auto member) {
    return engine_option{std::move(name), std::move(standard), std::move(help), [member](engine_settings& target, const config_value& value) { return take(value, target.*member); }};
  };
  auto count = [](const char* name, const char* shown, const char* meaning, std::uint32_t engine_settings::*field) {
    return engine_option{name, shown, meaning, [field](engine_settings& target, const config_value& value) -> std::string {
                           std::int64_t number = 0;
                           if (auto wrong = take(value, number); !wrong.empty())
                             return wrong;
                           if (number < 0 || number > 1000)
                             return "must be from 0 to 1000";
                           target.*field = static_cast<std::uint32_t>(number);
                           return {};
                         }};
  };
  static const std::vector<engine_option> all{
    make("endpoint", "\"unix:///var/run/docker.sock\"", "unix:///path, or tcp://host:port.", &engine_settings::endpoint),
    make("slots", "4", "How many tasks run there at once.", &engine_settings::slots),
    make("labels", "[]", "What tasks can ask for (engine.labels).", &engine_settings::labels),
    make("profile", "# the policy's", "What tasks may ask of this engine: \"restricted\", \"baseline\" or \"privileged\".", &engine_settings::profile),
    make("tls-ca", "# none", "PEM file: who may have signed the engine's certificate. Any tls- option switches TLS on.", &engine_settings::tls_ca),
    make("tls-certificate", "# none", "PEM file: shown to the engine.", &engine_settings::tls_certificate),
    make("tls-key", "# none", "PEM file: the certificate's key.", &engine_settings::tls_key),
    make("tls-verify", "true", "false: the engine's certificate and name are not checked.", &engine_settings::tls_verify),
    make("grace", "1min", "How long its tasks wait for an engine that is away.", &engine_settings::grace),
    make("image-gc-below", "\"0\"", "With less free disk, images that davit itself has pulled and not used for a while are removed, longest unused first; \"0\": never.", &engine_settings::image_gc_below),
    make("image-gc-age", "1h", "How long an image must have been unused for that; at least 10min and twice the grace are waited.", &engine_settings::image_gc_age),
    count("sandboxes", "2", "How many containers are kept up and idle for tasks like those that came lately, and how many networks; each is used by one task. 0: none.", &engine_settings::sandboxes),
    make("sandbox-idle", "5min", "How long after the last such task they still wait.", &engine_settings::sandbox_idle),
    count("images-ahead", "4", "While all its slots are taken, it pulls the images of so many tasks that come next; 0: none.", &engine_settings::images_ahead),
    {"log-files", "# none", "The folder of the engine's containers (in its data root), if this agent can read it: a log is then followed there, as fast as it is written, and not asked of the engine.",
     [](engine_settings& target, const config_value& value) -> std::string {
       auto wrong = take(value, target.log_files);
       return !wrong.empty() ? wrong : target.log_files.empty() || target.log_files.starts_with('/') ? "" : "must be an absolute path";
     }},
    make("min-free-disk", "\"256m\"", "With less free space where it keeps its data, it is given nothing (known of engines on this host alone).", &engine_settings::min_free_disk),
  };
  return all;
}

struct sink_option {
  std::string name;
  std::string standard;
  std::string help;
  std::function<std::string(sink_settings&, const config_value&)> set;
};

const std::vector<sink_option>& sink_options() {
  static const auto make = [](std::string name, std::string standard, std::string help, auto member) {
    return sink_option{std::move(name), std::move(standard), std::move(help), [member](sink_settings& target, const config_value& value) { return take(value, target.*member); }};
  };
  static const std::vector<sink_option> all{
    make("type", "\"file\"", "\"file\", \"stdout\", \"cloudwatch\", \"loki\" or \"otlp\".", &sink_settings::type),
    make("path", "# none", "file: where to write; a JSON object on each line.", &sink_settings::path),
    make("max-size", "\"64m\"", "file: then it is rotated.", &sink_settings::max_size),
    make("max-files", "5", "file: rotated ones that are kept.", &sink_settings::max_files),
    make("url", "# AWS's own for cloudwatch", "loki, otlp: http(s)://host:port, with a path if it is not the usual one.", &sink_settings::url),
    make("region", "# AWS_REGION", "cloudwatch.", &sink_settings::region),
    make("group", "\"davit\"", "Template: CloudWatch's log group, Loki's label job, OTLP's service.name. {fleet} {agent} {engine} {task} {attempt} {name} {owner} {image} {label:NAME} stand for the attempt's.", &sink_settings::group),
    make("stream", "\"{task}/{attempt}\"", "Template: CloudWatch's log stream.", &sink_settings::stream),
    make("token-file", "# none", "loki, otlp: file with a bearer token.", &sink_settings::token_file),
    make("tenant", "# none", "loki: X-Scope-OrgID.", &sink_settings::tenant),
    make("tls-ca", "# the system's", "PEM file: who may have signed the service's certificate.", &sink_settings::tls_ca),
    make("max-backlog", "\"256m\"", "How many bytes of logs may wait for a service that does not take them; what goes beyond is dropped, and counted.", &sink_settings::max_backlog),
  };
  return all;
}

class reader {
public:
  reader(configuration& into, std::string file, std::map<std::string, int> lines) : into_(into), file_(std::move(file)), lines_(std::move(lines)) {}

  void read(const caf::settings& content, bool from_file) {
    from_file_ = from_file;
    for (const auto& [name, value] : content) {
      if (name == "davit")
        walk_davit("davit", value);
      else if (name == "caf")
        walk_caf("caf", value);
      else if (name != "config-file")
        mistake(name, "unknown group; known are davit and caf");
    }
  }

  raw_settings raw;
  std::map<std::string, engine_settings> engines;
  std::map<std::string, sink_settings> sinks;

private:
  void mistake(const std::string& name, std::string message) {
    auto line = from_file_ ? lines_.find(name) : lines_.end();
    into_.mistakes.push_back({from_file_ ? file_ : "", line == lines_.end() ? 0 : line->second, name, std::move(message)});
  }

  void walk_caf(const std::string& name, const config_value& value) {
    if (into_.caf->custom_options().qualified_name_lookup(name))
      return;
    if (auto group = caf::get_if<config_value::dictionary>(&value)) {
      for (const auto& [key, inner] : *group)
        walk_caf(name + '.' + key, inner);
    } else {
      mistake(name, "CAF has no such option");
    }
  }

  void walk_davit(const std::string& name, const config_value& value) {
    constexpr std::size_t prefix = 6; // "davit."
    if (name == "davit.engines")
      return walk_groups(name, "one group for each engine in it", value, engines, engine_options());
    if (name == "davit.logs.sinks")
      return walk_groups(name, "one group for each sink in it", value, sinks, sink_options());
    auto group = caf::get_if<config_value::dictionary>(&value);
    if (group && name.size() >= prefix - 1) {
      auto known = name == "davit" || std::any_of(options().begin(), options().end(), [&](const option& one) { return ("davit." + one.name).starts_with(name + '.'); });
      if (known) {
        for (const auto& [key, inner] : *group)
          walk_davit(name + '.' + key, inner);
        return;
      }
    }
    auto found = std::find_if(options().begin(), options().end(), [&](const option& one) { return "davit." + one.name == name; });
    if (found == options().end())
      return unknown(name);
    if (auto wrong = found->set(raw, value); !wrong.empty())
      mistake(name, wrong + ", not " + written(value));
  }

  /// Groups whose names are the user's own.
  template <class Settings, class Options>
  void walk_groups(const std::string& name, const char* expected, const config_value& value, std::map<std::string, Settings>& into, const Options& options) {
    auto group = caf::get_if<config_value::dictionary>(&value);
    if (!group)
      return mistake(name, std::string{"must be a group: "} + expected);
    for (const auto& [key, inner] : *group) {
      auto full = name + '.' + key;
      auto fields = caf::get_if<config_value::dictionary>(&inner);
      if (!fields) {
        mistake(full, "must be a group");
        continue;
      }
      auto& settings = into[key];
      settings.name = key;
      for (const auto& [option, field] : *fields) {
        auto found = std::find_if(options.begin(), options.end(), [&option = option](const auto& one) { return one.name == option; });
        if (found == options.end())
          unknown(full + '.' + option);
        else if (auto wrong = found->set(settings, field); !wrong.empty())
          mistake(full + '.' + option, wrong + ", not " + written(field));
      }
    }
  }

  void unknown(const std::string& name) {
    auto dot = name.rfind('.');
    auto group = name.substr(0, dot + 1);
    std::vector<std::string> names;
    if (group.starts_with("davit.engines.") && group.size() > 14)
      for (const auto& one : engine_options())
        names.push_back(one.name);
    else if (group.starts_with("davit.logs.sinks.") && group.size() > 17)
      for (const auto& one : sink_options())
        names.push_back(one.name);
    else
      for (const auto& one : options())
        if (auto full = "davit." + one.name; full.starts_with(group))
          names.push_back(full.substr(group.size(), full.find('.', group.size()) - group.size()));
    if (group == "davit.")
      names.push_back("engines");
    auto text = json::detail::unknown_field_message(name.substr(dot + 1), {names.begin(), names.end()});
    text.replace(text.find("field"), 5, "option");
    mistake(name, text);
  }

  configuration& into_;
  std::string file_;
  std::map<std::string, int> lines_;
  bool from_file_ = true;
};

/// What can only be judged when all is read.
void judge(configuration& into, const std::string& file, const std::map<std::string, int>& lines) {
  auto mistake = [&](const std::string& name, std::string message) {
    auto line = lines.find(name);
    into.mistakes.push_back({file, line == lines.end() ? 0 : line->second, name, std::move(message)});
  };
  auto& agent = into.agent;
  std::string wrong;
  if (!policy::make(agent.policy, wrong))
    mistake(wrong.substr(0, wrong.find(':')), wrong.substr(std::min(wrong.size(), wrong.find(':') + 2)));
  if (auto known = transport::registry_credentials::load(agent.docker_config); !known)
    mistake("davit.agent.docker-config", known.error().message);
  for (const auto& engine : agent.engines) {
    auto name = "davit.engines." + engine.name;
    for (const auto& label : engine.labels)
      if (label.starts_with("davit."))
        mistake(name + ".labels", "labels that start with davit. are davit's own");
    if (engine.endpoint.empty())
      mistake(name, "the engine has no endpoint");
    else if (auto where = transport::endpoint_of(engine); !where)
      mistake(name + ".endpoint", where.error().message);
  }
  for (const auto& sink : agent.logs.sinks) {
    auto name = "davit.logs.sinks." + sink.name;
    auto service = sink.type == sink_type::loki || sink.type == sink_type::otlp;
    if (sink.type == sink_type::file && sink.path.empty())
      mistake(name, "a file needs a path");
    if (sink.type == sink_type::cloudwatch && sink.region.empty() && shipping::find_aws_region([](const char* name) -> const char* { return std::getenv(name); }).empty())
      mistake(name, "no AWS region: set region, or AWS_REGION");
    if (service && sink.url.empty())
      mistake(name, "write where it is: url = \"http://host:port\"");
    if (!sink.url.empty())
      if (auto where = transport::parse_service_url(sink.url, "/", sink.tls_ca); !where)
        mistake(name + ".url", where.error().message);
    for (const auto& file : {sink.token_file, sink.tls_ca})
      if (!file.empty() && !std::ifstream{file})
        mistake(name, file + " can't be read");
    for (const auto& text : {sink.group, sink.stream})
      if (auto wrong = shipping::wrong_template(text); !wrong.empty())
        mistake(name, wrong);
  }
  auto listen = agent.api_listen.find("://") == std::string::npos ? "tcp://" + agent.api_listen : agent.api_listen;
  auto where = transport::parse_endpoint(listen, std::nullopt, "write host:port or unix:///run/davit.sock");
  if (!where)
    mistake("davit.api.listen", where.error().message);
  else if (!where->is_unix() && !transport::parse_host_and_port(std::string_view{listen}.substr(listen.find("://") + 3)))
    mistake("davit.api.listen", "\"" + agent.api_listen + "\" has no port: write host:port");
  const auto& rules = agent.policy;
  if (std::find(rules.networks_allow.begin(), rules.networks_allow.end(), rules.default_network) == rules.networks_allow.end())
    mistake("davit.policy.networks.default", "\"" + rules.default_network + "\" is not among the networks that are allowed");
  auto limit = [&](const std::string& name, auto member, auto least, const char* said) {
    const auto& value = rules.defaults.*member;
    const auto& ceiling = rules.ceilings.*member;
    for (auto [group, one] : {std::pair{"defaults.", &value}, std::pair{"ceilings.", &ceiling}})
      if (*one && **one < least)
        mistake("davit.policy." + (group + name), std::string{"must be at least "} + said);
    if (value && ceiling && *ceiling < *value)
      mistake("davit.policy.defaults." + name, "is over davit.policy.ceilings." + name);
  };
  limit("cpus", &resource_limits::cpus, 0.01, "0.01");
  limit("memory", &resource_limits::memory, byte_size{6u << 20}, "6m");
  limit("pids", &resource_limits::pids, std::int64_t{1}, "1");
  limit("shm", &resource_limits::shm, byte_size{1}, "1");
  if (agent.access.rate_limit < 0)
    mistake("davit.api.rate-limit", "must not be negative; 0 is any number");
  const auto& access = agent.access;
  auto everywhere = where && !where->is_unix() && where->host != "localhost" && where->host != "::1" && !where->host.starts_with("127.");
  if (everywhere && (access.tokens_file.empty() || access.tls_certificate.empty()))
    mistake("davit.api.listen", where->host + " can be reached from elsewhere: that needs TLS (tls-certificate, tls-key) and tokens (tokens-file); or listen on loopback or a unix socket");
  if (access.tls_certificate.empty() != access.tls_key.empty())
    mistake(access.tls_certificate.empty() ? "davit.api.tls-key" : "davit.api.tls-certificate", "tls-certificate and tls-key go together");
  if (!access.tls_client_ca.empty() && access.tls_certificate.empty())
    mistake("davit.api.tls-client-ca", "client certificates need TLS: set tls-certificate and tls-key");
  if (where && where->is_unix() && !access.tls_certificate.empty())
    mistake("davit.api.tls-certificate", "there is no TLS on a unix socket");
  if (agent.drain_action != "leave" && agent.drain_action != "stop")
    mistake("davit.agent.drain-action", "must be \"leave\" or \"stop\", not \"" + agent.drain_action + "\"");
  if (agent.log_format != "text" && agent.log_format != "json")
    mistake("davit.agent.log-format", "must be \"text\" or \"json\", not \"" + agent.log_format + "\"");
  if (!agent.store_url.starts_with("sqlite://") && !agent.store_url.starts_with("postgresql://") && !agent.store_url.starts_with("postgres://"))
    mistake("davit.store.url", "\"" + agent.store_url + "\" is no store; write sqlite:///path/to/davit.db or postgresql://user@host/database");
  const auto& peers = agent.peers;
  if (!peers.listen.empty()) {
    for (auto [name, value] : {std::pair{"tls-ca", &peers.tls_ca}, std::pair{"tls-certificate", &peers.tls_certificate}, std::pair{"tls-key", &peers.tls_key}})
      if (value->empty())
        mistake("davit.fleet.listen", std::string{"peers are spoken to with TLS and certificates on both sides: set davit.fleet."} + name);
      else if (!std::ifstream{*value})
        mistake(std::string{"davit.fleet."} + name, *value + " can't be read");
    auto check = [&](const char* name, const std::string& text) {
      if (!transport::parse_host_and_port(text))
        mistake(name, "\"" + text + "\" is no host:port");
    };
    check("davit.fleet.listen", peers.listen);
    if (!peers.advertise.empty())
      check("davit.fleet.advertise", peers.advertise);
    for (const auto& one : peers.peers)
      check("davit.fleet.peers", one);
    if (agent.store_url.starts_with("sqlite:"))
      mistake("davit.fleet.listen", "a fleet needs a store that its agents share: set davit.store.url to postgresql://...");
  }
  if (agent.lease < std::chrono::seconds{3})
    mistake("davit.fleet.lease", "must be 3s at least: agents tell that they live every sixth of it");
  auto plain = [](const std::string& text) {
    return !text.empty() && text.size() <= 128 && text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == std::string::npos;
  };
  if (!plain(agent.name))
    mistake("davit.agent.name", "must consist of letters, digits, dots, dashes and underscores, 128 at most");
  if (!plain(agent.fleet))
    mistake("davit.fleet.name", "must consist of letters, digits, dots, dashes and underscores, 128 at most");
}

} // namespace

std::string config_mistake::text() const {
  auto where = file.empty() ? std::string{"command line"} : file;
  if (line != 0)
    where += ':' + std::to_string(line);
  return where + ": " + (option.empty() ? "" : option + ": ") + message;
}

caf_configuration::caf_configuration() {
  static const bool once = [] {
    caf::init_global_meta_objects<caf::id_block::davit>();
    caf::io::middleman::init_global_meta_objects();
    caf::core::init_global_meta_objects();
    return true;
  }();
  (void)once;
  load<caf::io::middleman>();
  // Work stealing looks for work without pause; beside an engine on the same machine that costs tasks more than it gives messages
  // (docs/performance.md).
  set("caf.scheduler.policy", "sharing");
  // CAF would take four on a small machine: they wake each other for nothing.
  set("caf.scheduler.max-threads", static_cast<std::int64_t>(std::max(2u, std::thread::hardware_concurrency())));
  // CAF's own console log is off; its warnings reach the user through davit's.
  set("caf.logger.console.verbosity", "quiet");
}

std::string host_name() {
  char name[256]{};
  ::gethostname(name, sizeof name - 1);
  return name[0] ? name : "davit";
}

configuration read_configuration(const std::string& file, const std::vector<std::string>& overrides) {
  configuration result;
  result.caf = std::make_unique<caf_configuration>();
  std::string text;
  if (!file.empty()) {
    std::ifstream in{file};
    if (!in) {
      result.mistakes.push_back({file, 0, "", std::string{"can't be read: "} + std::strerror(errno)});
      return result;
    }
    std::ostringstream all;
    errno = 0;
    if (in.peek() != std::ifstream::traits_type::eof())
      all << in.rdbuf();
    if (in.bad() || errno != 0) {
      result.mistakes.push_back({file, 0, "", std::string{"can't be read: "} + std::strerror(errno == 0 ? EIO : errno)});
      return result;
    }
    text = all.str();
  }
  auto outline = outline_of(text);
  reader read{result, file, outline.lines};
  std::istringstream parsed_text{text};
  auto parsed = caf::actor_system_config::parse_config(parsed_text);
  if (!parsed) {
    auto e = parsed.error();
    int line = 0;
    if (e.context().match_element<std::int32_t>(0))
      line = e.context().get_as<std::int32_t>(0);
    result.mistakes.push_back({file, line, "", "can't be read as a CAF configuration file: " + parser_words(e)});
    return result;
  }
  if (outline.open_list != 0) {
    result.mistakes.push_back({file, outline.open_list, "", "this [ is not closed: is this the whole file?"});
    return result;
  }
  if (!outline.open.empty()) {
    auto [group, line] = outline.open.back();
    result.mistakes.push_back({file, line, "", "the { of \"" + group + "\" is not closed: is this the whole file?"});
    return result;
  }
  read.read(*parsed, true);
  std::vector<std::string> for_caf;
  caf::settings own;
  for (const auto& one : overrides) {
    auto equals = one.find('=');
    if (one.starts_with("--caf.")) {
      for_caf.push_back(one);
    } else if (one.starts_with("--davit.") && equals != std::string::npos) {
      auto name = one.substr(2, equals - 2), value = one.substr(equals + 1);
      auto typed = config_value::parse(value);
      caf::put(own, name, typed ? *typed : config_value{value});
    } else {
      result.mistakes.push_back({"", 0, one, "unknown argument; options are given as --davit.agent.name=a2"});
    }
  }
  read.read(own, false);
  std::istringstream for_caf_text{text};
  if (auto e = result.caf->parse(for_caf, for_caf_text))
    result.mistakes.push_back({"", 0, "", "CAF's options: " + caf::to_string(e)});
  result.agent = std::move(read.raw.agent);
  auto& agent = result.agent;
  if (agent.name.empty())
    agent.name = host_name();
  agent.data_dir = read.raw.data_dir;
  agent.secrets_key = read.raw.secrets_key;
  agent.docker_config = read.raw.docker_config;
  // Nobody reaches an agent by the address that stands for all of its own.
  for (std::string every : {"0.0.0.0:", "[::]:"})
    if (agent.peers.advertise.empty() && agent.peers.listen.starts_with(every))
      agent.peers.advertise = host_name() + ':' + agent.peers.listen.substr(every.size());
  if (agent.api_listen.empty())
    agent.api_listen = "127.0.0.1:7300";
  if (agent.store_url.empty())
    agent.store_url = "sqlite://" + (agent.data_dir / "davit.db").string();
  for (auto& [name, engine] : read.engines)
    agent.engines.push_back(std::move(engine));
  for (auto& [name, sink] : read.sinks)
    agent.logs.sinks.push_back(std::move(sink));
  if (agent.engines.empty())
    agent.engines.push_back(transport::engine_from_environment([](const char* name) -> const char* { return std::getenv(name); }));
  judge(result, file, outline.lines);
  if (const auto& peers = agent.peers; !peers.listen.empty()) {
    // 0.18 parses its options before it loads the module that they are for, and would come up without certificates (docs/decisions/0003-caf-version.md).
    result.caf->openssl_certificate = peers.tls_certificate;
    result.caf->openssl_key = peers.tls_key;
    result.caf->openssl_cafile = peers.tls_ca;
    result.caf->load<caf::openssl::manager>();
    // A peer that has vanished without a word is noticed.
    result.caf->set("caf.middleman.heartbeat-interval", caf::timespan{std::chrono::seconds{1}});
    result.caf->set("caf.middleman.connection-timeout", caf::timespan{std::chrono::seconds{4}});
  }
  return result;
}

std::string default_configuration() {
  std::string text = "# Every option of davit with its default. What is commented out is not set, or found out at the start.\n"
                     "# Written by: davit check-config --defaults\n\ndavit {\n";
  std::vector<std::string> open;
  auto indent = [&] { return std::string(2 * (open.size() + 1), ' '); };
  auto write = [&](const std::string& name, const std::string& standard, const std::string& help) {
    if (!help.empty())
      text += indent() + "# " + help + "\n";
    text += standard.starts_with('#') ? indent() + "# " + name + " = " + standard.substr(2) + "\n" : indent() + name + " = " + standard + "\n";
  };
  for (const auto& one : options()) {
    std::vector<std::string> path;
    std::string part;
    std::istringstream parts{one.name};
    while (std::getline(parts, part, '.'))
      path.push_back(part);
    auto leaf = path.back();
    path.pop_back();
    while (!open.empty() && (open.size() > path.size() || !std::equal(open.begin(), open.end(), path.begin()))) {
      open.pop_back();
      text += indent() + "}\n";
    }
    while (open.size() < path.size()) {
      text += indent() + path[open.size()] + " {\n";
      open.push_back(path[open.size()]);
    }
    write(leaf, one.standard, one.help);
  }
  auto close_all = [&] {
    while (!open.empty()) {
      open.pop_back();
      text += indent() + "}\n";
    }
  };
  // logs is the last group, and still open
  text += "    # Where logs are sent beside the agent's own disk: one group for each place; its name is yours to choose.\n    sinks {\n      # loki {\n";
  for (const auto& one : sink_options()) {
    text += "      #   # " + one.help + "\n";
    text += "      #   " + one.name + " = " + (one.standard.starts_with('#') ? "... (" + one.standard.substr(2) + ")" : one.standard) + "\n";
  }
  text += "      # }\n    }\n";
  close_all();
  text += "  # One group for each engine; its name is yours to choose. Without any: DOCKER_HOST, DOCKER_TLS_VERIFY and\n"
          "  # DOCKER_CERT_PATH, or else the default socket.\n  engines {\n    # host {\n";
  for (const auto& one : engine_options()) {
    text += "    #   # " + one.help + "\n";
    text += "    #   " + one.name + " = " + (one.standard.starts_with('#') ? "... (" + one.standard.substr(2) + ")" : one.standard) + "\n";
  }
  return text + "    # }\n  }\n}\n";
}

} // namespace davit
