// What a user asks for, and what became of it.
#pragma once

#include "messages/caches.hpp"
#include "messages/files.hpp"
#include "messages/units.hpp"
#include "messages/uuid.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace davit {

// -- task spec -------------------------------------------------------------------------------------------------------

/// A value that must stay hidden. Its text form is always `***`; code that needs the value must read the member.
struct secret {
  std::string value; ///< In clear as a user gave it, or sealed (secrets/secret_box.hpp).
  bool sealed = false;

  static constexpr std::string_view shown = "***";
  bool operator==(const secret&) const = default;
};

inline std::string to_string(const secret&) {
  return std::string{secret::shown};
}
inline bool from_string(std::string_view text, secret& s) {
  s = {std::string{text}, false};
  return true;
}
inline std::string expected_text(const secret&) {
  return "a text";
}

template <class Inspector>
bool inspect(Inspector& f, secret& x) {
  return inspect_as_text(f, x);
}

enum class pull_policy : std::uint8_t { missing, always, never };
DAVIT_ENUM_TEXT(pull_policy, 3, "missing", "always", "never")

enum class mount_type : std::uint8_t { bind, volume, tmpfs };
DAVIT_ENUM_TEXT(mount_type, 3, "bind", "volume", "tmpfs")

/// How an attempt ended.
enum class outcome : std::uint8_t {
  succeeded,         ///< The container exited with 0.
  failed,            ///< The container exited with another code, or the engine could not start its command.
  oom_killed,        ///< The kernel killed it for its memory limit.
  timed_out,         ///< The task's timeout was over and davit stopped it, or it waited longer than its queue timeout.
  cancelled,         ///< A user cancelled it; davit stopped it.
  rejected,          ///< The policy does not allow it; nothing was started.
  image_unavailable, ///< The image is not there and could not be pulled.
  engine_lost,       ///< The engine failed; how the container ended is not known.
  agent_lost,        ///< The agent failed; how the container ended is not known.
};
DAVIT_ENUM_TEXT(outcome, 9, "succeeded", "failed", "oom_killed", "timed_out", "cancelled", "rejected",
                "image_unavailable", "engine_lost", "agent_lost")

struct resource_limits {
  std::optional<double> cpus;       ///< Processors, as `docker run --cpus`.
  std::optional<byte_size> memory;  ///< Hard limit, without extra swap.
  std::optional<std::int64_t> pids; ///< Processes and threads.
  std::optional<byte_size> shm;     ///< Size of /dev/shm.

  bool operator==(const resource_limits&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, resource_limits& x) {
  return f.object(x).fields(f.field("cpus", x.cpus), f.field("memory", x.memory), f.field("pids", x.pids),
                            f.field("shm", x.shm));
}

struct mount {
  mount_type type = mount_type::volume;
  std::string source; ///< Of a bind: the engine host's path; of a volume: its name, empty for an anonymous one.
  std::string target; ///< Absolute path in the container.
  bool read_only = false;
  std::optional<byte_size> size; ///< Of a tmpfs.

  bool operator==(const mount&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, mount& x) {
  return f.object(x).fields(f.field("type", x.type), f.field("source", x.source), f.field("target", x.target),
                            f.field("read_only", x.read_only), f.field("size", x.size));
}

/// What a task may ask of an engine, with the names of Kubernetes' Pod Security Standards; each allows more than the
/// one before it.
enum class policy_profile : std::uint8_t {
  restricted, ///< No root, no capability, a root file system that can't be written, no network unless it is named.
  baseline,   ///< Nothing that is known to give a container access to its host.
  privileged, ///< Everything but the engine's own socket.
};
DAVIT_ENUM_TEXT(policy_profile, 3, "restricted", "baseline", "privileged")

struct engine_selector {
  std::vector<std::string> labels; ///< The engine must have all of them.

  bool operator==(const engine_selector&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, engine_selector& x) {
  return f.object(x).fields(f.field("labels", x.labels));
}

/// From how long to how long a retry waits: doubled from attempt to attempt, with jitter. In text `1s..1m`.
struct backoff_range {
  duration least{1000};
  duration most{60'000};

  bool operator==(const backoff_range&) const = default;
};

std::string to_string(const backoff_range& range);
bool from_string(std::string_view text, backoff_range& range);
inline std::string expected_text(const backoff_range&) {
  return "a range of durations such as 1s..1m";
}

template <class Inspector>
bool inspect(Inspector& f, backoff_range& x) {
  return inspect_as_text(f, x);
}

struct retry_policy {
  std::int32_t attempts = 3; ///< Maximum number of attempts, including the first.
  std::vector<outcome> on{outcome::engine_lost, outcome::agent_lost};
  backoff_range backoff;

  bool operator==(const retry_policy&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, retry_policy& x) {
  return f.object(x).fields(f.field("attempts", x.attempts), f.field("on", x.on), f.field("backoff", x.backoff));
}

enum class validator_type : std::uint8_t { output_regex };
DAVIT_ENUM_TEXT(validator_type, 1, "outputRegex")

/// Judges a task that exited with 0 by what it printed.
struct output_validator {
  validator_type type = validator_type::output_regex;
  std::string regex; ///< RE2; succeeds if it matches anywhere in the last mebibyte of the output.

  bool operator==(const output_validator&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, output_validator& x) {
  return f.object(x).fields(f.field("type", x.type), f.field("regex", x.regex));
}

/// How a task gets its container.
enum class start_mode : std::uint8_t {
  automatic, ///< In a sandbox, if possible: one that waits already, or one that is made for the task.
  warm,      ///< Only in a sandbox; a task that can't is refused.
  cold,      ///< In a container that is made for the task.
};
DAVIT_ENUM_TEXT(start_mode, 3, "auto", "warm", "cold")

/// One command in one container. The field names are those of the JSON document (docs/task-spec.md).
struct task_spec {
  static constexpr bool json_omits_empty = true;

  std::string image;
  std::vector<std::string> command;
  std::optional<std::vector<std::string>> entrypoint;
  std::map<std::string, std::string> env;
  std::map<std::string, secret> secrets; ///< Variables too, but sealed in the store, masked in the log and never shown.
  std::string workdir;
  std::string user;
  std::optional<std::string> stdin_text; ///< Written to the container's standard input, which is then closed.
  bool tty = false;
  std::optional<bool> init; ///< False: the command is its container's first process; else davit's init is.
  resource_limits resources;
  std::optional<duration> timeout;      ///< From the container's start; then SIGTERM, `stop_timeout`, SIGKILL.
  std::optional<duration> stop_timeout; ///< From SIGTERM to SIGKILL; default 10 s.
  std::optional<duration> pull_timeout; ///< For the image pull, counted from the attempt's start; default: the agent's.
  /// From acceptance (or from the time of a retry) to the claim; then `timed_out`.
  std::optional<duration> queue_timeout;
  std::optional<std::string> network; ///< `none`, `bridge`, `host`; default: the policy's.
  std::vector<mount> mounts;
  std::vector<task_input> inputs;
  std::map<std::string, task_output> outputs; ///< By name.
  std::vector<task_cache> caches;
  std::string cache_scope; ///< Where its caches are kept, and read from first; empty: the owner's trusted one.
  bool memo = false;       ///< An earlier success of the same is the answer, if there is one.
  std::optional<policy_profile> profile; ///< A stricter profile than the agent's.
  // What the profiles judge; names and values as the Compose specification has them.
  bool privileged = false;
  std::optional<bool> read_only; ///< The root file system.
  std::vector<std::string> cap_add;
  std::vector<std::string> cap_drop;
  std::vector<std::string> devices; ///< `/dev/host[:/dev/container[:rwm]]`.
  std::string pid, ipc, uts, userns_mode,
    cgroup; ///< Namespaces: empty for the container's own, or `host`, `private`...
  std::string cgroup_parent;
  std::vector<std::string> security_opt;
  std::map<std::string, std::string> sysctls;
  std::map<std::string, std::string> ulimits; ///< `soft[:hard]`, -1 for unlimited.
  std::string runtime;
  std::vector<std::string> group_add;
  std::vector<std::string> extra_hosts; ///< `name:address`.
  std::vector<std::string> dns;
  std::string hostname;
  pull_policy pull = pull_policy::missing;
  start_mode start = start_mode::automatic;
  std::map<std::string, std::string> labels;
  engine_selector engine;
  std::int32_t priority = 0; ///< Higher runs first.
  retry_policy retry;
  bool at_most_once = false; ///< Retried only if it is proven that no container of it ever started.
  std::optional<output_validator> validator;
  std::string name;
  std::string dedupe_key;
  std::string traceparent; ///< W3C Trace Context of the submitter; the container gets it as TRACEPARENT.

  bool operator==(const task_spec&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, task_spec& x) {
  return f.object(x).fields(
    f.field("image", x.image), f.field("command", x.command), f.field("entrypoint", x.entrypoint),
    f.field("env", x.env), f.field("secrets", x.secrets), f.field("workdir", x.workdir), f.field("user", x.user),
    f.field("stdin", x.stdin_text), f.field("tty", x.tty), f.field("init", x.init), f.field("resources", x.resources),
    f.field("timeout", x.timeout), f.field("stop_timeout", x.stop_timeout), f.field("pull_timeout", x.pull_timeout),
    f.field("queue_timeout", x.queue_timeout), f.field("network", x.network), f.field("mounts", x.mounts),
    f.field("inputs", x.inputs), f.field("outputs", x.outputs), f.field("caches", x.caches),
    f.field("cache_scope", x.cache_scope), f.field("memo", x.memo), f.field("profile", x.profile),
    f.field("privileged", x.privileged), f.field("read_only", x.read_only), f.field("cap_add", x.cap_add),
    f.field("cap_drop", x.cap_drop), f.field("devices", x.devices), f.field("pid", x.pid), f.field("ipc", x.ipc),
    f.field("uts", x.uts), f.field("userns_mode", x.userns_mode), f.field("cgroup", x.cgroup),
    f.field("cgroup_parent", x.cgroup_parent), f.field("security_opt", x.security_opt), f.field("sysctls", x.sysctls),
    f.field("ulimits", x.ulimits), f.field("runtime", x.runtime), f.field("group_add", x.group_add),
    f.field("extra_hosts", x.extra_hosts), f.field("dns", x.dns), f.field("hostname", x.hostname),
    f.field("pull", x.pull), f.field("start", x.start), f.field("labels", x.labels), f.field("engine", x.engine),
    f.field("priority", x.priority), f.field("retry", x.retry), f.field("at_most_once", x.at_most_once),
    f.field("validator", x.validator), f.field("name", x.name), f.field("dedupe_key", x.dedupe_key),
    f.field("traceparent", x.traceparent));
}

// -- task ------------------------------------------------------------------------------------------------------------

enum class task_state : std::uint8_t { queued, starting, running, finished };
DAVIT_ENUM_TEXT(task_state, 4, "queued", "starting", "running", "finished")

/// Seconds that an attempt spent in each phase, without the phases that it did not reach.
using phase_seconds = std::map<std::string, double>;

/// The evidence for an outcome. Unknown values are empty, never guessed.
struct evidence {
  std::string inspect;             ///< The container's `State` as the engine's inspect gave it, JSON.
  std::vector<std::string> events; ///< The engine's events about the container, JSON, oldest first.
  std::vector<std::string> kills;  ///< What davit itself did to end the container, with times.
  std::string note;                ///< What was unclear, and how davit decided.
  std::string start;               ///< `warm`, or `cold: ` and why it was not.
};

template <class Inspector>
bool inspect(Inspector& f, evidence& x) {
  return f.object(x).fields(f.field("inspect", x.inspect), f.field("events", x.events), f.field("kills", x.kills),
                            f.field("note", x.note), f.field("start", x.start));
}

/// One try at a task.
struct attempt {
  std::int32_t number = 0;
  std::string agent;     ///< Name of the agent that made it.
  std::string engine;    ///< Name of the engine in that agent's configuration.
  std::string engine_id; ///< The id that the engine reports in /info.
  std::string container; ///< The container's id; empty while there is none.
  std::string image_id;  ///< What the image name stood for when the container was made.
  std::optional<timestamp> created_at;
  std::optional<timestamp> started_at;
  std::optional<timestamp> finished_at;
  phase_seconds phases;
  std::optional<davit::outcome> outcome;
  std::optional<std::int64_t> exit_code;
  std::string message;
  davit::evidence evidence;
  std::vector<collected_output> outputs;
  std::vector<used_cache> caches;
  /// The attempt whose success is this one's answer, as `TASK/NUMBER`; it ran no container of its own. Empty: none.
  std::string answer_of;
};

template <class Inspector>
bool inspect(Inspector& f, attempt& x) {
  return f.object(x).fields(
    f.field("number", x.number), f.field("agent", x.agent), f.field("engine", x.engine),
    f.field("engine_id", x.engine_id), f.field("container", x.container), f.field("image_id", x.image_id),
    f.field("created_at", x.created_at), f.field("started_at", x.started_at), f.field("finished_at", x.finished_at),
    f.field("phases", x.phases), f.field("outcome", x.outcome), f.field("exit_code", x.exit_code),
    f.field("message", x.message), f.field("evidence", x.evidence), f.field("outputs", x.outputs),
    f.field("caches", x.caches), f.field("answer_of", x.answer_of));
}

struct task {
  task_id id;
  std::string name;
  task_state state = task_state::queued;
  std::optional<davit::outcome> outcome;
  std::optional<std::int64_t> exit_code;
  std::string message;
  std::string owner; ///< Who submitted it: the token's name, or where the call came from.
  bool cancel_requested = false;
  timestamp created_at;
  std::optional<timestamp> not_before; ///< A retry waits until then.
  std::optional<timestamp> finished_at;
  task_spec spec;
  std::vector<attempt> attempts;
};

template <class Inspector>
bool inspect(Inspector& f, task& x) {
  return f.object(x).fields(f.field("id", x.id), f.field("name", x.name), f.field("state", x.state),
                            f.field("outcome", x.outcome), f.field("exit_code", x.exit_code),
                            f.field("message", x.message), f.field("owner", x.owner),
                            f.field("cancel_requested", x.cancel_requested), f.field("created_at", x.created_at),
                            f.field("not_before", x.not_before), f.field("finished_at", x.finished_at),
                            f.field("spec", x.spec), f.field("attempts", x.attempts));
}

/// A task that a store has accepted. `created` is false if its dedupe key named an existing task.
struct task_receipt {
  task_id id;
  bool created = true;
};

template <class Inspector>
bool inspect(Inspector& f, task_receipt& x) {
  return f.object(x).fields(f.field("id", x.id), f.field("created", x.created));
}

/// Something that happened to a task. `sequence` grows by commit order within a store.
struct task_event {
  std::int64_t sequence = 0;
  task_id task;
  std::int32_t attempt = 0;
  timestamp at;
  std::string kind; ///< accepted, claimed, started, retrying, cancel_requested, finished
  task_state state = task_state::queued;
  std::optional<davit::outcome> outcome;
  std::string message;
};

template <class Inspector>
bool inspect(Inspector& f, task_event& x) {
  return f.object(x).fields(f.field("sequence", x.sequence), f.field("task", x.task), f.field("attempt", x.attempt),
                            f.field("at", x.at), f.field("kind", x.kind), f.field("state", x.state),
                            f.field("outcome", x.outcome), f.field("message", x.message));
}

/// Which tasks a list asks for: all conditions hold at once, newest first.
struct task_query {
  std::optional<task_state> state;
  std::map<std::string, std::string> labels; ///< An empty value: the label is there, whatever it says.
  std::string name;
  std::optional<task_id> before; ///< Cursor: only older ones.
  std::uint32_t limit = 100;
  std::string owner{}; ///< Empty: of all owners.
};

template <class Inspector>
bool inspect(Inspector& f, task_query& x) {
  return f.object(x).fields(f.field("state", x.state), f.field("labels", x.labels), f.field("name", x.name),
                            f.field("owner", x.owner), f.field("before", x.before), f.field("limit", x.limit));
}

struct task_page {
  std::vector<task> tasks;
  std::optional<task_id> next; ///< Cursor of the next page; none at the end.
};

template <class Inspector>
bool inspect(Inspector& f, task_page& x) {
  return f.object(x).fields(f.field("tasks", x.tasks), f.field("next", x.next));
}

} // namespace davit
