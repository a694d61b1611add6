// Every actor's interface: the whole conversation of the system. docs/architecture.md tells who starts whom.
#pragma once

#include "messages/type_ids.hpp"

#include <caf/result.hpp>
#include <caf/typed_actor.hpp>

#include <map>
#include <string>
#include <vector>

namespace davit {

// What each actor uses of the others; defined at the end. Sent when it starts, and whenever one of them is another one.
struct store_handles;
struct log_handles;
struct sink_handles;
struct engine_handles;
struct sandbox_handles;
struct executor_handles;
struct scheduler_handles;
struct fetcher_handles;
struct reaper_handles;
struct fleet_handles;
struct api_handles;
struct directory;

/// The STORE KEEPER interface. Owns the database session; the only actor that blocks, so it has a thread of its own.
/// Writes that come together are committed together, and answered after the commit: what is answered is durable.
using store_actor = caf::typed_actor<
  // Accept a task of an owner's.
  caf::result<task_receipt>(accept_atom, task_spec, std::string),
  // Name the limits of the fleet that keep a queued task from running now.
  caf::result<std::vector<std::string>>(limits_atom, task),
  // Give the asker its open attempts that it does not work at, and make attempts for as many queued tasks as its offers
  // have room for. What an answer held that was lost is in the next one.
  caf::result<claim_answer>(claim_atom, claim_request),
  // Write down that an agent lives, and give it a lease; false: another one has its name.
  caf::result<bool>(beat_atom, agent_status, duration),
  // End an agent's lease.
  caf::result<void>(retire_atom, std::string, uuid),
  // Name the agents.
  caf::result<std::vector<agent_status>>(agents_atom),
  // Hand over what agents without a lease have left.
  caf::result<adoption>(adopt_atom, adopt_request),
  // Other agents may have written something: tell the listeners. (It sends this to itself too.)
  caf::result<void>(news_atom),
  // Write down what an attempt has reached.
  caf::result<void>(record_atom, attempt_progress),
  // Write down how an attempt ended.
  caf::result<void>(finish_atom, attempt_result),
  // Finish the queued tasks that have waited longer than their queue timeout.
  caf::result<void>(expire_atom),
  // Name tasks that were finished before a time, at most so many.
  caf::result<std::vector<task_id>>(list_atom, timestamp, std::uint32_t),
  // Keep a block (the how manieth, of how many) of a finished attempt's log.
  caf::result<void>(log_atom, attempt_key, std::uint32_t, std::uint32_t, std::string),
  // Give a block of a finished attempt's log.
  caf::result<log_block>(log_atom, attempt_key, std::uint32_t),
  // Name attempts of an agent that have ended since a time, a part at a time: 0 begins, and each answer says where to
  // ask on.
  caf::result<ended_attempts>(since_atom, std::string, timestamp, std::int64_t),
  // Forget finished tasks.
  caf::result<void>(forget_atom, std::vector<task_id>),
  // Write down that an image was pulled to an engine (by its id).
  caf::result<void>(pull_atom, std::string, std::string),
  // Name the images that were pulled to an engine and not used since a time, longest unused first.
  caf::result<std::vector<std::string>>(images_atom, std::string, timestamp),
  // Forget an image of an engine.
  caf::result<void>(forget_atom, std::string, std::string),
  // Mark a task as cancelled; a queued one is finished at once.
  caf::result<task>(cancel_atom, task_id),
  // Give one task.
  caf::result<task>(find_atom, task_id),
  // Give a page of tasks.
  caf::result<task_page>(list_atom, task_query),
  // Give the queued tasks, at most so many, that come next on an engine with these labels.
  caf::result<task_page>(list_atom, std::vector<std::string>, std::uint32_t),
  // Give the events after a sequence number, of one task or of all (nil), and how many at most.
  caf::result<std::vector<task_event>>(events_atom, std::int64_t, task_id, std::uint32_t),
  // Count the tasks that are not finished; the count of a long queue may be some seconds old.
  caf::result<task_counts>(count_atom),
  // Answer whether the database can be read.
  caf::result<void>(ping_atom),
  // Run and commit what has gathered. (It sends this to itself.)
  caf::result<void>(commit_atom),
  // Take the handles of those that it uses.
  caf::result<void>(wire_atom, store_handles)>;

/// The LOG KEEPER interface. Writes each attempt's log and serves its readers.
using log_actor = caf::typed_actor<
  // Open an attempt's log for writing; whoever had it open is fenced off.
  caf::result<log_lease>(open_atom, attempt_key),
  // Append records; answered when they are written.
  caf::result<void>(log_batch),
  // Write a remark of davit's own into a log.
  caf::result<void>(note_atom, attempt_key, std::string),
  // End a log: its readers see its end. Answered with the totals (and the last bytes if true): when all of it would
  // outlast a power cut, or with the whole of it, to be stored with the attempt's outcome.
  caf::result<log_summary>(close_atom, attempt_key, bool),
  // The outcome is stored, and with it the whole log that was given: it need not be kept here.
  caf::result<void>(finish_atom, attempt_key),
  // Make durable what has ended. (It sends this to itself.)
  caf::result<void>(commit_atom),
  // Remove the logs of a task.
  caf::result<void>(remove_atom, task_id),
  // Give a page of a log; waits for one as long as the query says.
  caf::result<log_page>(read_atom, log_query),
  // Give the named sink a page of a log; waits for one as the query says. An error says if nothing of it is kept any
  // more (`missing`), or that it can't be read from the store now.
  caf::result<log_page>(ship_atom, std::string, log_query),
  // Name the logs that may have been written to since a time: those here, and those of attempts that have ended since.
  caf::result<std::vector<attempt_key>>(since_atom, timestamp),
  // Say how long these logs are; leaves out those that are not here.
  caf::result<std::vector<log_extent>>(size_atom, std::vector<attempt_key>),
  // Go on with compressing, and let readers go whose time is over. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles of those that it uses.
  caf::result<void>(wire_atom, log_handles)>;

/// The ENGINE CONNECTION interface: one per engine. Answers every request within its deadline: with a result, or with
/// an engine_errc and the engine's own words.
using engine_actor = caf::typed_actor<
  // Say how the engine fares.
  caf::result<engine_status>(ping_atom),
  // Pull an image within a time, telling progress to the attempt's executor; with the task's own registry credentials
  // (a docker config.json), or else the agent's.
  caf::result<void>(pull_atom, attempt_key, std::string, duration, secret),
  // Say what an image name stands for.
  caf::result<image_info>(find_atom, std::string),
  // Remove an image that no container uses; false: it was not there.
  caf::result<bool>(images_atom, remove_atom, std::string),
  // Make a container; the answer is its id.
  caf::result<std::string>(create_atom, container_plan),
  // Unpack a tar into it, if there is one, and start it; false: it was running already.
  caf::result<bool>(start_atom, std::string, std::string),
  // Have davit's init in a volume of this name; the image is one that the engine has.
  caf::result<void>(init_atom, std::string, std::string),
  // Make a sandbox, with a tar unpacked into it, and keep a line to its init; answered with its id when it is up.
  caf::result<std::string>(init_atom, container_plan, std::string),
  // Give a sandbox its task over that line: what comes later is a copy that is not heeded. More may follow (attach), if
  // true.
  caf::result<void>(init_atom, std::string, std::string, bool),
  // Give a container another name.
  caf::result<void>(rename_atom, std::string, std::string),
  // Wait until it does not run. The code is a hint: inspect decides.
  caf::result<std::int64_t>(wait_atom, attempt_key, std::string),
  // Inspect it, by id or name.
  caf::result<container_status>(inspect_atom, std::string),
  // Stop it: SIGTERM, then SIGKILL after the time. False: it did not run.
  caf::result<bool>(stop_atom, std::string, duration),
  // Remove it with its anonymous volumes.
  caf::result<void>(remove_atom, std::string),
  // Say how many processes it has; 0: the engine does not tell.
  caf::result<std::uint32_t>(count_atom, std::string),
  // List the containers that carry all these labels.
  caf::result<std::vector<container_summary>>(list_atom, std::vector<std::string>),
  // Give bytes to a container's standard input and close it.
  caf::result<void>(attach_atom, attempt_key, std::string, std::string),
  // Give a tar of what is at a path of a container, at most so many bytes.
  caf::result<std::string>(files_atom, std::string, std::string, std::uint64_t),
  // Give the engine's remembered events about a container since a time.
  caf::result<std::vector<engine_event>>(history_atom, std::string, timestamp),
  // Give the first line that a container wrote to its standard output; empty: none.
  caf::result<std::string>(log_atom, start_atom, std::string),
  // Read a container's log into the log keeper; answered when it has ended and is written.
  caf::result<log_end>(log_atom, log_request),
  // The container has ended: its log is not followed on if it gives nothing more.
  caf::result<void>(log_atom, ended_atom, attempt_key),
  // Withdraw an attempt's requests: they end with `cancelled`.
  caf::result<void>(withdraw_atom, attempt_key),
  // A request has been answered on an I/O thread. (It sends this to itself.)
  caf::result<void>(continuation),
  // Time to ping, or to connect again. (It sends this to itself.)
  caf::result<void>(tick_atom, std::uint64_t),
  // Take the handles of those that it uses.
  caf::result<void>(wire_atom, engine_handles)>;

/// The SANDBOX KEEPER interface: one per engine. Keeps containers that are up and wait for a task, each used by one and
/// thrown away; and the init that all tasks have.
using sandbox_actor = caf::typed_actor<
  // Give one that fits a container that was planned, under that container's name, or a network for it. If neither
  // waits, one is made; also if that did not work lately, if true.
  caf::result<sandbox>(take_atom, container_plan, bool),
  // Give a network that a container which was planned can join, if one waits. It is under that container's name, with
  // `-net` behind it.
  caf::result<sandbox>(take_atom, network_atom, container_plan),
  // Have davit's init on the engine, for a container that is made for its task; the image is one that the engine has.
  caf::result<void>(init_atom, std::string),
  // The engine's state has changed.
  caf::result<void>(engine_status),
  // A container had ended by itself before its task began: its init may not be what it should, and is looked at before
  // the next one is made.
  caf::result<void>(ended_atom),
  // Say how many wait.
  caf::result<std::uint32_t>(count_atom),
  // Keep none any more; answered when they are removed.
  caf::result<void>(drain_atom),
  // Time to look again. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles of those that it uses.
  caf::result<void>(wire_atom, sandbox_handles)>;

/// The IMAGE FETCHER interface. Has engines whose slots are all taken pull what the next tasks in the queue will need
/// there, one image at a time.
using fetcher_actor = caf::typed_actor<
  // Time to look again. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles of those that it uses.
  caf::result<void>(wire_atom, fetcher_handles)>;

/// The EXECUTOR interface: one per attempt.
using executor_actor = caf::typed_actor<
  // Stop the attempt: its outcome is `cancelled`.
  caf::result<void>(cancel_atom),
  // Stop the attempt because the agent ends: its outcome is `agent_lost`.
  caf::result<void>(stop_atom),
  // The attempt is no longer this agent's: report nothing. True: others can't have it yet, and must find no container
  // of it.
  caf::result<void>(fence_atom, bool),
  // The engine's state has changed.
  caf::result<void>(engine_status),
  // The pull has come this far.
  caf::result<void>(pull_progress),
  // Say what the attempt is at.
  caf::result<attempt_status>(progress_atom),
  // Take the handles of those that it uses.
  caf::result<void>(wire_atom, executor_handles)>;

/// The SCHEDULER interface. Claims tasks that it has room for, picks the engine, starts executors.
using scheduler_actor = caf::typed_actor<
  // An event in the life of a task: there may be work, or something to cancel.
  caf::result<void>(task_event),
  // An engine's state has changed.
  caf::result<void>(engine_status),
  // An attempt no longer takes a slot.
  caf::result<void>(ended_atom, attempt_key),
  // A pull has come this far.
  caf::result<void>(progress_atom, attempt_key, pull_progress),
  // Say what a task's live attempt is at.
  caf::result<std::optional<attempt_status>>(progress_atom, task_id),
  // Say how the engines fare, with how many slots are taken.
  caf::result<std::vector<engine_status>>(engines_atom),
  // Give the executors that are at work.
  caf::result<live_executors>(list_atom),
  // Claim nothing more; answered when the last attempt has ended.
  caf::result<void>(drain_atom),
  // Stop what runs: the attempts end as `agent_lost`, and the tasks go by their retry policy.
  caf::result<void>(stop_atom),
  // End the agent's lease: what still runs may be taken over at once.
  caf::result<void>(retire_atom),
  // Time to look again. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles of those that it uses.
  caf::result<void>(wire_atom, scheduler_handles)>;

/// The REAPER interface. Removes the containers of this agent that no attempt owns any more.
using reaper_actor = caf::typed_actor<
  // Look at every engine that is ready; answers how many containers were removed.
  caf::result<std::uint32_t>(reap_atom),
  // Time to look again. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles of those that it uses.
  caf::result<void>(wire_atom, reaper_handles)>;

/// The PEER interface: what one agent may ask of another, over CAF's middleman.
using peer_actor = caf::typed_actor<
  // Say who asks, and whom to speak to there; the answer says who answers.
  caf::result<peer_hello>(hello_atom, peer_hello, caf::strong_actor_ptr),
  // Something was committed to the store.
  caf::result<void>(news_atom),
  // Give a page of a log that is kept here; waits for one as long as the query says.
  caf::result<log_page>(read_atom, log_query),
  // Take no more tasks.
  caf::result<void>(drain_atom),
  // Take the handles of those that it uses. (From its own agent: they can't travel.)
  caf::result<void>(wire_atom, fleet_handles)>;

/// The FLEET interface. Knows the other agents, and speaks to them.
using fleet_actor = caf::typed_actor<
  // Tell the others that something was committed.
  caf::result<void>(news_atom),
  // A peer has introduced itself.
  caf::result<void>(hello_atom, peer_hello, caf::strong_actor_ptr),
  // Ask the named agent for a page of a log.
  caf::result<log_page>(read_atom, std::string, log_query),
  // Have the named agent take no more tasks.
  caf::result<void>(drain_atom, std::string),
  // Name the agents that are connected.
  caf::result<std::vector<std::string>>(list_atom),
  // The name in a configured peer's address stands for these addresses. (Sent by I/O threads.)
  caf::result<void>(find_atom, std::string, std::vector<std::string>),
  // Time to look for others. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles of those that it uses.
  caf::result<void>(wire_atom, fleet_handles)>;

/// The SINK interface: one for each place that logs are sent to. Reads from the log keeper at its own pace: none can
/// slow a task, or another sink. What was sent is remembered on disk, so that a restart sends the rest; what lies
/// between the two is sent twice.
using sink_actor = caf::typed_actor<
  // An attempt's log has been begun, or is written on: so many bytes of it are there. What was read beyond them is
  // lost, and comes again.
  caf::result<void>(open_atom, attempt_key, std::uint64_t),
  // Say how deliveries fare.
  caf::result<sink_status>(ping_atom),
  // A delivery has been answered on an I/O thread. (It sends this to itself.)
  caf::result<void>(continuation),
  // Time to try again, or to write down how far it has come. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles of those that it uses.
  caf::result<void>(wire_atom, sink_handles)>;

/// Hears of every event in the life of tasks, after it is durable and in order.
using event_listener = caf::typed_actor<caf::result<void>(task_event)>;

/// The API interface. HTTP in, messages out.
using api_actor = caf::typed_actor<
  // An event in the life of a task.
  caf::result<void>(task_event),
  // A request has come, or its client is ready for more. (Sent by I/O threads.)
  caf::result<void>(continuation),
  // Time to look at what waits. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles of those that it uses.
  caf::result<void>(wire_atom, api_handles)>;

/// The SUPERVISOR interface. Starts, watches and restarts all others.
using supervisor_actor = caf::typed_actor<
  // Start everything; answered when the API listens, or with the reason why it can't.
  caf::result<void>(start_atom),
  // Claim nothing more; answered when the last attempt has ended. A scheduler or an API that is restarted meanwhile is
  // told of it.
  caf::result<void>(drain_atom),
  // Stop what runs.
  caf::result<void>(stop_atom),
  // Give all handles, as they are now.
  caf::result<directory>(find_atom)>;

/// The executors at work, by their attempts.
struct live_executors {
  std::map<attempt_key, executor_actor> executors;
};

struct store_handles {
  std::vector<event_listener> listeners;
  fleet_actor fleet; ///< None where there are no peers.
  bool operator==(const store_handles&) const = default;
};

struct log_handles {
  store_actor store;
  std::map<std::string, sink_actor> sinks; ///< By name.
  bool operator==(const log_handles&) const = default;
};

struct sink_handles {
  store_actor store;
  log_actor logs;
  bool operator==(const sink_handles&) const = default;
};

struct engine_handles {
  scheduler_actor scheduler;
  sandbox_actor sandboxes; ///< Of the same engine.
  log_actor logs;
  bool operator==(const engine_handles&) const = default;
};

struct sandbox_handles {
  engine_actor engine; ///< The one that it keeps sandboxes on.
  bool operator==(const sandbox_handles&) const = default;
};

struct executor_handles {
  store_actor store;
  log_actor logs;
  scheduler_actor scheduler;
  std::map<std::string, engine_actor> engines; ///< By name, as the next.
  std::map<std::string, sandbox_actor> sandboxes;
  bool operator==(const executor_handles&) const = default;
};

/// What it uses, and gives to its executors.
struct scheduler_handles : executor_handles {
  bool draining = false; ///< The agent has been told to claim nothing more.
  bool operator==(const scheduler_handles&) const = default;
};

struct fetcher_handles {
  store_actor store;
  scheduler_actor scheduler;
  std::map<std::string, engine_actor> engines; ///< By name.
  bool operator==(const fetcher_handles&) const = default;
};

struct reaper_handles {
  store_actor store;
  log_actor logs;
  scheduler_actor scheduler;
  std::map<std::string, engine_actor> engines; ///< By name.
  bool operator==(const reaper_handles&) const = default;
};

/// For the fleet, and for the peer that speaks for it.
struct fleet_handles {
  store_actor store;
  log_actor logs;
  supervisor_actor supervisor; ///< Whom to ask for a drain.
  bool operator==(const fleet_handles&) const = default;
};

struct api_handles {
  store_actor store;
  log_actor logs;
  scheduler_actor scheduler;
  fleet_actor fleet;                           ///< None where there are no peers.
  supervisor_actor supervisor;                 ///< Whom to ask for a drain.
  std::map<std::string, engine_actor> engines; ///< By name, as the next.
  std::map<std::string, sink_actor> sinks;
  std::map<std::string, std::string> suspended; ///< Why, by subtree ("sink s"), of those that failed again and again.
  bool draining = false;
  bool operator==(const api_handles&) const = default;
};

/// All actors of an agent that live as long as it does, for the supervisor and for the process; no actor is given this.
struct directory {
  store_actor store;
  log_actor logs;
  std::map<std::string, sink_actor> sinks; ///< By name, as the next two.
  std::map<std::string, engine_actor> engines;
  std::map<std::string, sandbox_actor> sandboxes;
  scheduler_actor scheduler;
  reaper_actor reaper;
  fetcher_actor fetcher;
  fleet_actor fleet; ///< None where there are no peers.
  api_actor api;
  supervisor_actor supervisor;
  std::map<std::string, std::string> suspended; ///< Why, by subtree.
  bool draining = false;
};

} // namespace davit
