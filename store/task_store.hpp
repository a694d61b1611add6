// Where tasks live. An accepted task is here before anybody is told so.
#pragma once

#include "messages/attempt.hpp"
#include "messages/engine.hpp"
#include "messages/errors.hpp"
#include "messages/fleet.hpp"
#include "messages/log.hpp"

#include <boost/system/result.hpp>
#include <boost/assert/source_location.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace davit::store {

using errc = store_errc;

struct error {
  errc code = errc::none;
  std::string message;
  bool away = false; ///< The database could not be reached: what is tried next at once fails in the same way, and takes
                     ///< as long.
  bool in_doubt = false; ///< The answer to a COMMIT was lost: it may have been done. Whoever does the same again finds
                         ///< out.
};

template <class T>
using result = boost::system::result<T, error>;

[[noreturn]] inline void throw_exception_from_error(const error& e, const boost::source_location&) {
  throw std::runtime_error(e.message);
}

/// Of all owners together.
inline task_counts sum_of(const std::vector<owner_counts>& owners) {
  task_counts all;
  for (const auto& one : owners) {
    all.queued += one.tasks.queued;
    all.starting += one.tasks.starting;
    all.running += one.tasks.running;
  }
  return all;
}

struct new_task {
  task_id id; ///< Made once: accepting the same id again, because an answer was lost, makes no second task.
  task_spec spec;
  std::string pinned; ///< The only agent that may claim it; empty: any.
  timestamp created_at;
  std::vector<std::string> wants{}; ///< Labels that an engine must offer beside those that the spec names.
  std::string owner{};              ///< Who has submitted it: owners take turns.
};

/// How large SQLite's write-ahead log may become while a reader holds a snapshot, which keeps it from being written
/// back.
struct sqlite_limits {
  std::uint64_t warn_wal = 64ull << 20;
  std::uint64_t most_wal = 512ull << 20; ///< From here on no task is accepted.
};

class blob_catalogue;

/// One session. Not thread-safe. Every function is one transaction of its own, unless it runs within a batch().
class task_store {
public:
  virtual ~task_store() = default;

  /// `sqlite:///path/to/file.db`, or `postgresql://user@host/database`. Makes the file and brings its schema up to
  /// date. A database of a newer schema, a file that is none, a folder that is not there: `unavailable`, and nothing is
  /// changed.
  static result<std::unique_ptr<task_store>> open(const std::string& url, sqlite_limits limits = {});

  /// What an operator should know though all works (a reader that keeps SQLite's WAL from being written back); empty:
  /// nothing.
  virtual std::string warning() const = 0;

  /// Whether several agents may work with it: then their leases count, and engines' slots are shared between them.
  virtual bool shared() const = 0;

  /// Runs `work` in one transaction and returns when it is on the disk. If that fails nothing of it has happened. Where
  /// another session's transaction comes between, `work` is run again from its beginning: it must not rely on what it
  /// did before.
  virtual result<void> batch(const std::function<void()>& work) = 0;

  /// Durable once this (or the batch around it) has returned.
  virtual result<task_receipt> accept(const new_task& task) = 0;

  /// Gives the attempts that the asker owns and does not work at; then makes attempts for the queued tasks that
  /// policy/queue.hpp picks for its offers. May be repeated: see claim_request. `private_only`: tasks pinned to the
  /// asker alone.
  virtual result<claim_answer> claim(const claim_request& request, bool private_only) = 0;

  /// The queued tasks that come next on an engine with these labels, at most so many, without their attempts.
  /// `private_only`: those pinned to `agent` alone.
  virtual result<task_page>
  next_tasks(const std::string& agent, bool private_only, const std::vector<std::string>& labels, std::uint32_t limit)
    = 0;

  /// The rules' limits that are reached by what runs and that a queued task falls under: a sentence for each.
  virtual result<std::vector<std::string>> limits_reached(const task& queued, const placement_rules& rules) = 0;

  /// Writes down that the agent lives, and gives it the lease from now on, by the database's clock. False: another
  /// agent of this name (from another data directory) has a lease; nothing was written.
  virtual result<bool> heartbeat(const agent_status& agent, duration lease) = 0;

  /// Ends the agent's lease now: what it has left may be adopted.
  virtual result<void> retire(const std::string& agent, uuid incarnation) = 0;

  /// All agents that were ever heard of, by name.
  virtual result<std::vector<agent_status>> agents() = 0;

  /// Hands over what agents whose leases are over have left: see adoption.
  virtual result<adoption> adopt(const adopt_request& request) = 0;

  /// Finishes, as `timed_out`, the queued tasks whose queue timeout is over by `now`; answers how many.
  virtual result<std::uint32_t> expire(timestamp now) = 0;

  /// Tasks that were finished before `before`, at most `limit` of them, oldest first.
  virtual result<std::vector<task_id>> finished_before(timestamp before, std::uint32_t limit) = 0;

  /// Keeps a block of a finished attempt's log; the blocks count when all are there.
  virtual result<void>
  put_log(const attempt_key& key, std::uint32_t index, std::uint32_t count, const std::string& bytes) = 0;

  /// A block of it; count 0: the log is not there, or not whole.
  virtual result<log_block> get_log(const attempt_key& key, std::uint32_t index) = 0;

  /// Forgets tasks with all that belongs to them. Those that are not finished stay.
  virtual result<void> forget(const std::vector<task_id>& tasks) = 0;

  /// Writes down that davit has pulled an image, now.
  virtual result<void> image_pulled(const std::string& engine_id, const std::string& name) = 0;

  /// Images that davit has pulled to the engine and that no attempt has used since `before`, longest unused first.
  virtual result<std::vector<std::string>> images_unused(const std::string& engine_id, timestamp before) = 0;
  virtual result<void> forget_image(const std::string& engine_id, const std::string& name) = 0;

  /// Whether the owner may use the image without asking the registry; without an image id: any image of that name.
  virtual result<bool> may_use_image(const image_grant& wanted) = 0;

  /// Writes down how far a pull has come that brings an image for its owner alone, or (`done`, not `own`) for all.
  virtual result<void> pull_of_image(const image_grant& what, pull_stage stage) = 0;

  /// Whether there is or was such a pull at all: else every owner may use every image.
  virtual result<bool> guards_images() = 0;

  /// Takes down the volumes of an engine that are `seen` there and not known. Then: a volume there that no attempt has
  /// used for `age` and that no unfinished task names, if there is one; until the end of its removal is told, at most
  /// some minutes, no attempt with it is made on that engine.
  virtual result<std::vector<volume_key>>
  take_unused_volume(const std::string& engine_id, duration age, const std::vector<volume_key>& seen) = 0;

  /// What became of it: it is gone, or something uses it, which counts as a use.
  virtual result<void> volume_removal_ended(const std::string& engine_id, const volume_key& volume, bool gone) = 0;

  /// The owners' files. It shares this session, also its batches.
  virtual blob_catalogue& blobs() = 0;

  virtual result<void> record(const attempt_progress& progress) = 0;

  /// The open attempts of tasks that any agent may run become this agent's, whatever name theirs had; how many those
  /// were. Only for a store that one such agent has alone, before it claims.
  virtual result<std::size_t> take_name(const std::string& agent) = 0;

  /// Ends an attempt; the task is finished, or queued again if the result says when. Returns the task's state then.
  /// Storing the same result again, because an answer was lost, changes nothing.
  virtual result<task_state> finish(const attempt_result& result) = 0;

  /// Marks the task; a queued one is finished at once. Cancelling a finished one changes nothing. `within`: its
  /// container is to be killed by then; that can be shortened later, and not lengthened.
  virtual result<task> cancel(task_id id, std::optional<duration> within = {}) = 0;

  /// How long until a cancelled task's container is to be killed, by the database's clock; duration::max(): nobody has
  /// limited it.
  virtual result<duration> time_to_kill(task_id id) = 0;

  /// The newest success of the same owner's tasks that was stored with this `memo`, and has an empty one's fields if
  /// there is none. It is written down as the answer of this attempt: until that is forgotten, it is not forgotten
  /// either. `fenced` as with `record`.
  virtual result<memo_answer> recall(const attempt_token& token, const std::string& memo) = 0;

  /// A task; with an `owner`, only if it is this owner's: another's is looked for and not found as if it were not
  /// there.
  virtual result<task> get(task_id id, const std::string& owner = {}) = 0;

  /// Newest first. A page ends early, with `next`, before a task whose spec makes it longer than some megabytes.
  virtual result<task_page> list(const task_query& query) = 0;

  /// Events after `sequence`, oldest first; of one task, or of all (nil).
  virtual result<std::vector<task_event>>
  events(std::int64_t sequence, task_id only, std::uint32_t limit, const std::string& owner = {}) = 0;
  virtual result<std::int64_t> last_event() = 0;

  /// The attempts of `agent` whose end was stored since a time by its own clock, in the order of commits; 10 000 events
  /// are looked through at once.
  virtual result<ended_attempts> ended_since(const std::string& agent, timestamp since, std::int64_t after) = 0;

  /// The events since the store was opened, or since this was asked last: whoever wrote them, oldest first, a thousand
  /// or so at a time. None: that was all.
  virtual result<std::vector<task_event>> news() = 0;
  /// The unfinished tasks of each owner that has any.
  virtual result<std::vector<owner_counts>> counts() = 0;
};

} // namespace davit::store
