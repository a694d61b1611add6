// An agent's lease in a shared store, as the agent itself counts it. Pure: the time comes with each call.
#pragma once

#include "messages/units.hpp"

#include <chrono>
#include <optional>

namespace davit {

class agent_lease {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// `length`: how long after a heartbeat the store lets nobody else have what the agent works at.
  explicit agent_lease(duration length) : length_(length) {}

  bool held() const { return from_.has_value(); }

  /// Another agent has this one's name.
  bool refused() const { return refused_; }

  /// No heartbeat is under way, and the last one was sent long enough ago.
  bool beat_due(time_point now) const;

  void beat_sent(time_point now);

  /// An answer that comes so late does not count: others may have counted the time already.
  bool is_late(time_point sent, time_point now) const { return now - sent > length_ / 3; }

  /// The heartbeat that was sent then has been answered. False: the lease is refused.
  void answered(bool granted, time_point sent, time_point now);

  /// It has not been answered: the next one is due.
  void unanswered() {
    beating_ = false;
    beaten_.reset();
  }

  /// The store has not been reached for so long that what runs must be given up before others take it over.
  bool must_give_up(time_point now) const;

  /// Others may have taken over by now.
  bool over(time_point now) const;

  void lose();

  /// It has been held for its own length without a break. An agent that has just come back, or could not reach the
  /// store itself, adopts nothing until then: so a database that was away for all does not make all take everything.
  bool steady(time_point now) const;

private:
  duration length_;
  std::optional<time_point> from_;  ///< When the heartbeat was sent that the lease rests on.
  std::optional<time_point> since_; ///< Without a break.
  std::optional<time_point> beaten_;
  bool beating_ = false;
  bool refused_ = false;
};

} // namespace davit
