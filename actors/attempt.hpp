// One attempt's life, one step at a time. Pure: no actors, no I/O, no clock and no randomness of its own.
//
// attempt.hpp          the steps, and `next`
// attempt_words.hpp    what is asked, what can happen, what is to be done
// attempt_machine.hpp  the transitions, as one overload per step and event
// attempt_machine.cpp  what is alike in all steps: trouble with the engine, cancel, fence
// attempt_waits.cpp    what each step waits for
// attempt_begin.cpp    judging and recovering
// attempt_image.cpp    whether an image may be used, and pulling
// attempt_prepare.cpp  preparing, creating
// attempt_files.cpp    what caches begin with; filling, gathering
// attempt_memo.cpp     whether an earlier success is the answer
// attempt_start.cpp    starting
// attempt_run.cpp      running
// attempt_collect.cpp  collecting
// attempt_report.cpp   reporting, removing
// attempt_terms.hpp    what its row says of it while it runs
// executor.cpp         the actor that does what `next` says
#pragma once

#include "actors/agent_settings.hpp"
#include "actors/attempt_words.hpp"

#include <memory>
#include <optional>
#include <utility>

namespace davit {

// -- the steps -------------------------------------------------------------------------------------------------------

/// What the policy says of the task; and before that, that the engine has said what it is.
struct judging {};

/// The attempt's container tells how far it has come.
struct recovering {
  enum class looking : std::uint8_t { by_name, by_labels, by_id, inside, whether_begun } at = looking::by_name;
  std::optional<container_status> found;         ///< inside, whether_begun
  std::chrono::steady_clock::time_point until{}; ///< inside: when what has not begun by then is given up.
};

struct pulling {
  steady_time begun;
  duration limit{0}; ///< What is left of `whole`.
  duration whole{0};
  pull_progress how_far;
  /// Who may use what a pull brings is written down around it: what the name stands for before, and after.
  enum class doing : std::uint8_t { look_before, announce, pull, look_after, record } at = doing::pull;
  std::string image_id{}; ///< announce, record
};

/// How the task comes to a container: a sandbox, a network that waits, an init.
struct preparing {
  /// memo_image, recalling: whether an earlier success of the same image is the answer. The last three: whether the
  /// image is its owner's to use, with a look at what its name stands for if it may not be.
  enum class doing : std::uint8_t {
    choosing,  ///< What its caches begin with,
    recording, ///< which is written down, so that whoever takes the attempt up unpacks the same.
    ready,     ///< Whether the engine has its trees ready.
    sandbox,
    network,
    image,
    init,
    unrecording,
    discarding,
    memo_image,
    recalling,
    rights,
    look_up,
    right
  } at = doing::sandbox;
  std::string which; ///< unrecording, discarding: the container that goes; right: the image's id; recalling: the memo
  std::optional<steady_time> trouble_since{}; ///< choosing: since when that can't be found out.
};

struct creating {
  enum class doing : std::uint8_t { create, check_image, look_twice } at = doing::create;
  failure why; ///< look_twice
};

/// Caches and inputs are unpacked into the container.
struct filling {
  std::optional<steady_time> trouble_since{}; ///< Since when where they lie can't be read.
};

struct starting {
  enum class doing : std::uint8_t { clear, prove, announce, start, hand_over, look } at = doing::announce;
  failure why; ///< look: why it could not be started
};

struct running {
  /// davit's stop. `recording`: why is being written down. `needless`: the container had ended by itself.
  enum class stop_state : std::uint8_t { none, recording, asked, done, needless } stop = stop_state::none;
  bool stop_repeated = false;
  bool kill_asked = false; ///< The stop had no more time.
  int looks = 0;           ///< At whether the task has begun.
};

struct collecting {
  enum class doing : std::uint8_t {
    live_reader,
    opening,
    reading,
    noting_missing,
    first_line,
    engine_unsure,
    history,
    suspecting,
    inspecting,
    watching,
    noting_gap,
    noting_end,
    input,
    closing
  };
  doing at = doing::opening;
  container_status ended;
  bool end_told = false;                    ///< The log says that its end may be missing, or need not.
  bool by_init = false;                     ///< The exit code is its word, not the engine's.
  bool stop_asked = false;                  ///< By davit, and not found to be needless, when the container ended.
  std::optional<steady_time> doubted_since; ///< engine_unsure: whether the engine was restarted is not known yet.
  steady_time watched_until;                ///< watching
  int looks = 0;                            ///< inspecting: how many are left
};

/// The outputs are being collected. How the attempt has ended is known.
struct gathering {
  verdict how;
  std::optional<steady_time> trouble_since{}; ///< Since when they can't be written where they are kept.
};

struct reporting {
  std::optional<verdict> how;           ///< The log is being closed.
  std::optional<attempt_result> result; ///< The outcome is being stored.
  duration wait{100};
};

struct removing {
  enum class doing : std::uint8_t { end, container, network, fenced } at = doing::container;
};

struct done {};

using step = std::variant<judging, recovering, pulling, preparing, creating, filling, starting, running, collecting,
                          gathering, reporting, removing, done>;

inline constexpr std::string_view step_names[]
  = {"judging", "recovering", "pulling",   "preparing", "creating", "filling", "starting",
     "running", "collecting", "gathering", "reporting", "removing", "done"};

/// What users and metrics call it.
inline constexpr std::string_view phase_names[] = {"judge", "recover", "pull",   "create", "create", "input", "start",
                                                   "run",   "collect", "output", "report", "remove", "done"};

// -- the attempt -----------------------------------------------------------------------------------------------------

/// The attempt's container, as far as it is known.
struct own_container {
  std::string id;
  std::string image_id;
  bool warm = false;                  ///< It is a sandbox.
  std::vector<std::string> arguments; ///< Of a sandbox: what it is to execute.
  /// What its init marks and seals its words with; empty: there is no init, and the command is the first process.
  std::string nonce;
  bool says_begun = false;            ///< That init says when the task begins.
  std::string program;                ///< What it was to execute, if this executor has told it.
  std::optional<image_info> image;    ///< Of one that is to have an init: what its name stood for.
  bool may_exist = false;             ///< It was asked for, or a sandbox was.
  std::optional<sandbox_report> told; ///< How the task ended, as the init says.
  bool hung = false;                  ///< It had not begun its task, and was killed.
  bool start_told = false;            ///< The store has been asked to write down that it runs.
  bool has_line = false;              ///< To its standard input: whoever made it has attached before its start.
  bool feeding = false;               ///< Its standard input is being passed on.
  std::optional<verdict> half_fed;    ///< It may have read less than its standard input; whatever it ended with.
  bool following = false;             ///< Its log, live.
  bool followed_to_end = false;       ///< It was, and nothing of it was kept back.
  enum class log_rest : std::uint8_t { to_read, forgone, read } rest = log_rest::to_read; ///< Of one that has ended.
  bool filled = false;                                                                    ///< Its inputs are there.
  bool end_awaited = false; ///< The engine was asked to tell when it has ended, and has not answered.
  bool ended_early = false; ///< By its init's word alone: the engine takes it down still.
  std::optional<std::uint64_t> epoch_at_attach; ///< Of the engine, when it was found running.
};

/// What was tried to start the task, and did not do.
struct start_choices {
  std::string cold_reason; ///< Why no sandbox is asked for any more.
  bool network_asked = false;
  bool memo_asked = false;
  bool caches_to_record = false; ///< What they begin with is not written down yet.
  bool prepared_asked = false;
  bool pulled = false;
  std::string init_trouble; ///< Why there is to be no init, although there could.
  int init_failures = 0;
  std::string refused_before; ///< The engine's words, the last time that it could not make the container.
  bool vanished = false;      ///< A container was gone before its start.
};

/// Whether the task's owner may use the image that the engine has.
struct image_right {
  enum class kind : std::uint8_t { unknown, any, one } kind = kind::unknown; ///< any: whatever its name stands for.
  std::string image_id;                                                      ///< one
};

struct attempt_run {
  std::shared_ptr<const agent_settings> settings;
  claimed_attempt work;
  engine_status engine;
  bool has_keeper = false; ///< The engine keeps sandboxes.

  step now = judging{};
  steady_time step_begun;
  std::uint64_t generation = 0; ///< Of the step: an answer to an earlier one is dropped.
  std::uint64_t era = 0;        ///< Of the container: a lasting answer about an earlier one is dropped.

  task_spec spec;                        ///< As the policy lets it run.
  std::map<std::string, secret> secrets; ///< In clear.
  std::string forbidden;                 ///< What the policy has against it.
  std::string unreadable;                ///< Why its secrets can't be read.
  ending wanted = ending::none;
  std::optional<duration> timeout;    ///< How long its container may run, as it was started.
  std::optional<steady_time> kill_by; ///< Its container is killed by then, whatever stop_timeout it has.

  own_container made;
  std::string network;     ///< The container whose network it joins; empty: it has its own.
  prepared_trees prepared; ///< That its container is made with.
  start_choices tried;
  image_right right;

  bool begun_here = false;       ///< This executor has started it, and owes it its standard input.
  bool may_have_started = false; ///< Nothing proves that no container of this attempt was ever started.
  bool ran = false;              ///< It was seen to run, or to have run.
  timestamp started_at;
  std::optional<std::uint64_t> epoch_at_start; ///< Of the engine; not known of a container that was found running.
  bool start_remembered = false; ///< The engine's events hold the container's start: it is the process that started it.
  bool stopped_by_davit = false;

  davit::evidence evidence;
  phase_seconds phases;
  std::string small_log; ///< All of it, if it is to be stored with the outcome.
  std::vector<collected_output> outputs;
  std::vector<used_cache> caches; ///< One for each that the task has, when it is known what they begin with.
  std::string answer_of;          ///< The attempt whose success is the answer.

  std::vector<asked> held;                  ///< What the engine is asked again when it is back.
  std::optional<steady_time> trouble_since; ///< Since when nothing has worked.
  duration retry_wait{0};
  std::string waiting; ///< What for; for people.

  const attempt_key& key() const { return work.token.key; }
};

/// The time, and what chance gives, when an event is heard.
struct instant {
  steady_time steady;
  timestamp at;
  double draw = 0; ///< In [0, 1).
  uuid nonce;
  bool images_guarded = false; ///< Some image is not for every owner.
};

struct transition {
  attempt_run after;
  std::vector<action> actions; ///< To be done in their order.
};

/// What becomes of an attempt when something happens. An action that asks is tagged by whoever does it with the
/// generation (a lasting one: with the era) that `after` has.
transition next(attempt_run before, const event& happened, const instant& when);

/// The same in place: an attempt is large, and hears of much.
std::vector<action> advance(attempt_run& run, const event& happened, const instant& when);

/// What the attempt is at, for people.
attempt_status status_of(const attempt_run& run);

/// What the engine is asked to make for it.
container_plan plan_of(const attempt_run& run);

} // namespace davit
