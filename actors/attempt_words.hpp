// What an attempt asks of others, what can happen to it, and what is to be done for it. See actors/attempt.hpp.
#pragma once

#include "actors/outcome_rules.hpp"
#include "messages/attempt.hpp"
#include "messages/engine.hpp"
#include "messages/errors.hpp"
#include "messages/log.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

namespace davit {

using steady_time = std::chrono::steady_clock::time_point;

/// What an error was about, with a sentence for people. One of the codes is set.
struct failure {
  engine_errc engine = engine_errc::none;
  store_errc store = store_errc::none;
  log_errc log = log_errc::none;
  std::string text;
  files_errc files = files_errc::none;
};

// -- what is asked of others -----------------------------------------------------------------------------------------

/// Each is answered once: by `reply` with a value of its `answer`, or by `refusal`. Answers to a step that is over are
/// dropped, but for those of a `lasting` question, which are heard as long as its container is the attempt's.
namespace ask {

struct nothing {};

struct step_bound {
  static constexpr bool lasting = false;
};
struct lasting_one {
  static constexpr bool lasting = true;
};

/// The executor itself: what the policy lets the task do, and its secrets in clear.
struct judge : step_bound {
  policy_profile profile = policy_profile::baseline;
  struct answer {
    task_spec effective;
    std::string forbidden;  ///< What the policy has against it, in words; empty: nothing.
    std::string unreadable; ///< Why its secrets can't be read; empty: they can.
    std::map<std::string, secret> secrets;
  };
};

// The engine's connection.
struct inspect : step_bound {
  using answer = container_status;
  std::string which; ///< A name or an id.
};
struct list_containers : step_bound {
  using answer = std::vector<container_summary>;
  std::vector<std::string> labels;
};
struct count_processes : step_bound {
  using answer = std::uint32_t;
  std::string container;
};
struct history : step_bound {
  using answer = std::vector<engine_event>;
  std::string container;
  timestamp since;
};
/// The first line that the container wrote.
struct first_line : step_bound {
  using answer = std::string;
  std::string container;
};
struct pull_image : step_bound {
  using answer = nothing;
  std::string image;
  duration limit{0};
  secret credentials;
};
struct look_up_image : step_bound {
  using answer = image_info;
  std::string image;
};
struct create : step_bound {
  using answer = std::string; ///< The container's id.
  container_plan plan;
};
struct start : step_bound {
  using answer = bool;
  std::string container;
  std::string files; ///< A tar to unpack into it first.
};
struct hand_over : step_bound {
  using answer = nothing;
  std::string container;
  std::string message;
  bool more = false; ///< Standard input follows.
};
struct stop : step_bound {
  using answer = bool; ///< It was running.
  std::string container;
  duration grace{0};
};
struct remove : step_bound {
  using answer = nothing;
  std::string which;
};
/// Until the container does not run any more.
struct wait : lasting_one {
  using answer = std::int64_t;
  std::string container;
};
struct follow_log : lasting_one {
  using answer = log_end;
  log_request what;
};
struct read_log : step_bound {
  using answer = log_end;
  log_request what;
};
/// Answered when the engine has all, or the container had ended. Refused but as `cancelled`: the container may have
/// read an end of its input that is not its end.
struct feed : lasting_one {
  using answer = nothing;
  std::string container;
  std::string bytes;
};
/// Of a sandbox that has not begun its task, and of what has no more time: each within seconds, and without waiting
/// for the engine.
struct first_line_now : step_bound {
  using answer = std::string;
  std::string container;
};
struct inspect_now : step_bound {
  using answer = container_status;
  std::string which;
};
struct kill_now : step_bound {
  using answer = bool;
  std::string container;
};
/// Removes within a time, and does not wait for the engine.
struct remove_now : step_bound {
  using answer = nothing;
  std::string which;
  duration limit{0};
};

// The sandbox keeper.
struct take_sandbox : step_bound {
  using answer = sandbox;
  container_plan plan;
  bool even_if_it_failed = false;
};
struct take_network : step_bound {
  using answer = sandbox;
  container_plan plan;
};
struct put_init : step_bound {
  using answer = nothing;
  std::string image;
};

// The store keeper.
struct record : step_bound {
  using answer = nothing;
  attempt_progress what;
};
/// An earlier success of the same, which is this attempt's answer from then on.
struct recall : step_bound {
  using answer = memo_answer;
  std::string memo;
};
/// Whether the task's owner may use an image without asking the registry.
struct may_use : step_bound {
  using answer = bool;
  image_grant what;
};
struct record_pull : step_bound {
  using answer = nothing;
  image_grant what;
  pull_stage stage = pull_stage::begun;
};
struct record_start : lasting_one {
  using answer = nothing;
  attempt_progress what;
};
/// How long its container may run, where the policy says so and not the task, and whether its standard input is under
/// way. Like that of a stop, the row is of an attempt that has not ended (actors/attempt_terms.hpp).
struct record_terms : lasting_one {
  using answer = nothing;
  attempt_result what;
};
/// Why davit stops the container, before it does: whoever takes the attempt up afterwards must know.
struct record_stop : step_bound {
  using answer = nothing;
  attempt_result what;
};
struct finish : step_bound {
  using answer = nothing;
  attempt_result what;
};

// The file keeper.
/// What each cache begins with.
struct choose : step_bound {
  using answer = std::vector<used_cache>;
  cache_order what;
};
/// Unpacks the inputs and caches into the container, which does not run its command yet.
struct fill : step_bound {
  using answer = nothing;
  fill_order what;
};
/// Those of its trees that the engine has ready.
struct find_prepared : step_bound {
  using answer = prepared_trees;
  prepared_query what;
};
/// Collects the outputs from the container, which has ended, and keeps its caches.
struct gather : step_bound {
  using answer = collected_files;
  collect_order what;
};

// The log keeper.
struct open_log : step_bound {
  using answer = log_lease;
};
struct close_log : step_bound {
  using answer = log_summary;
  bool tail = false;
};
struct note_log : step_bound {
  using answer = nothing;
  std::string text;
};

} // namespace ask

template <class... Ts>
struct type_list {
  template <template <class...> class Into, template <class> class Wrap = std::type_identity_t, class... More>
  using into = Into<More..., Wrap<Ts>...>;

  template <class T>
  static constexpr std::size_t index_of() {
    std::size_t at = 0, found = sizeof...(Ts);
    ((std::is_same_v<T, Ts> ? void(found = at) : void(), ++at), ...);
    return found;
  }
  static constexpr std::size_t size = sizeof...(Ts);
};

using questions
  = type_list<ask::judge, ask::inspect, ask::list_containers, ask::count_processes, ask::history, ask::first_line,
              ask::pull_image, ask::look_up_image, ask::create, ask::start, ask::hand_over, ask::stop, ask::remove,
              ask::wait, ask::follow_log, ask::read_log, ask::feed, ask::first_line_now, ask::inspect_now,
              ask::kill_now, ask::remove_now, ask::take_sandbox, ask::take_network, ask::put_init, ask::record,
              ask::may_use, ask::record_pull, ask::record_start, ask::record_terms, ask::record_stop, ask::finish,
              ask::open_log, ask::close_log, ask::note_log, ask::fill, ask::gather, ask::choose, ask::recall,
              ask::find_prepared>;

/// The questions by name, in the order of the list.
enum class asked : std::uint8_t {
  judge,
  inspect,
  list_containers,
  count_processes,
  history,
  first_line,
  pull_image,
  look_up_image,
  create,
  start,
  hand_over,
  stop,
  remove,
  wait,
  follow_log,
  read_log,
  feed,
  first_line_now,
  inspect_now,
  kill_now,
  remove_now,
  take_sandbox,
  take_network,
  put_init,
  record,
  may_use,
  record_pull,
  record_start,
  record_terms,
  record_stop,
  finish,
  open_log,
  close_log,
  note_log,
  fill,
  gather,
  choose,
  recall,
  find_prepared
};
DAVIT_ENUM_TEXT(asked, 39, "judge", "inspect", "list_containers", "count_processes", "history", "first_line",
                "pull_image", "look_up_image", "create", "start", "hand_over", "stop", "remove", "wait", "follow_log",
                "read_log", "feed", "first_line_now", "inspect_now", "kill_now", "remove_now", "take_sandbox",
                "take_network", "put_init", "record", "may_use", "record_pull", "record_start", "record_terms",
                "record_stop", "finish", "open_log", "close_log", "note_log", "fill", "gather", "choose", "recall",
                "find_prepared")

template <class Ask>
inline constexpr asked name_of = static_cast<asked>(questions::index_of<Ask>());

/// The engine itself has answered such a question: its connection works. (The sandbox keeper may answer from memory.)
template <class Ask>
inline constexpr bool is_of_engine = name_of<Ask> > asked::judge&& name_of<Ask> < asked::take_sandbox;

// -- what can happen -------------------------------------------------------------------------------------------------

enum class timer : std::uint8_t {
  engine_retry, ///< The engine answers others: it is asked again.
  engine_grace, ///< The engine's grace may be over.
  again,        ///< Of what the step does over and over.
  first_look,   ///< The log is followed from now on.
  beginning,    ///< A sandbox should have begun its task.
  timeout,      ///< Of the task.
  forgo,        ///< The rest of a cancelled task's log is not waited for.
  patience,     ///< A container that ends by itself is not waited for any longer.
  kill,         ///< A stop has no more time.
};
DAVIT_ENUM_TEXT(timer, 9, "engine_retry", "engine_grace", "again", "first_look", "beginning", "timeout", "forgo",
                "patience", "kill")

template <class Ask>
struct reply {
  typename Ask::answer value;
};
struct refusal {
  asked what = asked::judge;
  failure why;
};
struct begun {}; ///< The executor is there.
struct engine_changed {
  engine_status status;
};
struct peers_changed {
  bool has_keeper = false;
}; ///< Other actors were started again; the engine has a sandbox keeper.
struct cancel_asked {
  std::optional<duration> within{}; ///< Its container is to be killed by then, whatever stop_timeout it has.
};
struct drain_asked {};
struct fenced {
  bool clear = false;
}; ///< The attempt is another's. True: others can't have it yet, and must find no container of it.
struct pull_moved {
  pull_progress how_far;
};
struct timer_fired {
  timer which = timer::again;
};

using event = questions::into<std::variant, reply, begun, refusal, engine_changed, peers_changed, cancel_asked,
                              drain_asked, fenced, pull_moved, timer_fired>;

// -- what is to be done ----------------------------------------------------------------------------------------------

namespace act {

struct wake {
  timer which = timer::again;
  duration after{0};
};
/// The engine connection ends this attempt's requests.
struct withdraw {};
/// The container has ended: its log is not followed on if it gives nothing more, and its input not passed on.
struct end_following {};
/// Its container is gone, and the volumes go that were made for it.
struct release {};
/// A container had ended before its task began: the keeper looks at its init.
struct doubt_init {};
/// Removed if it can be; the reaper sees to it otherwise.
struct forget_container {
  std::string which;
};
/// The image is davit's: it was pulled for a task.
struct remember_image {
  std::string image;
};
/// The engine has said that a pull with the task's own credentials brought nothing.
struct forget_pull {
  image_grant what;
};
struct note {
  std::string text;
};                       ///< Into the log; nothing waits for it.
struct log_is_stored {}; ///< With the outcome.
struct free_slot {};
struct leave {}; ///< The executor ends.
struct crash {
  std::string_view where;
};

struct phase_took {
  std::string name;
  double seconds = 0;
};
struct queue_took {
  double seconds = 0;
};
struct start_took {
  double seconds = 0;
};
struct pull_ended {
  bool good = false;
};
struct attempt_began {
  bool warm = false;
};
struct attempt_resumed {};
struct memory_killed {};
struct task_ended {
  outcome how = outcome::failed;
  std::string message;
};

enum class level : std::uint8_t { debug, warning, error };
struct say {
  act::level level = act::level::warning;
  std::string text;
}; ///< In the agent's own log.
/// The step can't have caused the event: a mistake in the transitions.
struct unexpected {
  std::string_view step;
  std::string event;
};

} // namespace act

using action = questions::into<std::variant, std::type_identity_t, act::wake, act::withdraw, act::release,
                               act::end_following, act::doubt_init, act::forget_container, act::remember_image,
                               act::forget_pull, act::note, act::log_is_stored, act::free_slot, act::leave, act::crash,
                               act::phase_took, act::queue_took, act::start_took, act::pull_ended, act::attempt_began,
                               act::attempt_resumed, act::memory_killed, act::task_ended, act::say, act::unexpected>;

} // namespace davit
