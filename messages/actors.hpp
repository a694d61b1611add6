// Every actor's interface: the whole conversation of the system. docs/architecture.md says which actor starts which.
#pragma once

#include "messages/type_ids.hpp"

#include <caf/result.hpp>
#include <caf/typed_actor.hpp>

#include <map>
#include <string>
#include <vector>

namespace davit {

// The handles that each actor uses are in messages/handles.hpp. They are sent when the actor starts, and whenever one
// changes.

/// The STORE KEEPER interface. Owns the database session. The database blocks, so this actor has its own thread.
/// Commits writes that arrive together in one transaction, and answers after the commit: an answered write is durable.
using store_actor = caf::typed_actor<
  // Accept a task. The string is its owner.
  caf::result<task_receipt>(accept_atom, task_spec, std::string),
  // List the limits of the fleet that keep a queued task from running now.
  caf::result<std::vector<std::string>>(limits_atom, task),
  // Return the sender's open attempts that it does not run yet. Also claim queued tasks as attempts, as far as its
  // offers have room. If an answer is lost, the next one contains the same attempts.
  caf::result<claim_answer>(claim_atom, claim_request),
  // Record an agent's heartbeat, and give it a lease; false: another agent has its name.
  caf::result<bool>(beat_atom, agent_status, duration),
  // End an agent's lease.
  caf::result<void>(retire_atom, std::string, uuid),
  // List the agents.
  caf::result<std::vector<agent_status>>(agents_atom),
  // Take over attempts of agents that have lost their lease.
  caf::result<adoption>(adopt_atom, adopt_request),
  // Other agents may have committed events: notify the listeners. (It also sends this to itself.)
  caf::result<void>(news_atom),
  // Record an attempt's progress.
  caf::result<void>(record_atom, attempt_progress),
  // Record how an attempt ended.
  caf::result<void>(finish_atom, attempt_result),
  // Finish the queued tasks that have waited longer than their queue timeout.
  caf::result<void>(expire_atom),
  // List tasks that finished before a time, up to a limit.
  caf::result<std::vector<task_id>>(list_atom, timestamp, std::uint32_t),
  // Store a block of a finished attempt's log: its index, the number of blocks, its bytes.
  caf::result<void>(log_atom, attempt_key, std::uint32_t, std::uint32_t, std::string),
  // Return a block of a finished attempt's log, by index.
  caf::result<log_block>(log_atom, attempt_key, std::uint32_t),
  // List attempts of an agent that ended since a time, page by page: begin with 0; each answer has the next position.
  caf::result<ended_attempts>(since_atom, std::string, timestamp, std::int64_t),
  // Forget finished tasks.
  caf::result<void>(forget_atom, std::vector<task_id>),
  // Record that an engine (by its id) has pulled an image.
  caf::result<void>(pull_atom, std::string, std::string),
  // Record a pull with a task's own credentials, or that every owner may use an image.
  caf::result<void>(pull_atom, image_grant, pull_stage),
  // Check that an owner may use an image without asking the registry. Without an image id: any image of that name.
  caf::result<bool>(grant_atom, image_grant),
  // List images that davit pulled to an engine and that are unused since a time, longest unused first.
  caf::result<std::vector<std::string>>(images_atom, std::string, timestamp),
  // Forget an image of an engine.
  caf::result<void>(forget_atom, std::string, std::string),
  // Take down these volumes of an engine, if they are not known; answers with one volume that was unused for so long
  // and that may be removed now, if there is one. Until this is reported, no attempt with this volume is made there.
  caf::result<std::vector<volume_key>>(volumes_atom, std::string, duration, std::vector<volume_key>),
  // Report what became of such a volume. True: it is gone; false: something uses it.
  caf::result<void>(volumes_atom, std::string, volume_key, bool),
  // Mark a task as cancelled; a queued task finishes at once.
  caf::result<task>(cancel_atom, task_id),
  // The same; the task's container is killed within the time. A later one may shorten it.
  caf::result<task>(cancel_atom, task_id, duration),
  // Return how long until a cancelled task's container must be killed; duration::max(): as its stop_timeout says.
  caf::result<duration>(cancel_atom, find_atom, task_id),
  // Return one task.
  caf::result<task>(find_atom, task_id),
  // Return one task of an owner; another owner's is not found.
  caf::result<task>(find_atom, task_id, std::string),
  // Return a page of tasks.
  caf::result<task_page>(list_atom, task_query),
  // Return the next queued tasks for an engine with these labels, up to a limit.
  caf::result<task_page>(list_atom, std::vector<std::string>, std::uint32_t),
  // Return the events after a sequence number, of one task or of all (nil), of an owner's tasks or of all owners'
  // (empty), up to a limit.
  caf::result<std::vector<task_event>>(events_atom, std::int64_t, task_id, std::string, std::uint32_t),
  // Count unfinished tasks; the count of a long queue may be some seconds old.
  caf::result<task_counts>(count_atom),
  // The same of one owner.
  caf::result<task_counts>(count_atom, std::string),
  // The same of so many owners that have the most, and of all others together (`other`).
  caf::result<std::vector<owner_counts>>(count_atom, std::uint32_t),
  // Return the newest success of the same owner's tasks with this memo, if there is one: it is kept for as long as
  // this attempt is.
  caf::result<memo_answer>(memo_atom, attempt_token, std::string),
  // Do a piece of work on the catalogue of blobs; answered when it is committed.
  caf::result<void>(catalogue_work),
  // Check that the database can be read.
  caf::result<void>(ping_atom),
  // Run and commit the gathered writes. (It sends this to itself.)
  caf::result<void>(commit_atom),
  // Take the handles that it uses.
  caf::result<void>(wire_atom, store_handles)>;

/// The LOG KEEPER interface. Writes each attempt's log and serves its readers.
using log_actor = caf::typed_actor<
  // Open an attempt's log for writing. An earlier writer is fenced.
  caf::result<log_lease>(open_atom, attempt_key),
  // Append records; answered when they are written.
  caf::result<void>(log_batch),
  // Write one of davit's own remarks into a log.
  caf::result<void>(note_atom, attempt_key, std::string),
  // End a log: its readers see its end. Answers with the totals (and the last bytes if true). The answer comes when the
  // log survives a power cut, or contains the whole log, to be stored with the attempt's outcome.
  caf::result<log_summary>(close_atom, attempt_key, bool),
  // The outcome is stored together with the whole log: it need not be kept here.
  caf::result<void>(finish_atom, attempt_key),
  // Make ended logs durable. (It sends this to itself.)
  caf::result<void>(commit_atom),
  // Remove the logs of a task.
  caf::result<void>(remove_atom, task_id),
  // Return a page of a log; waits for one as long as the query says.
  caf::result<log_page>(read_atom, log_query),
  // Return a page of a log to the named sink; waits for one as the query says. The error `missing`: the log is not kept
  // any more; other errors: it can't be read from the store now.
  caf::result<log_page>(ship_atom, std::string, log_query),
  // List the logs that may have changed since a time: those here, and those of attempts that ended since.
  caf::result<std::vector<attempt_key>>(since_atom, timestamp),
  // Return the sizes of these logs, without those that are not here.
  caf::result<std::vector<log_extent>>(size_atom, std::vector<attempt_key>),
  // Continue compressing, and answer readers whose time is over. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles that it uses.
  caf::result<void>(wire_atom, log_handles)>;

/// The ENGINE CONNECTION interface: one per engine. Answers every request within its deadline: with a result, or with
/// an engine_errc and the engine's message.
using engine_actor = caf::typed_actor<
  // Return the engine's state.
  caf::result<engine_status>(ping_atom),
  // Pull an image within a time, and report progress to the attempt's executor. Uses the task's registry credentials (a
  // Docker config.json), or the agent's if it has none.
  caf::result<void>(pull_atom, attempt_key, std::string, duration, secret),
  // Resolve an image name.
  caf::result<image_info>(find_atom, std::string),
  // Remove an image that no container uses; false: there is no such image.
  caf::result<bool>(images_atom, remove_atom, std::string),
  // Create a container; the answer is its id.
  caf::result<std::string>(create_atom, container_plan),
  // Start a container (by id), after unpacking a tar into it, if given; false: it was already running.
  caf::result<bool>(start_atom, std::string, std::string),
  // Put davit's init into a volume with this name; the engine must have the image.
  caf::result<void>(init_atom, std::string, std::string),
  // Create a sandbox, unpack a tar into it, and keep a connection to its init; answers with its id when it runs.
  caf::result<std::string>(init_atom, container_plan, std::string),
  // Send a sandbox its task over that connection; the init ignores a second copy. If true, more may follow (attach).
  caf::result<void>(init_atom, std::string, std::string, bool),
  // Give a container another name.
  caf::result<void>(rename_atom, std::string, std::string),
  // Wait until a container does not run. The code is a hint: inspect decides.
  caf::result<std::int64_t>(wait_atom, attempt_key, std::string),
  // Inspect a container, by id or name.
  caf::result<container_status>(inspect_atom, std::string),
  // Stop a container: SIGTERM, then SIGKILL after the time. False: it did not run.
  caf::result<bool>(stop_atom, std::string, duration),
  // Remove a container with its anonymous volumes.
  caf::result<void>(remove_atom, std::string),
  // Count a container's processes; 0: the engine does not say.
  caf::result<std::uint32_t>(count_atom, std::string),
  // List the containers that have all these labels.
  caf::result<std::vector<container_summary>>(list_atom, std::vector<std::string>),
  // List the volumes that have all these labels.
  caf::result<std::vector<volume_summary>>(volumes_atom, list_atom, std::vector<std::string>),
  // Make a volume; one of its name that is there is the answer, as it is.
  caf::result<volume_summary>(volumes_atom, create_atom, volume_plan),
  // Remove a volume that no container uses; false: there is no such volume.
  caf::result<bool>(volumes_atom, remove_atom, std::string),
  // Write bytes to a container's standard input and close it.
  caf::result<void>(attach_atom, attempt_key, std::string, std::string),
  // Return a tar of a path in a container, up to a number of bytes.
  caf::result<std::string>(files_atom, std::string, std::string, std::uint64_t),
  // Unpack a tar, which comes through the stream, into a folder of a container.
  caf::result<void>(files_atom, fill_atom, attempt_key, std::string, std::string, file_stream),
  // Write a tar of a path in a container to the stream.
  caf::result<void>(files_atom, collect_atom, attempt_key, std::string, std::string, file_stream),
  // Return the engine's events about a container since a time.
  caf::result<std::vector<engine_event>>(history_atom, std::string, timestamp),
  // Return the first line of a container's standard output; empty: none.
  caf::result<std::string>(log_atom, start_atom, std::string),
  // Copy a container's log to the log keeper; answers when the log has ended and is written.
  caf::result<log_end>(log_atom, log_request),
  // The container has ended: stop following its log when nothing more comes.
  caf::result<void>(log_atom, ended_atom, attempt_key),
  // Withdraw an attempt's requests: they end with `cancelled`.
  caf::result<void>(withdraw_atom, attempt_key),
  // A request has been answered on an I/O thread. (It sends this to itself.)
  caf::result<void>(continuation),
  // Time to ping or to reconnect. (It sends this to itself.)
  caf::result<void>(tick_atom, std::uint64_t),
  // Take the handles that it uses.
  caf::result<void>(wire_atom, engine_handles)>;

/// The SANDBOX KEEPER interface: one per engine. Keeps containers that run and wait for a task; each serves one task
/// and is removed. Also keeps the init that all tasks have.
using sandbox_actor = caf::typed_actor<
  // Return a sandbox that fits a planned container, under that container's name, or a network for it. If neither waits,
  // it makes a sandbox; if true, even if this failed recently.
  caf::result<sandbox>(take_atom, container_plan, bool),
  // Return a network that a planned container can join, if one waits. It has that container's name, followed by `-net`.
  caf::result<sandbox>(take_atom, network_atom, container_plan),
  // Put davit's init on the engine, for a container that is made for its task; the engine must have the image.
  caf::result<void>(init_atom, std::string),
  // The engine's state has changed.
  caf::result<void>(engine_status),
  // A container ended by itself before its task began. Its init may be damaged: check it before making the next
  // sandbox.
  caf::result<void>(ended_atom),
  // Return how many wait.
  caf::result<std::uint32_t>(count_atom),
  // Remove all sandboxes and make no more; answers when they are removed.
  caf::result<void>(drain_atom),
  // Time to look again. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles that it uses.
  caf::result<void>(wire_atom, sandbox_handles)>;

/// The FILE KEEPER interface. Brings tasks' inputs into their containers and their outputs out; takes uploads in; lets
/// go of blobs that nothing needs. Moving files blocks, so each move has its own thread.
using files_actor = caf::typed_actor<
  // Say what each cache begins with; one answer for each, in their order.
  caf::result<std::vector<used_cache>>(find_atom, cache_order),
  // Unpack inputs and caches into a container whose command does not run yet. May be repeated.
  caf::result<void>(fill_atom, fill_order),
  // Return those of these trees that the engine has ready, with volumes for this attempt's container.
  caf::result<prepared_trees>(find_atom, prepared_query),
  // The attempt's container is gone from the engine of this name: such volumes go too.
  caf::result<void>(forget_atom, attempt_key, std::string),
  // Collect outputs from a container that has ended; then keep its caches. May be repeated.
  caf::result<collected_files>(collect_atom, collect_order),
  // Withdraw an attempt's orders: they end with an error.
  caf::result<void>(withdraw_atom, attempt_key),
  // Take in blobs, as frames (blobs/frames.hpp), whole, for an owner.
  caf::result<upload_summary>(upload_atom, std::string, std::string),
  // Begin an upload of an owner: a stream of frames.
  caf::result<uuid>(upload_atom, open_atom, std::string),
  // Take in its next bytes, which begin at an offset; answers where the next ones do. Those that are there are not
  // written again.
  caf::result<std::uint64_t>(upload_atom, std::string, uuid, std::uint64_t, std::string),
  // Return where its next bytes begin.
  caf::result<std::uint64_t>(upload_atom, find_atom, std::string, uuid),
  // End it: its blobs are there from now on.
  caf::result<upload_summary>(upload_atom, close_atom, std::string, uuid),
  // Forget it.
  caf::result<void>(upload_atom, forget_atom, std::string, uuid),
  // A thread has ended its work. (It sends this to itself.)
  caf::result<void>(continuation),
  // Time to let go of what nothing needs, and of uploads that nobody goes on with. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles that it uses.
  caf::result<void>(wire_atom, files_handles)>;

/// The IMAGE FETCHER interface. Makes engines whose slots are all taken pull images for the next queued tasks, one at a
/// time.
using fetcher_actor = caf::typed_actor<
  // Time to look again. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles that it uses.
  caf::result<void>(wire_atom, fetcher_handles)>;

/// The EXECUTOR interface: one per attempt.
using executor_actor = caf::typed_actor<
  // Stop the attempt: its outcome is `cancelled`.
  caf::result<void>(cancel_atom),
  // The same, and kill its container within the time, also if it is being stopped already.
  caf::result<void>(cancel_atom, duration),
  // Stop the attempt because the agent shuts down: its outcome is `agent_lost`.
  caf::result<void>(stop_atom),
  // This agent does not own the attempt any more: report nothing. True: no other agent has it yet, so remove its
  // container.
  caf::result<void>(fence_atom, bool),
  // The engine's state has changed.
  caf::result<void>(engine_status),
  // Progress of the pull.
  caf::result<void>(pull_progress),
  // Return the attempt's state.
  caf::result<attempt_status>(progress_atom),
  // Take the handles that it uses.
  caf::result<void>(wire_atom, executor_handles)>;

/// The SCHEDULER interface. Claims tasks when slots are free, picks the engine, starts executors.
using scheduler_actor = caf::typed_actor<
  // An event in the life of a task: there may be work, or something to cancel.
  caf::result<void>(task_event),
  // An engine's state has changed.
  caf::result<void>(engine_status),
  // An attempt no longer takes a slot.
  caf::result<void>(ended_atom, attempt_key),
  // Progress of a pull.
  caf::result<void>(progress_atom, attempt_key, pull_progress),
  // Return the state of a task's live attempt.
  caf::result<std::optional<attempt_status>>(progress_atom, task_id),
  // Return the engines' states and how many slots are taken.
  caf::result<std::vector<engine_status>>(engines_atom),
  // Return the live executors.
  caf::result<live_executors>(list_atom),
  // Claim nothing more; answers when the last attempt has ended.
  caf::result<void>(drain_atom),
  // End the agent's lease: others may adopt running attempts at once.
  caf::result<void>(retire_atom),
  // Time to look again. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles that it uses.
  caf::result<void>(wire_atom, scheduler_handles)>;

/// The REAPER interface. Removes the containers of this agent that no attempt owns any more.
using reaper_actor = caf::typed_actor<
  // Look at every ready engine; answers how many containers were removed.
  caf::result<std::uint32_t>(reap_atom),
  // Time to look again. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles that it uses.
  caf::result<void>(wire_atom, reaper_handles)>;

/// The PEER interface: what one agent may ask of another, over CAF's middleman.
using peer_actor = caf::typed_actor<
  // Introduce the sender, and give its peer actor; the answer introduces the receiver.
  caf::result<peer_hello>(hello_atom, peer_hello, caf::strong_actor_ptr),
  // Something was committed to the store.
  caf::result<void>(news_atom),
  // Return a page of a log that is kept here; waits for one as long as the query says.
  caf::result<log_page>(read_atom, log_query),
  // Take no more tasks.
  caf::result<void>(drain_atom),
  // Take the handles that it uses. (From its own agent: they can't travel.)
  caf::result<void>(wire_atom, fleet_handles)>;

/// The FLEET interface. Knows the other agents, and talks to them.
using fleet_actor = caf::typed_actor<
  // Notify the other agents that something was committed.
  caf::result<void>(news_atom),
  // A peer has introduced itself.
  caf::result<void>(hello_atom, peer_hello, caf::strong_actor_ptr),
  // Ask the named agent for a page of a log.
  caf::result<log_page>(read_atom, std::string, log_query),
  // Tell the named agent to take no more tasks.
  caf::result<void>(drain_atom, std::string),
  // List the connected agents.
  caf::result<std::vector<std::string>>(list_atom),
  // The name in a configured peer's address has these addresses. (Sent by I/O threads.)
  caf::result<void>(find_atom, std::string, std::vector<std::string>),
  // Time to look for other agents. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles that it uses.
  caf::result<void>(wire_atom, fleet_handles)>;

/// The SINK interface: one for each place that davit sends logs to. Reads from the log keeper at its own pace, so it
/// can't slow a task or another sink. Saves on disk how much it has sent, so a restart sends the rest; it may send the
/// records around the restart twice.
using sink_actor = caf::typed_actor<
  // An attempt's log begins or continues, and has this many bytes. Bytes that were read beyond them are lost, and will
  // come again.
  caf::result<void>(open_atom, attempt_key, std::uint64_t),
  // Return the state of deliveries.
  caf::result<sink_status>(ping_atom),
  // A delivery has been answered on an I/O thread. (It sends this to itself.)
  caf::result<void>(continuation),
  // Time to retry, or to save the position. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles that it uses.
  caf::result<void>(wire_atom, sink_handles)>;

/// Hears of every event in the life of tasks, after it is durable and in order.
using event_listener = caf::typed_actor<caf::result<void>(task_event)>;

/// The API interface. HTTP in, messages out.
using api_actor = caf::typed_actor<
  // An event in the life of a task.
  caf::result<void>(task_event),
  // A request has come, or its client is ready for more. (Sent by I/O threads.)
  caf::result<void>(continuation),
  // Time to check waiting requests. (It sends this to itself.)
  caf::result<void>(tick_atom),
  // Take the handles that it uses.
  caf::result<void>(wire_atom, api_handles)>;

/// The SUPERVISOR interface. Starts, watches and restarts all others.
using supervisor_actor = caf::typed_actor<
  // Start everything; answers when the API listens, or with the reason why it can't.
  caf::result<void>(start_atom),
  // Claim nothing more; answers when the last attempt has ended. A scheduler or an API that restarts meanwhile knows of
  // it.
  caf::result<void>(drain_atom),
  // Stop running attempts: they end as `agent_lost`, and their retry policy applies.
  caf::result<void>(stop_atom),
  // Return all current handles.
  caf::result<directory>(find_atom)>;

} // namespace davit

#include "messages/handles.hpp" // IWYU pragma: export
