#include "configuration/options.hpp"

namespace davit {

namespace {

using agent = agent_settings;
using access = access_settings;
using rules = policy_settings;
using sums = resource_limits;
using files = file_settings;
using counts = spec_ceilings;
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
     "This agent's name: unique in its fleet, and (with a shared store) the same after a restart.",
     {.format = &plain_name, .unset = "the host's name"}},
    {"agent.data-dir", at(&agent::data_dir), "Folder for the logs of tasks, and for the store if it is SQLite."},
    {"agent.drain-timeout", at(&agent::drain_timeout), "How long SIGTERM waits for running tasks."},
    {"agent.drain-action",
     at(&agent::drain_action),
     "What happens to tasks that run longer than that: \"leave\" them running, or \"stop\" them (they end as "
     "agent_lost, and their retry policy applies).",
     {.format = &drain_action}},
    {"agent.log-format",
     at(&agent::log_format),
     "Format of the agent's own log on stderr: \"text\", or \"json\" with an object on each line.",
     {.format = &log_format}},
    {"agent.min-free-disk", at(&agent::min_free_disk),
     "Below this much free space in the data directory, the agent claims no task. If the store is SQLite, it also "
     "accepts none."},
    {"agent.pull-timeout",
     at(&agent::pull_timeout),
     "How long an image pull may take, unless the task sets pull_timeout.",
     {.least = 1s}},
    {"agent.secrets-key",
     at(&agent::secrets_key),
     "File with the key that seals tasks' secrets in the store: 32 bytes in base64. The agent creates it if it does "
     "not exist. All agents of a fleet need the same key.",
     {.unset = "<data-dir>/secrets.key", .is_file = true}},
    {"agent.signing-key",
     at(&agent::signing_key),
     "File with the key that signs statements about tasks (davit attest): an Ed25519 private key in PEM (PKCS #8). The "
     "agent creates it if it does not exist. The agents of a fleet may share one, or have one each.",
     {.unset = "<data-dir>/signing.key", .is_file = true}},
    {"agent.docker-config",
     at(&agent::docker_config),
     "A Docker config.json with registry credentials (auths, credHelpers, credsStore).",
     {.unset = "none", .is_file = true}},

    {"blobs.url",
     at(&agent::files, &files::url),
     "Where files of tasks lie. All agents of a fleet need the same bucket; a fleet without one refuses inputs and "
     "outputs.",
     {.format = &bucket_url, .unset = "the folder blobs in data-dir; a fleet: nowhere"}},
    {"blobs.endpoint",
     at(&agent::files, &files::endpoint),
     "https://host:port of another server of S3 than AWS's.",
     {.format = &service_url, .unset = "AWS's own"}},
    {"blobs.region", at(&agent::files, &files::region), "The bucket's region.", {.unset = "AWS_REGION"}},
    {"blobs.path-style", at(&agent::files, &files::path_style),
     "true: the bucket's name is in the path of each request, not in the name of the host. Many servers other than "
     "AWS's need this."},
    {"blobs.tls-ca",
     at(&agent::files, &files::tls_ca),
     "PEM file: the authority that signs the server's certificate.",
     {.unset = "the system's", .is_file = true}},
    {"blobs.quota", at(&agent::files, &files::quota),
     "How many bytes of files (inputs and outputs of tasks) an owner may have. Equal files count once."},
    {"blobs.unused",
     at(&agent::files, &files::unused),
     "How long files that no task uses are kept. What a task uses stays as long as the task: see store.retention.",
     {.least = 1min}},
    {"blobs.caches", at(&agent::files, &files::most_caches),
     "How many bytes all caches of an owner may have together. Those that were used longest ago go first."},
    {"blobs.caches-unused",
     at(&agent::files, &files::caches_unused),
     "How long a cache that no task begins with is kept.",
     {.least = 1min}},
    {"blobs.input-size", at(&agent::files, &files::most_input), "How many bytes one input may have."},
    {"blobs.output-size", at(&agent::files, &files::most_output),
     "How many bytes one output may have. The `max` of a task's output can make that less, never more."},
    {"blobs.count",
     at(&agent::files, &files::most_files),
     "How many files and folders one input or output may have.",
     {.least = 1, .most = 1'000'000}},

    {"api.listen",
     at(&agent::api_listen),
     "Where the API listens: host:port, or \"unix:///run/davit.sock\". TLS is for addresses with a port only, so one "
     "agent "
     "can have TLS outside and a unix socket inside: [\"0.0.0.0:7300\", \"unix:///run/davit.sock\"]. A single address "
     "needs no brackets.",
     {.format = &listen_address, .text_alone = true}},
    {"api.tokens-file",
     at(&agent::access, &access::tokens_file),
     "Tokens that may call the API (davit token create writes this file). Without it, a mint-key and issuers, only "
     "processes on this machine may call, over loopback or the unix socket.",
     {.unset = "none", .is_file = true}},
    {"api.mint-key",
     at(&agent::access, &access::mint_key),
     "File with keys (davit token create-key writes it): a token that davit token mint signed with one of them may "
     "call the API.",
     {.unset = "none", .is_file = true}},
    {"api.mint-lifetime",
     at(&agent::access, &access::mint_lifetime),
     "The longest lifetime of such a token. The agent refuses tokens that were minted for longer.",
     {.least = 1s}},
    {"api.local-scopes", at(&agent::access, &access::local_scopes),
     "What callers without a token may do, over the unix socket or (if nobody needs a token) over loopback: submit, "
     "read, cancel (their own tasks), read:all, cancel:all (everybody's), metrics, admin."},
    {"api.tls-certificate",
     at(&agent::access, &access::tls_certificate),
     "PEM file: the API's certificate; turns TLS on. The agent reloads the file when it changes.",
     {.unset = "none", .is_file = true}},
    {"api.tls-key",
     at(&agent::access, &access::tls_key),
     "PEM file: the certificate's key.",
     {.unset = "none", .is_file = true}},
    {"api.tls-client-ca",
     at(&agent::access, &access::tls_client_ca),
     "PEM file: callers need a certificate that this authority has signed, in addition to their token.",
     {.unset = "none", .is_file = true}},
    {"api.rate-limit",
     at(&agent::access, &access::rate_limit),
     "Requests per second and token (bursts may be twice as large); 0: no limit.",
     {.least = 0.0, .most = 1'000'000.0}},
    {"api.open-metrics", at(&agent::access, &access::open_metrics),
     "true: /metrics needs no token. It then names no owner."},
    {"api.audit-log",
     at(&agent::access, &access::audit_log),
     "File that records who did what, and who was refused: a JSON object on each line.",
     {.unset = "<data-dir>/audit.log", .is_file = true}},

    {"store.url",
     at(&agent::store_url),
     "The database of the tasks; postgresql://user@host/database for a fleet.",
     {.format = &store_url, .unset = "sqlite:///<data-dir>/davit.db"}},
    {"store.retention", at(&agent::retention), "How long finished tasks and their logs are kept; 0s: forever."},

    {"policy.profile", at(&agent::policy, &rules::profile),
     "What tasks may ask of an engine: \"restricted\", \"baseline\" or \"privileged\" (see docs/security.md)."},
    {"policy.images.allow", at(&agent::policy, &rules::images_allow),
     "RE2 patterns for images that are allowed. Each must match the whole name (docker.io/library/alpine:3.20, or "
     "alpine:3.20 for short). Empty: all images that are not denied."},
    {"policy.images.deny", at(&agent::policy, &rules::images_deny),
     "RE2 patterns for images that are refused, even if allow lists them."},
    {"policy.images.require-digest", at(&agent::policy, &rules::require_digest),
     "true: an image must be named by its digest (name@sha256:...)."},
    {"policy.images.allow-ids", at(&agent::policy, &rules::allow_ids),
     "true: an image may also be named by its id (sha256: and 64 digits), which says nothing of where it is from."},
    {"policy.images.always-pull", at(&agent::policy, &rules::always_pull),
     "true: pull the image even if the engine has it, so the registry checks each task's credentials each time."},
    {"policy.networks.allow", at(&agent::policy, &rules::networks_allow), "Networks that a task may name."},
    {"policy.networks.default", at(&agent::policy, &rules::default_network),
     "The network of tasks that do not name one."},
    {"policy.volumes.allow", at(&agent::policy, &rules::volumes_allow),
     "RE2 patterns for volumes of the engine that all owners share, under their own name. Each must match the whole "
     "name. Any other volume is its owner's: davit-FLEET-OWNER-NAME on the engine."},
    {"policy.labels.allow", at(&agent::policy, &rules::labels_allow),
     "RE2 patterns for labels of tasks that containers get under their own name. Each must match the whole name. Every "
     "label is also there as davit.label.NAME."},
    {"policy.defaults.cpus",
     at(&agent::policy, &rules::defaults, &sums::cpus),
     "Processors for a task that does not set resources.cpus; a fraction is allowed.",
     {.least = 0.01, .most = 10'000.0, .unset = "any"}},
    {"policy.defaults.memory",
     at(&agent::policy, &rules::defaults, &sums::memory),
     "Memory for a task that does not set resources.memory.",
     {.least = 6_m, .unset = "any"}},
    {"policy.defaults.pids",
     at(&agent::policy, &rules::defaults, &sums::pids),
     "Processes and threads for a task that does not set resources.pids.",
     {.least = 1, .unset = "any"}},
    {"policy.defaults.shm",
     at(&agent::policy, &rules::defaults, &sums::shm),
     "Size of /dev/shm for a task that does not set resources.shm.",
     {.least = byte_size{1}, .unset = "the engine's (64m)"}},
    {"policy.defaults.timeout",
     at(&agent::policy, &rules::default_timeout),
     "How long a task may run if it does not set timeout.",
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
    {"policy.ceilings.stop-timeout",
     at(&agent::policy, &rules::quantities, &counts::stop_timeout),
     "The longest stop_timeout of a task: how long it may hold on after a cancel or its timeout.",
     {.least = duration{0}}},
    {"policy.ceilings.queue-timeout",
     at(&agent::policy, &rules::quantities, &counts::queue_timeout),
     "The longest queue_timeout that a task may name.",
     {.least = 1s}},
    {"policy.ceilings.pull-timeout",
     at(&agent::policy, &rules::quantities, &counts::pull_timeout),
     "The longest pull_timeout that a task may name.",
     {.least = 1s}},
    {"policy.ceilings.priority",
     at(&agent::policy, &rules::quantities, &counts::priority),
     "The highest priority of a task. Priority goes before the owners' turns; 0: no task goes before others.",
     {.least = 0, .most = std::numeric_limits<std::int32_t>::max()}},
    {"policy.ceilings.attempts",
     at(&agent::policy, &rules::quantities, &counts::attempts),
     "The highest retry.attempts of a task.",
     {.least = 3, .most = 100}}, // a task that names none has three, and its backoff is at most a minute
    {"policy.ceilings.backoff",
     at(&agent::policy, &rules::quantities, &counts::backoff),
     "The longest wait of retry.backoff.",
     {.least = 1min}},
    {"policy.ceilings.mounts", at(&agent::policy, &rules::quantities, &counts::mounts),
     "How many mounts a task may have."},
    {"policy.ceilings.mounts-size", at(&agent::policy, &rules::quantities, &counts::mounts_size),
     "How many bytes a task's mounts may have: sources and targets together."},
    {"policy.ceilings.env", at(&agent::policy, &rules::quantities, &counts::env),
     "How many environment variables a task may have, secrets included."},
    {"policy.ceilings.env-size", at(&agent::policy, &rules::quantities, &counts::env_size),
     "How many bytes they may have: names and values together."},
    {"policy.ceilings.labels", at(&agent::policy, &rules::quantities, &counts::labels),
     "How many labels a task may have."},
    {"policy.ceilings.labels-size", at(&agent::policy, &rules::quantities, &counts::labels_size),
     "How many bytes they may have: names and values together."},
    {"policy.ceilings.hosts", at(&agent::policy, &rules::quantities, &counts::hosts),
     "How many extra_hosts and dns addresses a task may have."},
    {"policy.ceilings.hosts-size", at(&agent::policy, &rules::quantities, &counts::hosts_size),
     "How many bytes they may have together."},
    {"policy.ceilings.entries", at(&agent::policy, &rules::quantities, &counts::entries),
     "How many entries each other list of a spec may have, such as devices or ulimits."},

    {"fleet.name", at(&agent::fleet), "Marks this fleet's containers (label davit.fleet).", {.format = &plain_name}},
    {"fleet.listen",
     at(&agent::peers, &peers::listen),
     "host:port where other agents reach this one; needs the three fleet.tls- options. Without it, news arrives only "
     "through the store, and live logs of other agents can't be read.",
     {.format = &host_and_port, .unset = "none"}},
    {"fleet.advertise",
     at(&agent::peers, &peers::advertise),
     "host:port that this agent gives to other agents, if it differs from listen. If listen is all addresses: the "
     "host's name.",
     {.format = &host_and_port, .unset = "listen"}},
    {"fleet.peers",
     at(&agent::peers, &peers::peers),
     "host:port of more agents, in addition to those in the store. If a name has several addresses (a headless "
     "service), davit expects an agent at each.",
     {.format = &host_and_port}},
    {"fleet.tls-ca",
     at(&agent::peers, &peers::tls_ca),
     "PEM file: the authority that signs all agents' certificates. Use an authority only for this fleet: agents trust "
     "every certificate that it has signed.",
     {.unset = "none", .is_file = true}},
    {"fleet.tls-certificate",
     at(&agent::peers, &peers::tls_certificate),
     "PEM file: this agent's certificate.",
     {.unset = "none", .is_file = true}},
    {"fleet.tls-key",
     at(&agent::peers, &peers::tls_key),
     "PEM file: the certificate's key.",
     {.unset = "none", .is_file = true}},
    // An agent sends a heartbeat every sixth of its lease.
    {"fleet.lease",
     at(&agent::lease),
     "With a shared store: how long after an agent's last heartbeat other agents take over its tasks. An agent that "
     "can't reach the store gives up its tasks after two thirds of this time.",
     {.least = 3s}},

    {"placement.strategy", at(&agent::placement, &placement_rules::strategy),
     "How davit chooses an engine for a task: \"spread\" tasks over all engines, or \"pack\" the fullest engine "
     "first."},
    {"placement.image-patience", at(&agent::placement, &placement_rules::image_patience),
     "How long a task waits for an engine that already has its image, while other engines are free; 0s: not at all."},
    {"placement.max-per-owner",
     at(&agent::placement, &placement_rules::most_per_owner),
     "How many tasks of one owner may run at once in the whole fleet.",
     {.least = 1, .most = any_many, .unset = "any number"}},
    {"placement.max-per-label", at(&agent::placement, &placement_rules::label_limits),
     "How many tasks with a label may run at once in the whole fleet: \"team=red: 8\", for all owners together; or "
     "\"deploy: 1\", for each value of the label deploy and each owner separately (a concurrency group)."},

    {"logs.max-bytes", at(&agent::logs, &log_settings::max_bytes),
     "How much of an attempt's output davit keeps; \"0\": all."},
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
    {"slots", at(&engine::slots), "How many tasks may run on this engine at once.", {.least = 1, .most = any_many}},
    {"labels", at(&engine::labels), "Labels that tasks can ask for (engine.labels).", {.format = &engine_label}},
    {"profile",
     at(&engine::profile),
     "What tasks may ask of this engine: \"restricted\", \"baseline\" or \"privileged\".",
     {.unset = "the policy's"}},
    {"tls-ca",
     at(&engine::tls_ca),
     "PEM file: the authority that signs the engine's certificate. Any tls- option turns TLS on.",
     {.unset = "none", .is_file = true}},
    {"tls-certificate",
     at(&engine::tls_certificate),
     "PEM file: the certificate that davit shows to the engine.",
     {.unset = "none", .is_file = true}},
    {"tls-key", at(&engine::tls_key), "PEM file: the certificate's key.", {.unset = "none", .is_file = true}},
    {"tls-verify", at(&engine::tls_verify), "false: do not check the engine's certificate and name."},
    {"grace", at(&engine::grace), "How long tasks wait for this engine when it can't be reached."},
    {"image-gc-below", at(&engine::image_gc_below),
     "Below this much free disk, davit removes images that it pulled itself and has not used for image-gc-age, the "
     "longest unused first; \"0\": never."},
    {"image-gc-age", at(&engine::image_gc_age),
     "How long an image must be unused before davit removes it; davit waits at least 10min and twice the grace."},
    {"volume-gc-age", at(&engine::volume_gc_age),
     "How long a named volume of an owner must be unused before davit removes it with its data; 0s: never. Only where "
     "all agents with this fleet.name that use the engine share one store."},
    {"sandboxes",
     at(&engine::sandboxes),
     "How many idle containers davit keeps ready for tasks like the recent ones, and how many networks. Each serves "
     "one task. 0: none.",
     {.least = 0, .most = 1000}},
    {"sandbox-idle", at(&engine::sandbox_idle), "How long they wait after the last such task."},
    {"images-ahead",
     at(&engine::images_ahead),
     "While all slots are taken, davit pulls the images of this many of the next tasks; 0: none.",
     {.least = 0, .most = 1000}},
    {"prepared-trees", at(&engine::prepared_trees),
     "How many bytes of trees davit may keep there ready for tasks: a large input or cache that was unpacked twice on "
     "the engine is not unpacked a third time (docs/files.md says how). The longest unused go first; \"0\": none."},
    {"containers-folder",
     at(&engine::log_files),
     "The folder of the engine's containers (in its data root), if this agent can read it. davit then follows logs in "
     "this folder, as fast as they are written, instead of asking the engine.",
     {.format = &absolute_path, .unset = "none", .formerly = "log-files"}},
    {"min-free-disk", at(&engine::min_free_disk),
     "Below this much free space in the engine's data root, davit places nothing there (works only for engines on "
     "this host)."},
  };
  return all;
}

const std::vector<option<profile_settings>>& profile_options() {
  using profile = profile_settings;
  using most = named_ceilings;
  auto ceiling = [](auto member) { return at(&profile::ceilings, member); };
  static const std::string unset = "as policy.ceilings says";
  static const std::vector<option<profile_settings>> all{
    {"cpus", ceiling(&most::cpus), "As policy.ceilings.cpus.", {.least = 0.01, .most = 10'000.0, .unset = unset}},
    {"memory", ceiling(&most::memory), "As policy.ceilings.memory.", {.least = 6_m, .unset = unset}},
    {"pids", ceiling(&most::pids), "As policy.ceilings.pids.", {.least = 1, .unset = unset}},
    {"shm", ceiling(&most::shm), "As policy.ceilings.shm.", {.least = byte_size{1}, .unset = unset}},
    {"timeout", ceiling(&most::timeout), "As policy.ceilings.timeout.", {.least = 1s, .unset = unset}},
    {"stop-timeout",
     ceiling(&most::stop_timeout),
     "As policy.ceilings.stop-timeout.",
     {.least = duration{0}, .unset = unset}},
    {"queue-timeout",
     ceiling(&most::queue_timeout),
     "As policy.ceilings.queue-timeout.",
     {.least = 1s, .unset = unset}},
    {"pull-timeout", ceiling(&most::pull_timeout), "As policy.ceilings.pull-timeout.", {.least = 1s, .unset = unset}},
    {"priority",
     ceiling(&most::priority),
     "As policy.ceilings.priority.",
     {.least = 0, .most = std::numeric_limits<std::int32_t>::max(), .unset = unset}},
    {"attempts", ceiling(&most::attempts), "As policy.ceilings.attempts.", {.least = 3, .most = 100, .unset = unset}},
    {"backoff", ceiling(&most::backoff), "As policy.ceilings.backoff.", {.least = 1min, .unset = unset}},
    {"mounts", ceiling(&most::mounts), "As policy.ceilings.mounts.", {.unset = unset}},
    {"mounts-size", ceiling(&most::mounts_size), "As policy.ceilings.mounts-size.", {.unset = unset}},
    {"env", ceiling(&most::env), "As policy.ceilings.env.", {.unset = unset}},
    {"env-size", ceiling(&most::env_size), "As policy.ceilings.env-size.", {.unset = unset}},
    {"labels", ceiling(&most::labels), "As policy.ceilings.labels.", {.unset = unset}},
    {"labels-size", ceiling(&most::labels_size), "As policy.ceilings.labels-size.", {.unset = unset}},
    {"hosts", ceiling(&most::hosts), "As policy.ceilings.hosts.", {.unset = unset}},
    {"hosts-size", ceiling(&most::hosts_size), "As policy.ceilings.hosts-size.", {.unset = unset}},
    {"entries", ceiling(&most::entries), "As policy.ceilings.entries.", {.unset = unset}},
    {"volumes-allow",
     at(&profile::volumes_allow),
     "As policy.volumes.allow.",
     {.unset = "as policy.volumes.allow says"}},
  };
  return all;
}

const std::vector<option<issuer_settings>>& issuer_options() {
  using issuer = issuer_settings;
  static const std::vector<option<issuer_settings>> all{
    {"issuer",
     at(&issuer::issuer),
     "What the claim iss of its tokens must be: \"https://gitlab.example.com\".",
     {.format = &any_text, .unset = "must be set"}},
    {"audience",
     at(&issuer::audience),
     "What the claim aud must be, or contain. Choose a name for this fleet, and have the tokens made for it.",
     {.format = &any_text, .unset = "must be set"}},
    {"jwks-file",
     at(&issuer::jwks_file),
     "File with the issuer's public keys (a JSON Web Key Set). The agent reads it again when it changes. Set this or "
     "jwks-url.",
     {.unset = "none", .is_file = true}},
    {"jwks-url",
     at(&issuer::jwks_url),
     "Where the agent fetches them: https, or http from loopback.",
     {.format = &keys_url, .unset = "none"}},
    {"tls-ca",
     at(&issuer::tls_ca),
     "PEM file: the authority that signs the certificate of jwks-url.",
     {.unset = "the system's", .is_file = true}},
    {"owner",
     at(&issuer::owner),
     "Template: whose tasks a token's tasks are. {CLAIM} is replaced by the claim's value; a claim inside of another "
     "is named by its path, such as {kubernetes.io/namespace}. The owner is NAME/ and this text.",
     {.format = &any_text}},
    {"scopes", at(&issuer::scopes), "What its tokens allow; see api.local-scopes."},
    {"profile",
     at(&issuer::profile),
     "The widest policy profile for its tasks: \"restricted\", \"baseline\" or \"privileged\".",
     {.unset = "the policy's"}},
    {"ceilings",
     at(&issuer::ceilings),
     "Ceilings of its tasks, such as [\"memory=4g\", \"timeout=1h\"], by the names of policy.ceilings, where they are "
     "lower.",
     {.format = &ceiling_text}},
    {"cache-scope",
     at(&issuer::cache_scope),
     "Its tasks keep caches in this scope or below it, and read those that are trusted more (docs/files.md).",
     {.format = &cache_scope_text, .unset = "anywhere"}},
    {"require",
     at(&issuer::require),
     "Rules claim=pattern, such as \"project_path=group/.*\". Each must hold: a value of the claim must match the RE2 "
     "pattern as a whole.",
     {.unset = "must be set"}},
  };
  return all;
}

const std::vector<option<sink_settings>>& sink_options() {
  using sink = sink_settings;
  static const std::vector<option<sink_settings>> all{
    {"type", at(&sink::type), "\"file\", \"stdout\", \"cloudwatch\", \"loki\" or \"otlp\"."},
    {"path", at(&sink::path), "file: where to write; a JSON object on each line.", {.unset = "none", .is_file = true}},
    {"max-size", at(&sink::max_size), "file: the size at which it is rotated.", {.least = byte_size{1024}}},
    {"max-files", at(&sink::max_files), "file: how many rotated files are kept.", {.least = 1, .most = any_many}},
    {"url",
     at(&sink::url),
     "loki, otlp: http(s)://host:port, with a path if it is not the default.",
     {.format = &service_url, .unset = "AWS's own for cloudwatch"}},
    {"region", at(&sink::region), "cloudwatch: the AWS region.", {.unset = "AWS_REGION"}},
    {"group",
     at(&sink::group),
     "Template: CloudWatch's log group, Loki's label job, OTLP's service.name. {fleet} {agent} {engine} {task} "
     "{attempt} {name} {owner} {image} {label:NAME} are replaced by the attempt's values.",
     {.format = &name_template}},
    {"stream", at(&sink::stream), "Template: CloudWatch's log stream.", {.format = &name_template}},
    {"token-file", at(&sink::token_file), "loki, otlp: file with a bearer token.", {.unset = "none", .is_file = true}},
    {"tenant", at(&sink::tenant), "loki: X-Scope-OrgID.", {.unset = "none"}},
    {"tls-ca",
     at(&sink::tls_ca),
     "PEM file: the authority that signs the service's certificate.",
     {.unset = "the system's", .is_file = true}},
    {"max-backlog",
     at(&sink::max_backlog),
     "How many bytes of logs may wait for a service that does not take them. davit drops and counts the rest.",
     {.least = byte_size{1024}}},
  };
  return all;
}

} // namespace davit
