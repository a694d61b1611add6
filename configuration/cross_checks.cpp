#include "configuration/cross_checks.hpp"

#include "configuration/file_collisions.hpp"
#include "configuration/option_value.hpp"
#include "configuration/text_formats.hpp"
#include "messages/regular_file.hpp"
#include "policy/claims.hpp"
#include "shipping/aws_profile.hpp"
#include "transport/endpoint.hpp"
#include "transport/registry_credentials.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>

namespace davit {

namespace {

/// A file that must be there and readable; an empty name is no file.
void check_file(const std::string& option, const std::string& file, mistake_list& mistakes) {
  if (file.empty())
    return;
  if (auto wrong = wrong_kind(file); !wrong.empty())
    mistakes.add(option, file + ' ' + wrong);
  else if (!std::ifstream{file})
    mistakes.add(option, file + " can't be read");
}

/// A file that the agent writes: to open a pipe would wait for its reader, who may never come.
void check_written(const std::string& option, const std::string& file, mistake_list& mistakes) {
  if (auto wrong = wrong_kind(file); !wrong.empty())
    mistakes.add(option, file + ' ' + wrong);
}

void check_engine(const engine_settings& engine, mistake_list& mistakes) {
  auto name = "davit.engines." + engine.name;
  if (auto wrong = plain_name.wrong(engine.name); !wrong.empty()) // it is a label of metrics, and a file's name
    mistakes.add(name, wrong);
  if (mistakes.has(name + ".endpoint"))
    return;
  if (engine.endpoint.empty())
    mistakes.add(name,
                 "the engine has no endpoint; write endpoint = \"unix:///path/to/docker.sock\" or \"tcp://host:port\"");
  else if (auto wrong = engine_endpoint.wrong(engine.endpoint); !wrong.empty()) // DOCKER_HOST
    mistakes.add(name + ".endpoint", wrong);
  else if (auto where = transport::endpoint_of(engine); !where)
    mistakes.add(name + ".endpoint", where.error().message);
}

void check_sink(const sink_settings& sink, mistake_list& mistakes) {
  auto name = "davit.logs.sinks." + sink.name;
  if (auto wrong = plain_name.wrong(sink.name); !wrong.empty())
    mistakes.add(name, wrong);
  if (sink.type == sink_type::file && sink.path.empty() && !mistakes.has(name + ".path"))
    mistakes.add(name, "a file needs a path; write path = \"/var/log/davit.json\"");
  auto environment = [](const char* variable) -> const char* { return std::getenv(variable); };
  if (sink.type == sink_type::cloudwatch && sink.region.empty() && shipping::find_aws_region(environment).empty())
    mistakes.add(name, "no AWS region: set region, or AWS_REGION");
  if ((sink.type == sink_type::loki || sink.type == sink_type::otlp) && sink.url.empty()
      && !mistakes.has(name + ".url"))
    mistakes.add(name, "it has no url; write url = \"http://host:port\"");
  using enum sink_type;
  struct rule {
    const char* option;
    const std::string* value;
    std::vector<sink_type> types; ///< That read it.
  };
  const rule rules[] = {{"path", &sink.path, {file}},           {"url", &sink.url, {loki, otlp, cloudwatch}},
                        {"region", &sink.region, {cloudwatch}}, {"token-file", &sink.token_file, {loki, otlp}},
                        {"tenant", &sink.tenant, {loki}},       {"tls-ca", &sink.tls_ca, {loki, otlp, cloudwatch}}};
  for (const auto& [option, value, types] : rules)
    if (!value->empty() && std::find(types.begin(), types.end(), sink.type) == types.end())
      mistakes.add(name + '.' + option,
                   "a sink of type \"" + to_string(sink.type) + "\" does not use this; leave it out");
  check_file(name + ".token-file", sink.token_file, mistakes);
  check_file(name + ".tls-ca", sink.tls_ca, mistakes);
}

void check_policy(const policy_settings& rules, mistake_list& mistakes) {
  if (std::string wrong; !policy::make(rules, wrong)) {
    auto colon = std::min(wrong.size(), wrong.find(':'));
    mistakes.add(wrong.substr(0, colon), wrong.substr(std::min(wrong.size(), colon + 2)));
  }
  const auto& allowed = rules.networks_allow;
  auto read = !mistakes.has("davit.policy.networks.allow") && !mistakes.has("davit.policy.networks.default");
  if (read && std::find(allowed.begin(), allowed.end(), rules.default_network) == allowed.end())
    mistakes.add(mistakes.is_given("davit.policy.networks.default") ? "davit.policy.networks.default"
                                                                    : "davit.policy.networks.allow",
                 "the default network, \"" + rules.default_network
                   + "\", is not among those that are allowed; add it to davit.policy.networks.allow, or set "
                     "davit.policy.networks.default");
  auto compare = [&](const std::string& name, const auto& value, const auto& ceiling) {
    auto option = "davit.policy.defaults." + name, bound = "davit.policy.ceilings." + name;
    if (value && ceiling && *ceiling < *value)
      mistakes.add(mistakes.is_given(option) ? option : bound,
                   mistakes.is_given(option) ? "is over " + bound
                                             : "is below " + option + ", which is " + shown(*value) + "; set that too");
  };
  compare("cpus", rules.defaults.cpus, rules.ceilings.cpus);
  compare("memory", rules.defaults.memory, rules.ceilings.memory);
  compare("pids", rules.defaults.pids, rules.ceilings.pids);
  compare("shm", rules.defaults.shm, rules.ceilings.shm);
  compare("timeout", rules.default_timeout, rules.max_timeout);
  for (const auto& one : rules.profiles)
    if (policy_profile profile{}; !from_string(one.name, profile))
      mistakes.add("davit.policy.profiles." + one.name, "is not a profile; the name must be " + expected_text(profile));
}

void check_label_limits(const std::vector<label_limit>& limits, mistake_list& mistakes) {
  std::set<std::pair<std::string, std::string>> seen;
  for (const auto& one : limits)
    if (!seen.emplace(one.name, one.value).second)
      mistakes.add("davit.placement.max-per-label", "names the label \"" + one.name + (one.value.empty() ? "" : "=")
                                                      + one.value + "\" twice; leave one out");
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

void check_keys(const issuer_settings& issuer, const std::string& name, mistake_list& mistakes) {
  auto read = !mistakes.has(name + ".jwks-file") && !mistakes.has(name + ".jwks-url");
  if (read && issuer.jwks_file.empty() == issuer.jwks_url.empty())
    mistakes.add(name, "it needs the issuer's keys: set jwks-file or jwks-url, and not both");
  check_file(name + ".jwks-file", issuer.jwks_file, mistakes);
  check_file(name + ".tls-ca", issuer.tls_ca, mistakes);
  if (!issuer.tls_ca.empty() && !issuer.jwks_url.starts_with("https://"))
    mistakes.add(name + ".tls-ca", "only a jwks-url that starts with https:// uses this; leave it out");
  auto url = transport::parse_service_url(issuer.jwks_url, "/", "");
  if (!issuer.jwks_url.empty() && url && !url->where.tls && !is_loopback(url->where.host))
    mistakes.add(name + ".jwks-url",
                 "who changes the keys on their way lets in whom they like: this needs https://, except on loopback");
}

void check_issuer(const issuer_settings& issuer, mistake_list& mistakes) {
  auto name = "davit.api.issuers." + issuer.name;
  if (auto wrong = plain_name.wrong(issuer.name); !wrong.empty()) // owners begin with it
    mistakes.add(name, wrong);
  if (issuer.issuer.empty() && !mistakes.has(name + ".issuer"))
    mistakes.add(name, "it has no issuer; write issuer = \"https://gitlab.example.com\"");
  if (issuer.audience.empty() && !mistakes.has(name + ".audience"))
    mistakes.add(name, "it has no audience; write audience = \"davit\", and have the tokens made for it");
  check_keys(issuer, name, mistakes);
  std::string wrong;
  if (!mistakes.has(name + ".owner") && !owner_template::make(issuer.owner, wrong))
    mistakes.add(name + ".owner", wrong);
  if (issuer.require.empty() && !mistakes.has(name + ".require"))
    mistakes.add(name, "it has no require: everyone to whom the issuer gives tokens could call; write require = "
                       "[\"project_path=group/.*\"], or [\"sub=.+\"] if everyone may");
  for (const auto& one : issuer.require)
    if (!claim_rule::make(one, wrong))
      mistakes.add(name + ".require", wrong);
}

void check_api(const std::vector<std::string>& listen, const access_settings& access, mistake_list& mistakes) {
  if (listen.empty())
    mistakes.add("davit.api.listen", "must name at least one address");
  auto only_unix = !listen.empty();
  std::set<std::string> seen;
  for (const auto& one : listen) {
    auto where = transport::parse_listen_address(one);
    if (!where)
      continue; // its form was judged before
    if (!seen.insert(to_string(*where)).second)
      mistakes.add("davit.api.listen", "names " + one + " twice; leave one out");
    only_unix &= where->is_unix();
    if (where->is_unix())
      continue;
    if (!is_loopback(where->host) && (!access.knows_tokens() || access.tls_certificate.empty()))
      mistakes.add("davit.api.listen",
                   where->host
                     + " can be reached from elsewhere: that needs TLS (tls-certificate, tls-key) and tokens "
                       "(tokens-file, mint-key or issuers); or listen on loopback or a unix socket");
  }
  if (access.tls_certificate.empty() != access.tls_key.empty())
    mistakes.add(access.tls_certificate.empty() ? "davit.api.tls-key" : "davit.api.tls-certificate",
                 "tls-certificate and tls-key go together: set both or none");
  if (!access.tls_client_ca.empty() && access.tls_certificate.empty())
    mistakes.add("davit.api.tls-client-ca", "client certificates need TLS: set tls-certificate and tls-key");
  check_file("davit.api.tls-certificate", access.tls_certificate, mistakes);
  check_file("davit.api.tls-key", access.tls_key, mistakes);
  check_file("davit.api.tls-client-ca", access.tls_client_ca, mistakes);
  if (only_unix && !access.tls_certificate.empty())
    mistakes.add("davit.api.tls-certificate", "there is no TLS on a unix socket");
}

void check_fleet(const agent_settings& agent, mistake_list& mistakes) {
  const auto& peers = agent.peers;
  const std::pair<const char*, const std::string*> files[]
    = {{"tls-ca", &peers.tls_ca}, {"tls-certificate", &peers.tls_certificate}, {"tls-key", &peers.tls_key}};
  if (peers.listen.empty()) {
    for (std::string option : {"advertise", "tls-ca", "tls-certificate", "tls-key"})
      if (mistakes.is_given("davit.fleet." + option) && !mistakes.has("davit.fleet." + option))
        mistakes.add("davit.fleet." + option,
                     "does nothing without davit.fleet.listen; set that too, or leave this out");
    return;
  }
  for (auto [name, file] : files) {
    if (file->empty())
      mistakes.add("davit.fleet.listen",
                   std::string{"peers use TLS with certificates on both sides: set davit.fleet."} + name);
    check_file(std::string{"davit.fleet."} + name, *file, mistakes);
  }
  if (agent.store_url.starts_with("sqlite:"))
    mistakes.add("davit.fleet.listen",
                 "a fleet needs a store that its agents share: set davit.store.url to postgresql://...");
}

} // namespace

void check_settings(const agent_settings& agent, mistake_list& mistakes) {
  if (auto wrong = plain_name.wrong(agent.name); !wrong.empty())
    mistakes.add("davit.agent.name", wrong + ", which is the host's name; set the option");
  if (auto known = transport::registry_credentials::load(agent.docker_config); !known)
    mistakes.add("davit.agent.docker-config", known.error().message);
  for (const auto& engine : agent.engines)
    check_engine(engine, mistakes);
  for (const auto& sink : agent.logs.sinks) {
    check_sink(sink, mistakes);
    if (sink.type == sink_type::file && !sink.path.empty())
      check_written("davit.logs.sinks." + sink.name + ".path", sink.path, mistakes);
  }
  check_policy(agent.policy, mistakes);
  check_label_limits(agent.placement.label_limits, mistakes);
  check_api(agent.api_listen, agent.access, mistakes);
  check_written("davit.api.audit-log", agent.access.audit_log, mistakes);
  for (const auto& issuer : agent.access.issuers)
    check_issuer(issuer, mistakes);
  check_fleet(agent, mistakes);
  check_collisions(agent, mistakes);
}

} // namespace davit
