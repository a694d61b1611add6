// How an engine fares: a state machine over what its connection hears. Pure; no CAF, no clock.
#pragma once

#include "messages/engine.hpp"

#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace davit {

/// How an engine's health is judged.
struct health_settings {
  duration ping_interval{3000};
  duration ping_deadline{3000};
  int misses_until_down = 3; ///< The first makes it degraded.
  duration least_backoff{100};
  duration most_backoff{5000};
};

struct engine_health {
  engine_state state = engine_state::connecting;
  std::string message;     ///< Why it is not ready; empty if it is.
  int misses = 0;          ///< Pings in a row without an answer.
  duration backoff{0};     ///< The last one.
  bool checking = false;   ///< An answer is awaited: nothing else is asked until it has come.
  bool has_events = false; ///< Its event stream is open, or is being opened.
  bool operator==(const engine_health&) const = default;
};

/// What the connection hears.
namespace heard {

/// It is there.
struct beginning {};
/// The engine has told who it is. In doubt: it may have been restarted since it was known last.
struct identity {
  bool in_doubt = true;
};
/// Its event stream is open.
struct events_open {};
/// Whether it was restarted meanwhile is known.
struct proof {};
/// It has answered a ping.
struct answer {};
/// No answer, or a bad one. Certain: no engine serves the address now, or none that will talk to davit.
struct failure {
  std::string message;
  bool certain = false;
};
/// The engine did not open its event stream.
struct events_refused {
  std::string message;
};
/// The event stream has ended, after it was open for so long.
struct events_ended {
  duration lasted{0};
};
/// The time to look again.
struct tick {};

} // namespace heard

using health_event = std::variant<heard::beginning, heard::identity, heard::events_open, heard::proof, heard::answer,
                                  heard::failure, heard::events_refused, heard::events_ended, heard::tick>;

/// What the connection is to do, in this order.
enum class health_action : std::uint8_t {
  connect,     ///< Ask who the engine is.
  ping,        ///< Ask whether it is there.
  open_events, ///< Open its event stream.
  prove,       ///< Ask whether it is the process that it was.
  doubt,       ///< It may be restarted from now on.
  announce,    ///< Tell how it fares.
  drop_calls,  ///< End what is under way: whoever asked knows better what to do with an early no.
};

struct health_step {
  engine_health next;
  std::vector<health_action> actions;
  std::optional<duration> tick; ///< After this time, and not before; replaces the one that was set before.
};

/// `chance` from 0 to 1 takes up to half of a backoff away, so that many agents do not come back at once.
health_step next_health(engine_health now, const health_event& event, const health_settings& settings, double chance);

/// Whether an error tells that no engine serves the address now, or none that will talk to davit.
bool is_certain(engine_errc code);

} // namespace davit
