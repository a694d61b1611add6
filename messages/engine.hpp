// The conversation with Docker engines, in davit's words.
#pragma once

#include "messages/task.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace davit {

// -- errors ----------------------------------------------------------------------------------------------------------

/// What can go wrong between davit and an engine. The text next to it comes from the engine or the system.
enum class engine_errc : std::uint8_t {
  none,
  unreachable, ///< No connection: refused, no such socket, name not found.
  permission,  ///< The socket is there and this user may not use it.
  tls,         ///< The TLS handshake failed, or a certificate or key can't be read.
  lost,        ///< The connection ended before the answer did.
  timed_out,   ///< No answer within the deadline.
  cancelled,   ///< The caller withdrew the call.
  protocol,    ///< The answer is not what HTTP or the engine's API allow.
  not_found,   ///< 404
  conflict,    ///< 409
  refused,     ///< Another 4xx: the engine understood and won't.
  failed,      ///< 5xx
  version,     ///< The engine's API versions and davit's do not overlap.
};
DAVIT_ENUM_TEXT(engine_errc, 13, "none", "unreachable", "permission", "tls", "lost", "timed_out", "cancelled",
                "protocol", "not_found", "conflict", "refused", "failed", "version")

/// True if the error is about reaching the engine and says nothing about what was asked.
constexpr bool is_connection_trouble(engine_errc code) {
  switch (code) {
    case engine_errc::unreachable:
    case engine_errc::permission:
    case engine_errc::tls:
    case engine_errc::lost:
    case engine_errc::timed_out:
    case engine_errc::version:
      return true;
    default:
      return false;
  }
}

// -- engine ----------------------------------------------------------------------------------------------------------

enum class engine_state : std::uint8_t {
  connecting, ///< Never reached yet.
  ready,      ///< Answers.
  degraded,   ///< Missed a ping; nothing new is sent there.
  down,       ///< Missed several, or refuses connections.
};
DAVIT_ENUM_TEXT(engine_state, 4, "connecting", "ready", "degraded", "down")

/// An engine as an agent's configuration describes it.
struct engine_settings {
  std::string name;
  std::string endpoint;
  std::uint32_t slots = 4;
  std::vector<std::string> labels;
  std::string tls_ca;
  std::string tls_certificate;
  std::string tls_key;
  bool tls_verify = true;
  duration grace{60'000}; ///< How long its tasks wait for an engine that is down.
  byte_size image_gc_below{
    0}; ///< Below this much free disk, davit removes images that it pulled and has not used for image_gc_age.
  duration image_gc_age{3'600'000};
  duration volume_gc_age{0}; ///< How long a named volume must be unused before davit removes it; 0: never.
  byte_size min_free_disk{
    256ull << 20}; ///< Below this, nothing is placed there; works only for engines on the agent's host.
  std::optional<policy_profile> profile; ///< What tasks may ask of this engine; not set: what the policy says.
  std::uint32_t sandboxes = 2;           ///< How many containers may wait for tasks there; 0: none.
  duration sandbox_idle{300'000};        ///< How long after the last task of their kind they still wait.
  std::uint32_t images_ahead
    = 4; ///< While all slots are taken, the engine pulls images for this many of the next tasks; 0: none.
  byte_size prepared_trees{4ull << 30}; ///< How much the trees that it has ready may take; 0: there are none.
  std::string log_files; ///< The folder of the engine's containers, if this agent can read it: logs are followed there.
                         ///< Empty: the engine is asked for them.
};

template <class Inspector>
bool inspect(Inspector& f, engine_settings& x) {
  return f.object(x).fields(
    f.field("name", x.name), f.field("endpoint", x.endpoint), f.field("slots", x.slots), f.field("labels", x.labels),
    f.field("tls_ca", x.tls_ca), f.field("tls_certificate", x.tls_certificate), f.field("tls_key", x.tls_key),
    f.field("tls_verify", x.tls_verify), f.field("grace", x.grace), f.field("min_free_disk", x.min_free_disk),
    f.field("image_gc_below", x.image_gc_below), f.field("image_gc_age", x.image_gc_age),
    f.field("volume_gc_age", x.volume_gc_age), f.field("profile", x.profile), f.field("sandboxes", x.sandboxes),
    f.field("sandbox_idle", x.sandbox_idle), f.field("images_ahead", x.images_ahead),
    f.field("prepared_trees", x.prepared_trees), f.field("log_files", x.log_files));
}

/// What an engine reports about itself.
struct engine_info {
  std::string id;          ///< davit's own id, from a volume on the engine. Without volumes: as reported.
  std::string reported_id; ///< The engine's own id. Cloned machines share it, and Podman makes a new one each time.
  std::string name;
  std::string version;
  std::string api_version; ///< The version that davit and the engine agreed on.
  std::string api_range;   ///< What the engine offers, `1.24-1.41`.
  std::string operating_system;
  std::string architecture;
  std::string cgroup_version;
  std::string storage_driver;
  std::string data_root;
  std::string default_log_driver;
  std::vector<std::string> log_drivers;
  bool live_restore = false;
  bool memory_limit = false;
  bool pids_limit = false;
  std::int32_t cpus = 0;
  std::uint64_t memory = 0;
  std::optional<timestamp> system_time;
  std::vector<std::string> warnings;
};

template <class Inspector>
bool inspect(Inspector& f, engine_info& x) {
  return f.object(x).fields(f.field("id", x.id), f.field("reported_id", x.reported_id), f.field("name", x.name),
                            f.field("version", x.version), f.field("api_version", x.api_version),
                            f.field("api_range", x.api_range), f.field("operating_system", x.operating_system),
                            f.field("architecture", x.architecture), f.field("cgroup_version", x.cgroup_version),
                            f.field("storage_driver", x.storage_driver), f.field("data_root", x.data_root),
                            f.field("default_log_driver", x.default_log_driver), f.field("log_drivers", x.log_drivers),
                            f.field("live_restore", x.live_restore), f.field("memory_limit", x.memory_limit),
                            f.field("pids_limit", x.pids_limit), f.field("cpus", x.cpus), f.field("memory", x.memory),
                            f.field("system_time", x.system_time), f.field("warnings", x.warnings));
}

/// An engine's state, as its connection sees it.
struct engine_status {
  std::string name;
  engine_state state = engine_state::connecting;
  std::string message; ///< Why it is not ready.
  timestamp since;     ///< When it entered this state.
  std::vector<std::string> labels;
  std::uint32_t slots = 0;
  std::uint32_t busy = 0; ///< Filled in by the scheduler.
  std::string blocked;    ///< Filled in by the scheduler: why nothing is placed there, even if it is ready.
  /// Changes whenever the engine may have restarted: its event stream ended, or it refused a connection. If it turns
  /// out to be the same process, it gets its old epoch back.
  std::uint64_t epoch = 0;
  /// By the engine's clock: it has been one process at least since then. None while this is unknown.
  std::optional<timestamp> same_since;
  duration grace{0};
  policy_profile profile = policy_profile::baseline; ///< What tasks may ask of it.
  std::optional<std::uint64_t> disk_free; ///< Bytes where the engine keeps its data, if the agent can see that place.
  engine_info info;
};

template <class Inspector>
bool inspect(Inspector& f, engine_status& x) {
  return f.object(x).fields(f.field("name", x.name), f.field("state", x.state), f.field("message", x.message),
                            f.field("since", x.since), f.field("labels", x.labels), f.field("slots", x.slots),
                            f.field("busy", x.busy), f.field("blocked", x.blocked), f.field("epoch", x.epoch),
                            f.field("same_since", x.same_since), f.field("grace", x.grace),
                            f.field("profile", x.profile), f.field("disk_free", x.disk_free), f.field("info", x.info));
}

// -- images ----------------------------------------------------------------------------------------------------------

struct image_info {
  std::string id;
  std::vector<std::string> digests;
  std::uint64_t size = 0;
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;
  std::string user;
};

template <class Inspector>
bool inspect(Inspector& f, image_info& x) {
  return f.object(x).fields(f.field("id", x.id), f.field("digests", x.digests), f.field("size", x.size),
                            f.field("entrypoint", x.entrypoint), f.field("command", x.command),
                            f.field("user", x.user));
}

/// An image on an engine, and whose tasks want it.
struct image_grant {
  std::string engine_id;
  std::string image;    ///< Its exact name.
  std::string image_id; ///< What the name stands for there; empty: not known, or nothing.
  std::string owner;    ///< Of the task.
  bool own = false;     ///< A pull with the task's own credentials; else it proves that every owner may use the image.
  std::string attempt;  ///< That pulls it.
};

template <class Inspector>
bool inspect(Inspector& f, image_grant& x) {
  return f.object(x).fields(f.field("engine_id", x.engine_id), f.field("image", x.image),
                            f.field("image_id", x.image_id), f.field("owner", x.owner), f.field("own", x.own),
                            f.field("attempt", x.attempt));
}

/// How far a pull has come: `begun` before the engine is asked, with the id that the name stands for until then.
enum class pull_stage : std::uint8_t { begun, done, failed };
DAVIT_ENUM_TEXT(pull_stage, 3, "begun", "done", "failed")

/// The progress of a pull.
struct pull_progress {
  std::string image;
  std::uint32_t layers = 0;
  std::uint32_t layers_done = 0;
  std::uint64_t bytes = 0;
  std::uint64_t bytes_total = 0;
  std::string status; ///< The engine's last line.
};

template <class Inspector>
bool inspect(Inspector& f, pull_progress& x) {
  return f.object(x).fields(f.field("image", x.image), f.field("layers", x.layers),
                            f.field("layers_done", x.layers_done), f.field("bytes", x.bytes),
                            f.field("bytes_total", x.bytes_total), f.field("status", x.status));
}

// -- containers ------------------------------------------------------------------------------------------------------

/// A container to create. Mapped one to one to the body of `POST /containers/create`.
struct container_plan {
  std::string name;
  std::string image;
  std::vector<std::string> command;
  std::optional<std::vector<std::string>> entrypoint;
  std::map<std::string, std::string> env;
  std::map<std::string, secret> secrets; ///< Variables too, in clear.
  std::map<std::string, std::string> labels;
  std::string workdir;
  std::string user;
  bool tty = false;
  bool open_stdin = false;
  std::string network;
  std::vector<mount> mounts;
  resource_limits resources;
  duration stop_timeout{10'000};
  bool no_new_privileges = true;
  bool privileged = false;
  bool read_only = false; ///< The root file system.
  std::vector<std::string> cap_add;
  std::vector<std::string> cap_drop;
  std::vector<std::string> devices;               ///< As `docker run --device`.
  std::string pid, ipc, uts, userns_mode, cgroup; ///< Namespaces; empty: the container's own.
  std::string cgroup_parent;
  std::vector<std::string> security_opt; ///< Beside no-new-privileges.
  std::map<std::string, std::string> sysctls;
  std::map<std::string, std::string> ulimits; ///< `soft[:hard]`.
  std::string runtime;
  std::vector<std::string> group_add;
  std::vector<std::string> extra_hosts;
  std::vector<std::string> dns;
  std::string hostname;
  bool bare_network
    = false; ///< Only loopback, made by the runtime instead of the engine: for the network `none`, and much faster.
  /// The labels of the volumes with these names, for the engine that has to make them; others get the container's.
  std::map<std::string, std::map<std::string, std::string>> volume_labels;
  std::vector<std::string> empty_volumes; ///< Targets of volumes that begin without what the image has there.
  bool no_healthcheck = false;            ///< Do not run the image's health check.
  std::string log_driver;                 ///< Empty: the engine's own choice.
  std::map<std::string, std::string> log_options;
};

template <class Inspector>
bool inspect(Inspector& f, container_plan& x) {
  return f.object(x).fields(
    f.field("name", x.name), f.field("image", x.image), f.field("command", x.command),
    f.field("entrypoint", x.entrypoint), f.field("env", x.env), f.field("secrets", x.secrets),
    f.field("labels", x.labels), f.field("workdir", x.workdir), f.field("user", x.user), f.field("tty", x.tty),
    f.field("open_stdin", x.open_stdin), f.field("network", x.network), f.field("mounts", x.mounts),
    f.field("resources", x.resources), f.field("stop_timeout", x.stop_timeout),
    f.field("no_new_privileges", x.no_new_privileges), f.field("privileged", x.privileged),
    f.field("read_only", x.read_only), f.field("cap_add", x.cap_add), f.field("cap_drop", x.cap_drop),
    f.field("devices", x.devices), f.field("pid", x.pid), f.field("ipc", x.ipc), f.field("uts", x.uts),
    f.field("userns_mode", x.userns_mode), f.field("cgroup", x.cgroup), f.field("cgroup_parent", x.cgroup_parent),
    f.field("security_opt", x.security_opt), f.field("sysctls", x.sysctls), f.field("ulimits", x.ulimits),
    f.field("runtime", x.runtime), f.field("group_add", x.group_add), f.field("extra_hosts", x.extra_hosts),
    f.field("dns", x.dns), f.field("hostname", x.hostname), f.field("bare_network", x.bare_network),
    f.field("volume_labels", x.volume_labels), f.field("empty_volumes", x.empty_volumes),
    f.field("no_healthcheck", x.no_healthcheck), f.field("log_driver", x.log_driver),
    f.field("log_options", x.log_options));
}

/// A container as inspect reports it.
struct container_status {
  std::string id;
  std::string name;
  std::string image_id;
  std::map<std::string, std::string> labels;
  std::string state;          ///< created, running, paused, restarting, removing, exited, dead
  std::int64_t exit_code = 0; ///< Valid only in the states exited and dead.
  bool oom_killed = false;
  std::string error;
  std::optional<timestamp> started_at;
  std::optional<timestamp> finished_at;
  bool tty = false;
  std::string joined;                         ///< The id of the container whose network it has joined; empty: none.
  std::string user;                           ///< Whom its command runs as; empty: root.
  bool read_only = false;                     ///< Its root file system.
  std::map<std::string, std::string> volumes; ///< The names of the volumes, by where each is mounted.
  std::string raw_state;                      ///< The `State` object as the engine wrote it.

  bool ended() const { return state == "exited" || state == "dead"; }
};

template <class Inspector>
bool inspect(Inspector& f, container_status& x) {
  return f.object(x).fields(
    f.field("id", x.id), f.field("name", x.name), f.field("image_id", x.image_id), f.field("labels", x.labels),
    f.field("state", x.state), f.field("exit_code", x.exit_code), f.field("oom_killed", x.oom_killed),
    f.field("error", x.error), f.field("started_at", x.started_at), f.field("finished_at", x.finished_at),
    f.field("tty", x.tty), f.field("joined", x.joined), f.field("user", x.user), f.field("read_only", x.read_only),
    f.field("volumes", x.volumes), f.field("raw_state", x.raw_state));
}

/// A sandbox that was given to an attempt: its container, which now has the attempt's name; or none, and why.
struct sandbox {
  std::string container; ///< Empty: there is none.
  std::string why;       ///< Why there is none, or why it had to be made.
  std::string image_id;
  std::string nonce;                  ///< Marks what its init has to say.
  bool says_begun = true;             ///< The init says when the task begins. (Those of an older davit do not.)
  std::vector<std::string> arguments; ///< The task's command, with what the image has to add.
  std::string network; ///< Instead of a sandbox: the container whose network to join; empty: none either.
};

template <class Inspector>
bool inspect(Inspector& f, sandbox& x) {
  return f.object(x).fields(f.field("container", x.container), f.field("why", x.why), f.field("image_id", x.image_id),
                            f.field("nonce", x.nonce), f.field("says_begun", x.says_begun),
                            f.field("arguments", x.arguments), f.field("network", x.network));
}

/// A line of `GET /containers/json`.
struct container_summary {
  std::string id;
  std::string name;
  std::string state;
  std::map<std::string, std::string> labels;
};

template <class Inspector>
bool inspect(Inspector& f, container_summary& x) {
  return f.object(x).fields(f.field("id", x.id), f.field("name", x.name), f.field("state", x.state),
                            f.field("labels", x.labels));
}

/// A line of `GET /volumes`.
struct volume_summary {
  std::string name;
  std::map<std::string, std::string> labels;
  std::string mountpoint; ///< On the engine's host.
  std::string type;       ///< The file system that the engine mounts there for a container; empty: none.
};

template <class Inspector>
bool inspect(Inspector& f, volume_summary& x) {
  return f.object(x).fields(f.field("name", x.name), f.field("labels", x.labels), f.field("mountpoint", x.mountpoint),
                            f.field("type", x.type));
}

/// A volume to create, by the driver `local`.
struct volume_plan {
  std::string name;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> options; ///< Of the driver: `type`, `device`, `o`.
};

template <class Inspector>
bool inspect(Inspector& f, volume_plan& x) {
  return f.object(x).fields(f.field("name", x.name), f.field("labels", x.labels), f.field("options", x.options));
}

/// A named volume of an owner, by the name that tasks give it. On an engine it has another one.
struct volume_key {
  std::string owner;
  std::string name;
  auto operator<=>(const volume_key&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, volume_key& x) {
  return f.object(x).fields(f.field("owner", x.owner), f.field("name", x.name));
}

/// An event from the engine: a hint, never a proof.
struct engine_event {
  std::string type;
  std::string action;
  std::string id;
  std::map<std::string, std::string> attributes;
  timestamp at;
  std::string raw;
};

template <class Inspector>
bool inspect(Inspector& f, engine_event& x) {
  return f.object(x).fields(f.field("type", x.type), f.field("action", x.action), f.field("id", x.id),
                            f.field("attributes", x.attributes), f.field("at", x.at), f.field("raw", x.raw));
}

} // namespace davit
