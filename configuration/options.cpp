#include "configuration/options.hpp"

namespace davit {

namespace {

using agent = agent_settings;
using access = access_settings;
using rules = policy_settings;
using sums = resource_limits;
using peers = fleet_settings;
using namespace std::chrono_literals;

constexpr std::uint32_t any_many = 100'000; ///< More tasks than an agent ever has at once.
constexpr byte_size operator""_m(unsigned long long count) {
  return {count << 20};
}

} // namespace

const std::vector<option<agent_settings>>& agent_options() {
  static const std::vector<option<agent_settings>> all{
    {"agent.name",
     at(&agent::name),
     "This agent's name: unique in its fleet, and kept over restarts.",
     {.format = &plain_name, .unset = "the host's name"}},
    {"agent.data-dir", at(&agent::data_dir), "Folder for the logs of tasks, and for the store if it is SQLite."},
    {"agent.drain-timeout", at(&agent::drain_timeout), "How long SIGTERM waits for running tasks."},
    {"agent.drain-action",
     at(&agent::drain_action),
     "What happens to tasks that run longer than that: \"leave\" them running, or \"stop\" them (they end as "
     "agent_lost and go by their retry policy).",
     {.format = &drain_action}},
    {"agent.log-format",
     at(&agent::log_format),
     "How the agent writes its own log on stderr: \"text\", or \"json\", an object on each line.",
     {.format = &log_format}},
    {"agent.min-free-disk", at(&agent::min_free_disk),
     "With less free space in the data directory no task is claimed, nor accepted if the store is SQLite."},
    {"agent.pull-timeout",
     at(&agent::pull_timeout),
     "How long pulling an image may take, unless the task says.",
     {.least = 1s}},
    {"agent.secrets-key",
     at(&agent::secrets_key),
     "File with the key that seals tasks' secrets in the store: 32 bytes in base64; made if it is not there. All "
     "agents of a fleet need the same.",
     {.unset = "<data-dir>/secrets.key"}},
    {"agent.docker-config",
     at(&agent::docker_config),
     "A docker config.json with the credentials of registries (auths, credHelpers, credsStore).",
     {.unset = "none"}},

    {"api.listen",
     at(&agent::api_listen),
     "Where the API listens: host:port, or \"unix:///run/davit.sock\".",
     {.format = &listen_address}},
    {"api.tokens-file",
     at(&agent::access, &access::tokens_file),
     "Who may call (davit token create writes it). Without it: processes of this machine alone, over loopback or the "
     "unix socket.",
     {.unset = "none"}},
    {"api.local-scopes", at(&agent::access, &access::local_scopes),
     "What callers without a token may do, on the unix socket or (if there is no tokens-file) on loopback: submit, "
     "read, cancel, admin."},
    {"api.tls-certificate",
     at(&agent::access, &access::tls_certificate),
     "PEM file: shown to callers; switches TLS on. Read again when it has changed.",
     {.unset = "none"}},
    {"api.tls-key", at(&agent::access, &access::tls_key), "PEM file: the certificate's key.", {.unset = "none"}},
    {"api.tls-client-ca",
     at(&agent::access, &access::tls_client_ca),
     "PEM file: callers must show a certificate that this authority has signed, beside their token.",
     {.unset = "none"}},
    {"api.rate-limit",
     at(&agent::access, &access::rate_limit),
     "Requests per second and token (twice as many at once); 0: any number.",
     {.least = 0.0}},
    {"api.open-metrics", at(&agent::access, &access::open_metrics), "true: /metrics asks for no token."},
    {"api.audit-log",
     at(&agent::access, &access::audit_log),
     "File that says who did what, and who was turned away: a JSON object on each line.",
     {.unset = "<data-dir>/audit.log"}},

    {"store.url",
     at(&agent::store_url),
     "Where tasks live; postgresql://user@host/database for a fleet.",
     {.format = &store_url, .unset = "sqlite:///<data-dir>/davit.db"}},
    {"store.retention", at(&agent::retention), "How long finished tasks and their logs are kept; 0s: for ever."},

    {"policy.profile", at(&agent::policy, &rules::profile),
     "What tasks may ask of an engine: \"restricted\", \"baseline\" or \"privileged\" (docs/security.md)."},
    {"policy.images.allow", at(&agent::policy, &rules::images_allow),
     "RE2 patterns, each for the whole name (docker.io/library/alpine:3.20, or alpine:3.20 for short); empty: all "
     "that are not denied."},
    {"policy.images.deny", at(&agent::policy, &rules::images_deny),
     "RE2 patterns for images that are refused; goes before allow."},
    {"policy.images.require-digest", at(&agent::policy, &rules::require_digest),
     "true: an image must be named by its digest (name@sha256:...)."},
    {"policy.images.always-pull", at(&agent::policy, &rules::always_pull),
     "true: also what an engine has already is pulled, so that a registry judges each task's credentials."},
    {"policy.networks.allow", at(&agent::policy, &rules::networks_allow), "Networks that a task may name."},
    {"policy.networks.default", at(&agent::policy, &rules::default_network), "The network of tasks that name none."},
    {"policy.defaults.cpus",
     at(&agent::policy, &rules::defaults, &sums::cpus),
     "Processors of a task that says nothing of them; a fraction is allowed.",
     {.least = 0.01, .most = 10'000.0, .unset = "any"}},
    {"policy.defaults.memory",
     at(&agent::policy, &rules::defaults, &sums::memory),
     "Memory of a task that says nothing of it.",
     {.least = 6_m, .unset = "any"}},
    {"policy.defaults.pids",
     at(&agent::policy, &rules::defaults, &sums::pids),
     "Processes and threads of a task that says nothing of them.",
     {.least = 1, .unset = "any"}},
    {"policy.defaults.shm",
     at(&agent::policy, &rules::defaults, &sums::shm),
     "Size of /dev/shm of a task that says nothing of it.",
     {.least = byte_size{1}, .unset = "the engine's (64m)"}},
    {"policy.defaults.timeout",
     at(&agent::policy, &rules::default_timeout),
     "How long a task may run that says nothing of it.",
     {.least = 1s, .unset = "none"}},
    {"policy.ceilings.cpus",
     at(&agent::policy, &rules::ceilings, &sums::cpus),
     "A task that asks for more processors is refused.",
     {.least = 0.01, .most = 10'000.0, .unset = "none"}},
    {"policy.ceilings.memory",
     at(&agent::policy, &rules::ceilings, &sums::memory),
     "A task that asks for more memory is refused.",
     {.least = 6_m, .unset = "none"}},
    {"policy.ceilings.pids",
     at(&agent::policy, &rules::ceilings, &sums::pids),
     "A task that asks for more processes and threads is refused.",
     {.least = 1, .unset = "none"}},
    {"policy.ceilings.shm",
     at(&agent::policy, &rules::ceilings, &sums::shm),
     "A task that asks for a larger /dev/shm is refused.",
     {.least = byte_size{1}, .unset = "none"}},
    {"policy.ceilings.timeout",
     at(&agent::policy, &rules::max_timeout),
     "A task that asks for more time is refused.",
     {.least = 1s, .unset = "none"}},

    {"fleet.name", at(&agent::fleet), "Marks this fleet's containers (label davit.fleet).", {.format = &plain_name}},
    {"fleet.listen",
     at(&agent::peers, &peers::listen),
     "host:port where other agents reach this one; needs the three certificates. Without it news comes from the "
     "store alone, and live logs of other agents can't be read.",
     {.format = &host_and_port, .unset = "none"}},
    {"fleet.advertise",
     at(&agent::peers, &peers::advertise),
     "host:port that is told to the others, if it is another one; where listen is all addresses: the host's name.",
     {.format = &host_and_port, .unset = "listen"}},
    {"fleet.peers",
     at(&agent::peers, &peers::peers),
     "host:port of agents, beside those that the store names; a name that stands for several addresses (a headless "
     "service) is for an agent at each.",
     {.format = &host_and_port}},
    {"fleet.tls-ca",
     at(&agent::peers, &peers::tls_ca),
     "PEM file: the authority that has signed all agents' certificates. An authority of the fleet's own: whoever has "
     "a certificate of it is believed.",
     {.unset = "none"}},
    {"fleet.tls-certificate",
     at(&agent::peers, &peers::tls_certificate),
     "PEM file: this agent's certificate.",
     {.unset = "none"}},
    {"fleet.tls-key", at(&agent::peers, &peers::tls_key), "PEM file: the certificate's key.", {.unset = "none"}},
    // An agent tells that it lives every sixth of its lease.
    {"fleet.lease",
     at(&agent::lease),
     "With a shared store: how long after an agent's last heartbeat others take over what it has left. One that "
     "can't reach the store gives up its tasks after two thirds of it.",
     {.least = 3s}},

    {"placement.strategy", at(&agent::placement, &placement_rules::strategy),
     "Which of the engines that could take a task gets it: \"spread\" over all, or \"pack\" the fullest first."},
    {"placement.image-patience", at(&agent::placement, &placement_rules::image_patience),
     "How long a task waits for an engine that has its image already, while others are free; 0s: not at all."},
    {"placement.max-per-owner",
     at(&agent::placement, &placement_rules::most_per_owner),
     "How many tasks of one owner run at once in the whole fleet.",
     {.least = 1, .most = any_many, .unset = "any number"}},
    {"placement.max-per-label", at(&agent::placement, &placement_rules::label_limits),
     "How many tasks of a label run at once in the whole fleet: \"team=red: 8\", or \"deploy: 1\" for each value of "
     "deploy by itself (a concurrency group)."},

    {"logs.max-bytes", at(&agent::logs, &log_settings::max_bytes), "What is kept of an attempt's output; \"0\": all."},
  };
  return all;
}

const std::vector<option<engine_settings>>& engine_options() {
  using engine = engine_settings;
  static const std::vector<option<engine_settings>> all{
    {"endpoint",
     at(&engine::endpoint),
     "Where the engine listens: unix:///var/run/docker.sock, or tcp://host:port.",
     {.format = &engine_endpoint, .unset = "must be set"}},
    {"slots", at(&engine::slots), "How many tasks run there at once.", {.least = 1, .most = any_many}},
    {"labels", at(&engine::labels), "What tasks can ask for (engine.labels).", {.format = &engine_label}},
    {"profile",
     at(&engine::profile),
     "What tasks may ask of this engine: \"restricted\", \"baseline\" or \"privileged\".",
     {.unset = "the policy's"}},
    {"tls-ca",
     at(&engine::tls_ca),
     "PEM file: who may have signed the engine's certificate. Any tls- option switches TLS on.",
     {.unset = "none"}},
    {"tls-certificate", at(&engine::tls_certificate), "PEM file: shown to the engine.", {.unset = "none"}},
    {"tls-key", at(&engine::tls_key), "PEM file: the certificate's key.", {.unset = "none"}},
    {"tls-verify", at(&engine::tls_verify), "false: the engine's certificate and name are not checked."},
    {"grace", at(&engine::grace), "How long its tasks wait for an engine that is away."},
    {"image-gc-below", at(&engine::image_gc_below),
     "With less free disk, images that davit itself has pulled and not used for a while are removed, longest unused "
     "first; \"0\": never."},
    {"image-gc-age", at(&engine::image_gc_age),
     "How long an image must have been unused for that; at least 10min and twice the grace are waited."},
    {"sandboxes",
     at(&engine::sandboxes),
     "How many containers are kept up and idle for tasks like those that came lately, and how many networks; each is "
     "used by one task. 0: none.",
     {.least = 0, .most = 1000}},
    {"sandbox-idle", at(&engine::sandbox_idle), "How long after the last such task they still wait."},
    {"images-ahead",
     at(&engine::images_ahead),
     "While all its slots are taken, it pulls the images of so many tasks that come next; 0: none.",
     {.least = 0, .most = 1000}},
    {"containers-folder",
     at(&engine::log_files),
     "The folder of the engine's containers (in its data root), if this agent can read it: a log is then followed "
     "there, as fast as it is written, and not asked of the engine.",
     {.format = &absolute_path, .unset = "none", .formerly = "log-files"}},
    {"min-free-disk", at(&engine::min_free_disk),
     "With less free space where it keeps its data, it is given nothing (known of engines on this host alone)."},
  };
  return all;
}

const std::vector<option<sink_settings>>& sink_options() {
  using sink = sink_settings;
  static const std::vector<option<sink_settings>> all{
    {"type", at(&sink::type), "\"file\", \"stdout\", \"cloudwatch\", \"loki\" or \"otlp\"."},
    {"path", at(&sink::path), "file: where to write; a JSON object on each line.", {.unset = "none"}},
    {"max-size", at(&sink::max_size), "file: with this size it is rotated.", {.least = byte_size{1024}}},
    {"max-files", at(&sink::max_files), "file: rotated ones that are kept.", {.least = 1, .most = any_many}},
    {"url",
     at(&sink::url),
     "loki, otlp: http(s)://host:port, with a path if it is not the usual one.",
     {.format = &service_url, .unset = "AWS's own for cloudwatch"}},
    {"region", at(&sink::region), "cloudwatch: the AWS region.", {.unset = "AWS_REGION"}},
    {"group",
     at(&sink::group),
     "Template: CloudWatch's log group, Loki's label job, OTLP's service.name. {fleet} {agent} {engine} {task} "
     "{attempt} {name} {owner} {image} {label:NAME} stand for the attempt's.",
     {.format = &name_template}},
    {"stream", at(&sink::stream), "Template: CloudWatch's log stream.", {.format = &name_template}},
    {"token-file", at(&sink::token_file), "loki, otlp: file with a bearer token.", {.unset = "none"}},
    {"tenant", at(&sink::tenant), "loki: X-Scope-OrgID.", {.unset = "none"}},
    {"tls-ca",
     at(&sink::tls_ca),
     "PEM file: who may have signed the service's certificate.",
     {.unset = "the system's"}},
    {"max-backlog",
     at(&sink::max_backlog),
     "How many bytes of logs may wait for a service that does not take them; what goes beyond is dropped, and "
     "counted.",
     {.least = byte_size{1024}}},
  };
  return all;
}

} // namespace davit
