// The queue's order, the fleet's limits, and what a claim takes. Pure: rows in, decisions out; no clock, no store.
#pragma once

#include "messages/attempt.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace davit {

/// Where a queued task stands: the larger priority goes first, then the smaller turn, then the smaller id.
struct queue_place {
  std::int64_t priority = 0;
  std::int64_t turn = 0; ///< See next_turn.
  std::string id;        ///< Of the task, as text; empty: before all tasks of this priority and turn.

  bool operator==(const queue_place&) const = default;
};

bool goes_before(const queue_place& one, const queue_place& other);

/// The turn that an owner's next task gets (start-time fair queueing): behind the owner's last one, and not before
/// `first`, the turn of the first task that waits. So owners take turns, and who comes late gets nothing for not
/// having asked before.
std::int64_t next_turn(std::int64_t last, std::int64_t first);

/// Queued tasks that the same engines can take: the store's index holds them together, in the queue's order.
struct queue_lane {
  std::string pinned;              ///< The only agent that may have them; empty: any.
  std::string placement;           ///< The labels that they want, as the store has them.
  std::vector<std::string> wanted; ///< The same labels.
  queue_place first;               ///< Where the first of them stands, without its id.
};

/// A queued task as the store has it. Only its place is known here; queue_reader::whole makes a task of the rest.
struct queued_row {
  queue_place place;
  std::int64_t attempts = 0; ///< That it has had.
  std::int64_t created_at = 0;
  std::int64_t not_before = 0;
  std::string owner, name, message, spec, secrets;
};

/// Tasks with a label, of one owner or (none) of all.
struct label_group {
  std::string name, value;
  std::optional<std::string> owner;

  auto operator<=>(const label_group&) const = default;
};

/// What the limits keep in the queue for now.
struct full_limits {
  std::vector<std::string> owners;
  std::vector<label_group> labels;

  bool empty() const { return owners.empty() && labels.empty(); }
};

/// How many tasks run, by what the limits of placement_rules count.
struct running_counts {
  std::map<std::string, std::int64_t> owners;
  std::map<label_group, std::int64_t> labels; ///< Of each owner.
};

/// The limits on what runs at once in the whole fleet, and how much of them is taken.
class limit_usage {
public:
  limit_usage(placement_rules rules, running_counts running) : rules_(std::move(rules)), running_(std::move(running)) {}

  /// A sentence for each limit that a task of this owner with these labels would exceed.
  std::vector<std::string> reached(const std::string& owner, const std::map<std::string, std::string>& labels) const;

  /// One more of them runs.
  void add(const std::string& owner, const std::map<std::string, std::string>& labels);

  full_limits full() const;

private:
  std::int64_t running_in(const label_group& group) const;

  placement_rules rules_;
  running_counts running_;
};

/// How the queue is read. The store's rows may be read in pages: nobody needs the whole of a long queue.
class queue_reader {
public:
  virtual ~queue_reader() = default;

  /// The lane's rows in the queue's order: behind `after` (none: from the beginning), at most `count`, without those
  /// that a full limit keeps. Fewer than `count`: the lane ends there.
  virtual std::vector<queued_row>
  rows(const queue_lane& lane, const std::optional<queue_place>& after, std::size_t count, const full_limits& full) = 0;

  /// The task of a row, without the attempts that it has had.
  virtual task whole(const queued_row& row) = 0;

  /// The ids of the reachable engines that hold an image.
  virtual const std::vector<std::string>& holders(const std::string& image) = 0;
};

/// Several lanes as one queue.
class merged_queue {
public:
  struct entry {
    const queue_lane* lane = nullptr; ///< Valid until leave().
    queued_row row;
  };

  merged_queue(std::vector<queue_lane> lanes, queue_reader& reader);

  /// The next row; none: the queue's end. Reads about as many at a time as there is room for.
  std::optional<entry> next(std::size_t room, const full_limits& full);

  /// Nothing more of this placement.
  void leave(const std::string& placement);

private:
  struct open_lane {
    queue_lane lane;
    std::deque<queued_row> read{};
    std::optional<queue_place> last{}; ///< That was read.
    bool more = true;                  ///< There may be more to read.

    const queue_place& place() const;
  };

  void fill(open_lane& one, std::size_t room, const full_limits& full);

  std::vector<open_lane> lanes_;
  queue_reader& reader_;
};

/// A queued task, and the offer that takes it.
struct claim_choice {
  queued_row row;
  davit::task task; ///< As queue_reader::whole has made it.
  std::size_t offer = 0;
};

struct claim_plan {
  std::vector<claim_choice> taken;     ///< In the queue's order.
  std::optional<timestamp> look_again; ///< When the first task that waits for an engine with its image waits no longer.
};

/// What a claim takes: in the queue's order, each task that an offer has room for and no limit keeps. A task whose
/// image is held by other engines alone waits for them, as long as the rules say. `now` is what the rows' times are
/// compared with.
claim_plan plan_claim(std::vector<queue_lane> lanes, std::vector<engine_offer> offers, const placement_rules& rules,
                      limit_usage usage, timestamp now, queue_reader& reader);

} // namespace davit
