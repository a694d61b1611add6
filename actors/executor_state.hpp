// The inside of an executor: its state and its steps. For actors/executor*.cpp alone.
//
// executor.cpp     how it is spawned and what it answers; the way from the claim to the start
// executor_warm.cpp from the claim to the start in a sandbox that is there already
// executor_run.cpp from the start to the stored outcome
// executor_wait.cpp what may come between: an engine that is away, a cancel, a deadline
#pragma once

#include "actors/crash_point.hpp"
#include "actors/executor.hpp"
#include "actors/metrics.hpp"
#include "actors/outcome_rules.hpp"
#include "policy/recovery.hpp"

#include <caf/actor_system.hpp>
#include <caf/disposable.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <functional>

namespace davit {

using namespace std::chrono_literals;

/// Where the attempt is. Each step has one function that enters it; `recover` leads to where the container says we are.
enum class step { judge, recover, pull, create, start, run, collect, report, remove, done };

inline constexpr std::string_view step_names[] = {"judge", "recover", "pull", "create", "start", "run", "collect", "report", "remove", "done"};

inline bool reaches_container(step s) {
  return s == step::start || s == step::run || s == step::collect;
}

struct executor_state {
  using steady = std::chrono::steady_clock;
  using self_pointer = executor_actor::stateful_pointer<executor_state>;

  static inline const char* name = "executor";

  explicit executor_state(self_pointer actor) : self(actor) {}
  ~executor_state() {
    for (auto& timer : timers)
      timer.dispose();
  }

  // -- the steps, in their order ---------------------------------------------------------------------------------------

  void judge();
  void recover();
  void pull();
  void create();
  void create_refused(const caf::error& why);
  void look_up_image();
  void have_init();
  void make_container();
  void check_image();
  void look_twice(caf::error why);
  void adopt();
  void inspect_own(std::string name_or_id, std::function<void()> absent);
  void find_renamed();
  bool is_restarted(const container_status& status) const;
  void end_restarted(container_status status);
  void inspect_again(container_status ended, int looks);
  void fail_restarted(const container_status& status);
  void go_on_from(container_state there, const container_status& found);
  void prove_unstarted();
  void announce();
  void start();
  void start_refused(caf::error why);
  void started(timestamp at, bool running = true);
  void attach(const container_status& found);
  void watch_beginning(int looks = 0);
  void run();
  bool heard_of_end();
  void look();
  void collect(container_status ended);
  void forgo_rest(duration after_that);
  void go_on_to_rest();
  void read_rest(container_status ended);
  log_request request_log(bool follow, bool tail, const log_lease& lease) const;
  void heed_rest(container_status ended);
  void look_for_beginning(container_status ended);
  void corroborate(container_status ended);
  void suspect(container_status ended);
  void watch_engine(container_status ended, steady::time_point until);
  void weigh(const std::vector<engine_event>& events, container_status ended);
  void settle(container_status ended);
  void decide(container_status ended, log_summary totals);
  void come_to_report();
  void end_log_and_report(verdict how);
  void report(verdict how);
  void store_result(attempt_result result, duration wait);
  void remove();
  void remove_container();
  void remove_network();
  void leave();

  bool unseal();
  std::vector<secret> masked_values() const;
  std::string masked(std::string text) const;

  // -- the warm way ------------------------------------------------------------------------------------------------------

  bool has_keeper() const;
  bool may_be_warm();
  void be_cold(std::string why);
  void take();
  bool may_join();
  void take_network();
  void forget_network();
  bool is_of_network(const caf::error& why) const;
  container_plan plan() const;
  void forget_sandbox(const std::string& which);
  void forget_dead(std::string why);
  bool owes_init();
  void hand_over();
  void look_into_sandbox(container_status found, int looks);
  bool heed(const sandbox_report& report);
  void end_early(const sandbox_report& report);

  // -- beside the steps --------------------------------------------------------------------------------------------------

  void follow_log();
  void feed_stdin();
  void end_it(ending why);
  void stop_container();

  /// Asks the engine. An answer goes to `then`; trouble with the connection is waited out and `again` is called; any
  /// other refusal goes to `refused`.
  template <class Then, class... Args>
  void ask(std::function<void()> again, std::function<void(const caf::error&)> refused, Then then, Args&&... args);

  /// Calls `then` with an answer, if the attempt is still at the step that asked for it.
  template <class Then, class... Results>
  auto unless_moved_on(step at, Then then, void (Then::*)(Results...) const) {
    return [this, at, then](Results... results) {
      if (now != at)
        return;
      trouble_is_over();
      then(results...);
    };
  }

  void refuse(step at, const caf::error& why, const std::function<void()>& again, const std::function<void(const caf::error&)>& refused);
  void hold(std::function<void()> again, const caf::error& why);
  void engine_back();
  void give_up();
  void enter(step next);
  void fail(outcome how, std::string message);
  void fail_unstarted(const std::string& when);
  void after(duration wait, std::function<void()> what);
  void stop_timers();
  void trouble_is_over();
  engine_actor engine_address() const;
  bool same_engine() const;
  bool same_process(const container_status& of) const;
  void lose_engine();
  void fence(bool clear);
  const attempt_key& key() const { return work.token.key; }

  self_pointer self;
  context_ptr context;
  claimed_attempt work;
  task_spec spec;             ///< As the policy lets it run.
  std::map<std::string, secret> secrets; ///< In clear.
  engine_status engine;
  wiring addresses;

  step now = step::judge;
  steady::time_point step_begun = steady::now();
  phase_seconds phases;
  attempt_status progress;

  std::string container;
  std::optional<sandbox> warm;  ///< The container is a sandbox.
  std::string cold_reason;      ///< Why no sandbox is asked for any more.
  std::string nonce;            ///< What the container's init marks its words with; empty: there is no init, and the command is the first process.
  bool says_begun = false;      ///< That init says when the task begins.
  std::string program;          ///< What it was to execute, if this executor has told it.
  std::optional<image_info> image; ///< Of a container that is to have an init: what its name stood for.
  std::string init_trouble;     ///< Why there is to be none, although there could; the first time it is tried once more.
  int init_failures = 0;
  std::string network;          ///< The container whose network this one joins; empty: it has its own.
  bool network_asked = false;
  std::optional<sandbox_report> told; ///< How the task ended, as the container's init says.
  bool ended_early = false;     ///< By that word alone: the engine takes the container down still.
  bool end_awaited = false;     ///< The engine was asked to tell when the container has ended, and has not answered.
  bool removal_waits = false;   ///< For that answer.
  bool following = false;       ///< The log, live.
  enum class log_rest : std::uint8_t { to_read, forgone, read } rest = log_rest::to_read; ///< Of a container that has ended.
  bool followed_to_end = false; ///< It was, and nothing of it was kept back.
  std::optional<container_status> rest_of; ///< How the container ended, while the live reader is waited for.
  std::string small_log;        ///< All of it, if it is to be stored with the outcome.
  std::string image_id;
  bool pulled = false;
  timestamp started_at;
  std::optional<std::uint64_t> epoch_at_start; ///< Of the engine; not known of a container that was found running.
  std::optional<std::uint64_t> epoch_at_attach; ///< When a container was found running.
  std::optional<steady::time_point> doubted_since; ///< The container has ended, and whether its engine was restarted is not known yet.
  bool hung = false; ///< Its sandbox did, and was killed.
  bool create_sent = false;
  std::string refused_before; ///< The engine's words, the last time that it could not make the container.
  bool begun_here = false;  ///< This executor has started it, and owes it its standard input.
  bool may_have_started = false; ///< Nothing proves that no container of this attempt was ever started.

  ending wanted = ending::none;
  bool stop_under_way = false;
  bool stopped_by_davit = false;
  bool start_remembered = false; ///< The engine's events hold the container's start: it is the process that started it.
  davit::evidence evidence;

  std::vector<std::function<void()>> again;        ///< What to do when the engine is back.
  std::optional<steady::time_point> trouble_since; ///< Since when nothing has worked.
  duration retry_wait{0};
  std::vector<caf::disposable> timers;
};

template <class Then, class... Args>
void executor_state::ask(std::function<void()> retry, std::function<void(const caf::error&)> refused, Then then, Args&&... args) {
  auto address = engine_address();
  if (!address) {
    hold(std::move(retry), make_failure(engine_errc::lost, "the engine's connection is being restarted"));
    return;
  }
  auto at = now;
  self->request(address, caf::infinite, std::forward<Args>(args)...)
    .then(
      unless_moved_on(at, then, &Then::operator()),
      [this, at, retry = std::move(retry), refused = std::move(refused)](const caf::error& e) { refuse(at, e, retry, refused); });
}

} // namespace davit
