// The inside of the API's actor. For api/api_*.cpp alone: one file for each thing that can be asked about.
#pragma once

#include "actors/agent_context.hpp"
#include "api/access.hpp"
#include "api/fair_limit.hpp"
#include "api/fair_turns.hpp"
#include "api/log_stream.hpp"
#include "api/problem.hpp"
#include "json/write.hpp"
#include "messages/actors.hpp"
#include "transport/http_server.hpp"

#include <caf/stateful_actor.hpp>
#include <caf/telemetry/collector/prometheus.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <chrono>
#include <list>
#include <map>
#include <memory>
#include <optional>

namespace davit::api {

using namespace std::chrono_literals;
using transport::exchange_ptr;
using transport::server_response;
using steady = std::chrono::steady_clock;
using self_pointer = api_actor::stateful_pointer<struct api_state>;

inline constexpr duration keep_alive_interval = 15s;

/// What the store is given to answer a request: a database may hang. (A stream that has begun goes on when it answers.)
inline constexpr duration store_limit = 10s;
/// The same where a client has waited already.
inline constexpr duration last_look_limit = 2s;

inline constexpr std::size_t body_bytes_each = 64 << 20; ///< Of bodies under way, for each caller.
inline constexpr std::size_t body_bytes_all = 256 << 20;
/// Requests of one owner that are answered at once: so many look-ups may come before another owner's.
inline constexpr std::size_t turns_each = 32;
inline constexpr std::size_t small_answer = 64 << 10;      ///< It is not counted: the system takes it in.
inline constexpr std::size_t answer_bytes_each = 64 << 20; ///< Of answers that wait for their readers.
inline constexpr std::size_t answer_bytes_all = 256 << 20;
inline constexpr std::size_t archives_each = 1; ///< Of files, which are held in memory until they have been sent.
inline constexpr std::size_t archives_all = 2;
/// A client that takes nothing of an archive for so long gives up its place.
inline constexpr duration archive_stalled = 60s;

/// Of files that are read for a caller, each by a thread of its own.
inline constexpr std::size_t transfers_each = 8;
inline constexpr std::size_t transfers_all = 32;

/// What callers may hold at once: parts of the `most` connections that there may be.
struct caller_limits {
  explicit caller_limits(std::size_t most)
    : requests(std::max<std::size_t>(most / 2, 1), std::max<std::size_t>(most / 4 * 3, 1)),
      streams(std::max<std::size_t>(most / 4, 1), std::max<std::size_t>(most / 2, 1)) {}

  fair_limit requests; ///< Under way. A connection has one at most.
  fair_limit streams;  ///< Logs and events that are followed.
  fair_limit transfers{transfers_each, transfers_all};
  fair_limit bodies{body_bytes_each, body_bytes_all};
};

/// A client that waits for a task to finish.
struct waiting_client {
  exchange_ptr client;
  steady::time_point begun, until;
  bool seen = false; ///< The store has answered that the task has not finished.
};

/// A client that reads events as they happen.
struct event_stream_state {
  exchange_ptr client;
  task_id only;          ///< Nil: of all tasks.
  std::string owner;     ///< Empty: of all owners.
  std::int64_t last = 0; ///< Sequence of the last event sent, or known to be another owner's.
  std::int64_t told = 0; ///< Sequence of the last event that has happened.
  bool caught_up = false;
  bool over = false;
  std::size_t unsent = 0;
  steady::time_point last_written = steady::now();
};

struct api_state {
  static inline const char* name = "api";

  ~api_state() {
    for (const auto& one : servers)
      one->stop();
  }

  context_ptr context;
  api_handles addresses;
  std::vector<std::shared_ptr<transport::http_server>> servers; ///< One for each address; they share their places.
  std::unique_ptr<access_control> access;
  std::optional<caller_limits> limits;                  ///< Once the server listens.
  transport::open_connections::totals counted;          ///< Of the server's connections, in the metrics.
  std::map<const transport::exchange*, caller> audited; ///< Requests under way whose answers are written down.
  std::map<std::weak_ptr<transport::exchange>, standing, std::owner_less<>> standings; ///< Of streams and waits.
  fair_turns<exchange_ptr> turns{turns_each};
  std::vector<std::weak_ptr<transport::exchange>> large; ///< Answers that are counted and may be on their way.
  fair_limit answers{answer_bytes_each, answer_bytes_all};
  fair_limit archives{archives_each, archives_all};
  std::multimap<task_id, waiting_client> waiting;
  std::list<std::shared_ptr<log_stream_state>> logs;
  std::list<std::shared_ptr<event_stream_state>> events;
  caf::telemetry::collector::prometheus collector;
  bool draining = false;
};

/// Runs the work among the actor's messages, if it still lives. From any thread.
void resume(const caf::weak_actor_ptr& actor, std::function<void()> work);
caf::weak_actor_ptr weak(self_pointer self);

void respond(self_pointer self, const exchange_ptr& client, server_response response);

/// An answer that is held in memory until its reader has taken it counts as the caller's; if the caller has too much of
/// that, it becomes a refusal. What changed something is answered whatever waits. respond() does this too, once.
void count_answer(self_pointer self, const exchange_ptr& client, server_response& response);

/// A request that goes on without asking anybody (a stream, a wait) leaves its turn to the owner's next.
void leave_turn(self_pointer self, const exchange_ptr& client);

void respond_json(self_pointer self, const exchange_ptr& client, int status, const json::value& body);

/// 405, with the methods that are allowed.
void refuse_method(self_pointer self, const exchange_ptr& client, const std::string& allowed);

/// Writes down that the caller reads what is another owner's, and goes on when that is written.
void audit_read(self_pointer self, const exchange_ptr& client, const caller& who, std::function<void()> then);

/// Takes a part of what `caller` may hold, for as long as the request lasts. None: it was taken; otherwise the answer.
/// `limit` is the metric's label, `what` says what there would be too much of.
std::optional<server_response> over_limit(self_pointer self, const exchange_ptr& client, fair_limit& from,
                                          const std::string& caller, std::size_t amount, std::string_view limit,
                                          const std::string& what);

/// The answer to a caller who got none, because it holds too much itself or all callers do.
server_response beyond_limit(self_pointer self, const std::string& caller, bool all_taken, std::string_view limit,
                             const std::string& what);

/// An error handler that tells the client; `who` was asked.
inline auto refuse(self_pointer self, exchange_ptr client, std::string who = "the store") {
  return [self, client, who = std::move(who)](const caf::error& e) { respond(self, client, problem_of(e, who)); };
}

// -- tasks: api_tasks.cpp
// ------------------------------------------------------------------------------------------------

void submit(self_pointer self, exchange_ptr client, const caller& who);
/// Does `then` if the caller may: the task is its owner's, or the caller has the scope `others` (then it gets true). To
/// one who may not even see it, the task does not exist.
void if_visible(self_pointer self, exchange_ptr client, const caller& who, task_id id, api_scope others,
                std::function<void(bool)> then, duration limit = store_limit);
void list(self_pointer self, exchange_ptr client, const caller& who);
void show(self_pointer self, exchange_ptr client, task_id id);
void cancel(self_pointer self, exchange_ptr client, const caller& who, task_id id);
/// Submits the task once more.
void retry(self_pointer self, exchange_ptr client, task_id id, const caller& who);
/// Files of a task whose container is there, as a tar.
void files(self_pointer self, exchange_ptr client, task_id id, const caller& who);
void wait(self_pointer self, exchange_ptr client, task_id id);
/// What the store is given to find the task of such a request.
duration patience_of(const exchange_ptr& wait);
/// Answers those whose time to wait is over.
void end_waits(self_pointer self);

// -- files: api_blobs.cpp, api_outputs.cpp, api_caches.cpp
// ------------------------------------------------------------------------------------

/// False: this agent keeps no files, and the client was told so.
bool keeps_files(self_pointer self, const exchange_ptr& client);
/// Blobs, uploads and trees. False: there is nothing at this path.
bool route_files(self_pointer self, const exchange_ptr& client, const caller& who);
/// An owner's caches: a list, or removed.
void caches(self_pointer self, exchange_ptr client, const caller& who);
/// A task's outputs: a list; or one of them, or what is in it, as bytes, as a tar, or (by Accept) as a list.
void outputs(self_pointer self, exchange_ptr client, task_id id, const caller& who);
/// Takes the names of tests out of the task's outputs, for lists.
void leave_counts(task& one);

// -- signed statements: api_attestation.cpp
// -------------------------------------------------------------------------------

/// What the agent says about a finished task, signed.
void attestation(self_pointer self, exchange_ptr client, task_id id, const caller& who);
/// The public key of the agent's signatures.
void signing_key(self_pointer self, exchange_ptr client);

// -- logs: api_logs.cpp
// --------------------------------------------------------------------------------------------------

void logs(self_pointer self, exchange_ptr client, task_id id, const caller& who);
/// Its time is over (`store.retention`): what is missing of its log may have been removed already.
bool is_being_forgotten(self_pointer self, const task& one);
void end_log(self_pointer self, const std::shared_ptr<log_stream_state>& stream);

// -- events: api_events.cpp
// ----------------------------------------------------------------------------------------------

/// Events of one task, or of all that the caller may see: as a list, or (by Accept) as they happen.
void events(self_pointer self, exchange_ptr client, task_id only, const caller& who);
void on_event(self_pointer self, const task_event& event);
void keep_streams_alive(self_pointer self);

// -- tokens that end: api_lapses.cpp
// -------------------------------------------------------------------------------------------

/// Ends the streams and waits of those whose token was revoked or has expired.
void end_lapsed(self_pointer self);
/// Answers a request with 401 if it would not be let in now. False: it would be.
bool refuse_lapsed(self_pointer self, exchange_ptr client);

// -- the agent itself: api_agent.cpp
// -------------------------------------------------------------------------------------

void engines(self_pointer self, exchange_ptr client);
void agents(self_pointer self, exchange_ptr client);
void drain(self_pointer self, exchange_ptr client, const std::string& asked);
/// `in_detail`: which engines there are, and what is wrong with them.
void ready(self_pointer self, exchange_ptr client, bool in_detail);
void sinks(self_pointer self, exchange_ptr client, const caller& who);
/// The agent's metrics; to who may not read those, its owner's alone. A caller without scopes is anybody.
void metrics_page(self_pointer self, exchange_ptr client, const caller& who);

} // namespace davit::api
