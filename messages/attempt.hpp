// The conversation about attempts between scheduler, executors and store.
#pragma once

#include "messages/task.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace davit {

/// Identifies an attempt permanently.
struct attempt_key {
  task_id task;
  std::int32_t number = 0;
  auto operator<=>(const attempt_key&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, attempt_key& x) {
  return f.object(x).fields(f.field("task", x.task), f.field("number", x.number));
}

/// Fences writes: the store takes a write about an attempt only from the incarnation that owns it.
struct attempt_token {
  attempt_key key;
  uuid incarnation;
  auto operator<=>(const attempt_token&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, attempt_token& x) {
  return f.object(x).fields(f.field("key", x.key), f.field("incarnation", x.incarnation));
}

/// Free slots on one engine, offered by a scheduler.
struct engine_offer {
  std::string name;
  std::string id;
  std::vector<std::string> labels;
  std::uint32_t slots = 0;
  std::uint32_t free = 0;
};

template <class Inspector>
bool inspect(Inspector& f, engine_offer& x) {
  return f.object(x).fields(f.field("name", x.name), f.field("id", x.id), f.field("labels", x.labels),
                            f.field("slots", x.slots), f.field("free", x.free));
}

/// How to choose among the engines that can take a task.
enum class placement_strategy : std::uint8_t {
  spread, ///< The one with the largest share of free slots.
  pack,   ///< The one with the smallest share, so that other engines stay empty.
};
DAVIT_ENUM_TEXT(placement_strategy, 2, "spread", "pack")

/// How many tasks with a label may run at once in the whole fleet. In text `team=red: 8`, for all owners together; or
/// `deploy: 1`, for each value of each owner's tasks separately (a concurrency group).
struct label_limit {
  std::string name;
  std::string value; ///< Empty: each value of each owner separately.
  std::uint32_t most = 1;

  bool operator==(const label_limit&) const = default;
};

std::string to_string(const label_limit& limit);
bool from_string(std::string_view text, label_limit& limit);
inline std::string expected_text(const label_limit&) {
  return "a label and a number, such as \"deploy: 1\" or \"team=red: 8\"";
}

template <class Inspector>
bool inspect(Inspector& f, label_limit& x) {
  return inspect_as_text(f, x);
}

/// The fleet's rules for placing tasks. All agents should have the same; each agent applies its own.
struct placement_rules {
  placement_strategy strategy = placement_strategy::spread;
  duration image_patience{2000};    ///< How long a task waits for an engine that has its image, while others are free.
  std::uint32_t most_per_owner = 0; ///< Tasks of one owner at once; 0: any number.
  std::vector<label_limit> label_limits;
};

template <class Inspector>
bool inspect(Inspector& f, placement_rules& x) {
  return f.object(x).fields(f.field("strategy", x.strategy), f.field("image_patience", x.image_patience),
                            f.field("most_per_owner", x.most_per_owner), f.field("label_limits", x.label_limits));
}

/// Asks for the sender's attempts that it does not run yet, and for as many queued tasks as its offers have room for.
/// The sender may repeat it if the answer was lost: the next answer contains the same attempts.
struct claim_request {
  std::string agent;
  uuid incarnation;
  std::vector<engine_offer> offers;   ///< None: nothing new is claimed.
  std::vector<std::string> reached{}; ///< The ids of all engines that the agent reaches, with room or without.
  placement_rules rules{};
  std::vector<attempt_key> at_work{}; ///< Open attempts of this incarnation that are not among these are answered.
  /// The incarnation has had no answer yet: it takes over open attempts of the agent's earlier incarnations. Such a
  /// request must make no offers; otherwise new claims and old attempts look the same.
  bool first = false;
  /// Agents that will never come back: their pinned tasks are cancelled, and their open attempts are handed over too.
  std::vector<std::string> dead_agents{};
};

template <class Inspector>
bool inspect(Inspector& f, claim_request& x) {
  return f.object(x).fields(f.field("agent", x.agent), f.field("incarnation", x.incarnation),
                            f.field("offers", x.offers), f.field("reached", x.reached), f.field("rules", x.rules),
                            f.field("at_work", x.at_work), f.field("first", x.first),
                            f.field("dead_agents", x.dead_agents));
}

/// A claimed task, with the attempt that the claim (or an earlier owner) has made.
struct claimed_attempt {
  attempt_token token;
  davit::task task;     ///< With the attempt as its last one.
  bool resumed = false; ///< The attempt had already begun; its container may exist.
  bool adopted = false; ///< Another agent, or this one before it lost its lease, may have given it up.
};

template <class Inspector>
bool inspect(Inspector& f, claimed_attempt& x) {
  return f.object(x).fields(f.field("token", x.token), f.field("task", x.task), f.field("resumed", x.resumed),
                            f.field("adopted", x.adopted));
}

struct claim_answer {
  std::vector<claimed_attempt> attempts; ///< First those that were open (`resumed`), then the new ones.
  /// When the earliest retry that waits may be claimed.
  std::optional<timestamp> next_due;
};

template <class Inspector>
bool inspect(Inspector& f, claim_answer& x) {
  return f.object(x).fields(f.field("attempts", x.attempts), f.field("next_due", x.next_due));
}

/// An executor's progress, recorded before it continues.
struct attempt_progress {
  attempt_token token;
  task_state state = task_state::starting;
  std::string container;
  std::string image_id;
  std::optional<timestamp> started_at;
  std::vector<used_cache> caches{}; ///< Empty: those that are recorded stay.
};

template <class Inspector>
bool inspect(Inspector& f, attempt_progress& x) {
  return f.object(x).fields(f.field("token", x.token), f.field("state", x.state), f.field("container", x.container),
                            f.field("image_id", x.image_id), f.field("started_at", x.started_at),
                            f.field("caches", x.caches));
}

/// A tree that a container is to have at a path.
struct tree_place {
  std::string tree;
  std::string path;                ///< Absolute, without `.`, double slashes and a slash at its end.
  bool empty = false;              ///< Without what the image has there.
  std::vector<std::string> nested; ///< Where in it something else is mounted; relative, sorted.
};

template <class Inspector>
bool inspect(Inspector& f, tree_place& x) {
  return f.object(x).fields(f.field("tree", x.tree), f.field("path", x.path), f.field("empty", x.empty),
                            f.field("nested", x.nested));
}

/// Inputs that are to be unpacked into an attempt's container, and then what its caches begin with.
struct fill_order {
  attempt_key attempt;
  std::string owner;
  std::string engine; ///< Its name.
  std::string container;
  std::vector<task_input> inputs;
  std::vector<used_cache> caches{};
  std::string user{}; ///< The task's, as it names it; empty: the image's.
  std::vector<tree_place>
    places{}; ///< Of those whose tree may have been prepared, or may be for tasks that come later.
};

template <class Inspector>
bool inspect(Inspector& f, fill_order& x) {
  return f.object(x).fields(f.field("attempt", x.attempt), f.field("owner", x.owner), f.field("engine", x.engine),
                            f.field("container", x.container), f.field("inputs", x.inputs), f.field("caches", x.caches),
                            f.field("user", x.user), f.field("places", x.places));
}

/// Asks which of these trees the engine has ready.
struct prepared_query {
  attempt_key attempt;
  std::string owner;
  std::string engine; ///< Its name.
  std::string image;  ///< The task's.
  std::string user;   ///< The task's; empty: the image's.
  std::vector<tree_place> places;
};

template <class Inspector>
bool inspect(Inspector& f, prepared_query& x) {
  return f.object(x).fields(f.field("attempt", x.attempt), f.field("owner", x.owner), f.field("engine", x.engine),
                            f.field("image", x.image), f.field("user", x.user), f.field("places", x.places));
}

/// Volumes by which an attempt's container has a tree without unpacking it (docs/decisions/0020).
struct prepared_tree {
  std::string path;  ///< As in tree_place.
  std::string name;  ///< The volume to be mounted there: an overlay of the next three.
  std::string lower; ///< The tree, which all share and none changes.
  std::string upper; ///< What this container changes.
  std::string work;  ///< The kernel's.
  bool operator==(const prepared_tree&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, prepared_tree& x) {
  return f.object(x).fields(f.field("path", x.path), f.field("name", x.name), f.field("lower", x.lower),
                            f.field("upper", x.upper), f.field("work", x.work));
}

struct prepared_trees {
  std::string base; ///< The id of the image that they were prepared for, which is what the task's image stands for now.
  std::vector<prepared_tree> trees;
  bool operator==(const prepared_trees&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, prepared_trees& x) {
  return f.object(x).fields(f.field("base", x.base), f.field("trees", x.trees));
}

/// Caches for which an attempt is to be told what to begin with.
struct cache_order {
  attempt_key attempt;
  std::string owner;
  std::string scope;
  std::string workdir; ///< What paths in keys are relative to.
  std::vector<task_input> inputs;
  std::vector<task_cache> caches;
};

template <class Inspector>
bool inspect(Inspector& f, cache_order& x) {
  return f.object(x).fields(f.field("attempt", x.attempt), f.field("owner", x.owner), f.field("scope", x.scope),
                            f.field("workdir", x.workdir), f.field("inputs", x.inputs), f.field("caches", x.caches));
}

/// Outputs that are to be collected from an attempt's container, which has ended; and if it succeeded, what it leaves
/// in its caches.
struct collect_order {
  attempt_key attempt;
  std::string owner;
  std::string engine; ///< Its name.
  std::string container;
  std::map<std::string, task_output> outputs;
  bool succeeded = false;
  duration limit{0};   ///< For all of them.
  std::string scope{}; ///< Of the caches.
  std::vector<task_cache> caches{};
  std::vector<used_cache> used{}; ///< What it began with: one for each cache, in their order.
};

template <class Inspector>
bool inspect(Inspector& f, collect_order& x) {
  return f.object(x).fields(f.field("attempt", x.attempt), f.field("owner", x.owner), f.field("engine", x.engine),
                            f.field("container", x.container), f.field("outputs", x.outputs),
                            f.field("succeeded", x.succeeded), f.field("limit", x.limit), f.field("scope", x.scope),
                            f.field("caches", x.caches), f.field("used", x.used));
}

struct collected_files {
  std::vector<collected_output> outputs;
  std::vector<used_cache> caches;
};

template <class Inspector>
bool inspect(Inspector& f, collected_files& x) {
  return f.object(x).fields(f.field("outputs", x.outputs), f.field("caches", x.caches));
}

/// An earlier success of the same.
struct memo_answer {
  std::string attempt; ///< `TASK/NUMBER`; empty: there is none.
  std::string agent;   ///< That made it.
  timestamp finished_at;
  std::vector<collected_output> outputs;
};

template <class Inspector>
bool inspect(Inspector& f, memo_answer& x) {
  return f.object(x).fields(f.field("attempt", x.attempt), f.field("agent", x.agent),
                            f.field("finished_at", x.finished_at), f.field("outputs", x.outputs));
}

/// How an attempt ended, and whether the task is retried.
struct attempt_result {
  attempt_token token;
  davit::outcome outcome = outcome::failed;
  std::optional<std::int64_t> exit_code;
  std::string message;
  timestamp finished_at;
  phase_seconds phases;
  davit::evidence evidence;
  std::optional<timestamp> retry_at; ///< Then the task is queued again; otherwise it is finished.
  std::string log;       ///< The whole of a small log, as the log keeper has packed it; empty: it keeps it itself.
  std::string engine_id; ///< Where a container was made from `image`: later tasks are placed by that. Empty: none was.
  std::string image;
  std::vector<std::string> volumes{}; ///< That the container had, as the task names them.
  std::vector<collected_output> outputs{};
  std::vector<used_cache> caches{};
  std::string memo{};      ///< What a success is found by; empty: it is not to be found.
  std::string answer_of{}; ///< The attempt whose success is this one's answer.
};

template <class Inspector>
bool inspect(Inspector& f, attempt_result& x) {
  return f.object(x).fields(f.field("token", x.token), f.field("outcome", x.outcome), f.field("exit_code", x.exit_code),
                            f.field("message", x.message), f.field("finished_at", x.finished_at),
                            f.field("phases", x.phases), f.field("evidence", x.evidence),
                            f.field("retry_at", x.retry_at), f.field("log", x.log), f.field("engine_id", x.engine_id),
                            f.field("image", x.image), f.field("volumes", x.volumes), f.field("outputs", x.outputs),
                            f.field("caches", x.caches), f.field("memo", x.memo), f.field("answer_of", x.answer_of));
}

/// The state of a live attempt.
struct attempt_status {
  attempt_key key;
  std::string phase;   ///< recover, pull, create, start, run, collect, remove, report
  std::string waiting; ///< What it waits for, if an engine can't be reached; for people.
  std::string engine;
  std::uint32_t layers = 0;
  std::uint32_t layers_done = 0;
  std::uint64_t bytes = 0;
  std::uint64_t bytes_total = 0;
};

template <class Inspector>
bool inspect(Inspector& f, attempt_status& x) {
  return f.object(x).fields(f.field("key", x.key), f.field("phase", x.phase), f.field("waiting", x.waiting),
                            f.field("engine", x.engine), f.field("layers", x.layers),
                            f.field("layers_done", x.layers_done), f.field("bytes", x.bytes),
                            f.field("bytes_total", x.bytes_total));
}

/// How many tasks are in each state.
struct task_counts {
  std::int64_t queued = 0;
  std::int64_t starting = 0;
  std::int64_t running = 0;
};

template <class Inspector>
bool inspect(Inspector& f, task_counts& x) {
  return f.object(x).fields(f.field("queued", x.queued), f.field("starting", x.starting),
                            f.field("running", x.running));
}

/// The unfinished tasks of one owner.
struct owner_counts {
  std::string owner;
  task_counts tasks;
};

template <class Inspector>
bool inspect(Inspector& f, owner_counts& x) {
  return f.object(x).fields(f.field("owner", x.owner), f.field("tasks", x.tasks));
}

} // namespace davit
