// The logs that a sink has to send: how far each has come, and whose turn it is. Without CAF.
#pragma once

#include "actors/sink_positions.hpp"
#include "messages/log.hpp"
#include "shipping/log_format.hpp"

#include <chrono>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <utility>

namespace davit {

struct shipped_log {
  std::uint64_t offset = 0; ///< Up to which it was sent.
  std::uint64_t size = 0;   ///< As far as it is known.
  bool measured = false;    ///< It does not grow any more, or is not with the log keeper any more.
  bool busy = false;        ///< Being read, or sent.
  bool begun_again = false; ///< Its offset was not one of its records': it is sent from the beginning once more.
  std::uint64_t id = 0;     ///< Of this entry: a log that was dropped and comes again has another one.
  std::uint32_t life = 0;   ///< Another one when it goes back, or on: what was read before counts no more.
  std::shared_ptr<const shipping::log_names> names; ///< Known once the store has told.

  std::uint64_t backlog() const { return size > offset ? size - offset : 0; }
};

/// A log that is read, or sent, as it was when that began.
struct sink_turn {
  attempt_key key;
  std::uint64_t id = 0;
  std::uint32_t life = 0;
};

class sink_logs {
public:
  using moment = std::chrono::steady_clock::time_point;

  /// The offset of a log that is not sent any further.
  static constexpr std::uint64_t given_up = std::numeric_limits<std::int64_t>::max();

  /// Takes up what was kept.
  void restore(const sink_positions& kept, moment now);

  /// What is to be kept; all but `at`.
  sink_positions positions() const;

  /// The log is written, and has `size` bytes by now: it is read from there at most. True: it has gone back, and pages
  /// of it are worth nothing.
  bool opened(const attempt_key& key, std::uint64_t size);

  /// The log was written to at some time: it is sent from its beginning, unless it is known.
  void found(const attempt_key& key);

  /// The next log to be read, which is busy from now on; none: no log waits.
  std::optional<sink_turn> next();

  /// The log, if it is still as it was; one that has gone back or on meanwhile is to be read again, and null.
  shipped_log* still(const sink_turn& turn);

  /// The log is to be read on.
  void requeue(const attempt_key& key);

  /// The log is sent up to `offset`, and not from there on.
  void drop(const attempt_key& key, std::uint64_t offset, moment now);

  /// Forgets logs that were dropped before.
  void forget(moment before);

  std::size_t count() const noexcept { return logs_.size(); }

  /// How many wait to be read; some may be named that are gone.
  std::size_t waiting() const noexcept { return idle_.size(); }

  /// Bytes that wait to be sent, as far as they are known.
  std::uint64_t backlog() const;

  /// Passes over what waits of the oldest log; its name, and how many bytes that was. A log that still grows is sent on
  /// from there. None: nothing waits.
  std::optional<std::pair<attempt_key, std::uint64_t>> skip_oldest(moment now);

  /// Some of the logs that may have grown.
  std::vector<attempt_key> unmeasured(std::size_t most) const;

  /// The sizes of those of `asked` that are with the log keeper.
  void measured(const std::vector<attempt_key>& asked, const std::vector<log_extent>& sizes);

private:
  struct dropped_log {
    std::uint64_t offset = 0;
    moment at;
  };
  shipped_log& add(const attempt_key& key, std::uint64_t offset);

  std::map<attempt_key, shipped_log> logs_;
  std::map<attempt_key, dropped_log> done_; ///< Lately.
  std::deque<attempt_key> idle_;
  std::uint64_t last_id_ = 0;
};

} // namespace davit
