// The transitions of an attempt: `on(step, event)` for each pair that can be; any other is a mistake. For
// actors/attempt*.cpp alone.
#pragma once

#include "actors/attempt.hpp"
#include "actors/attempt_terms.hpp"
#include "actors/container_plan.hpp"
#include "policy/recovery.hpp"
#include "sandbox/hand_over.hpp"

#include <algorithm>

namespace davit {

class attempt_machine {
public:
  attempt_machine(attempt_run& run, const instant& when, std::vector<action>& actions)
    : run_(run), when_(when), actions_(actions) {}

  void hear(const event& happened);

private:
  using log_rest = own_container::log_rest;

  // -- what each step hears
  // --------------------------------------------------------------------------------------------

  // attempt_begin.cpp
  void on(judging&, const begun&);
  void on(judging&, const reply<ask::judge>&);
  void on(recovering&, const reply<ask::inspect>&);
  void on(recovering&, const reply<ask::list_containers>&);
  void on(recovering&, const reply<ask::count_processes>&);
  void on(recovering&, const reply<ask::first_line>&);
  void on(recovering&, const refusal&);
  void on(recovering&, const timer_fired&);

  // attempt_image.cpp
  void on(pulling&, const reply<ask::look_up_image>&);
  void on(pulling&, const reply<ask::record_pull>&);
  void on(pulling&, const reply<ask::pull_image>&);
  void on(pulling&, const timer_fired&);
  void on(pulling&, const refusal&);
  void on(pulling&, const pull_moved&);
  void on(preparing&, const reply<ask::may_use>&);

  // attempt_files.cpp
  void on(preparing&, const reply<ask::choose>&);
  void on(filling&, const reply<ask::fill>&);
  void on(filling&, const refusal&);
  void on(filling&, const timer_fired&);
  void on(gathering&, const reply<ask::gather>&);
  void on(gathering&, const refusal&);
  void on(gathering&, const timer_fired&);

  // attempt_memo.cpp
  void on(preparing&, const reply<ask::recall>&);

  // attempt_prepare.cpp
  void on(preparing&, const reply<ask::find_prepared>&);
  void on(preparing&, const reply<ask::take_sandbox>&);
  void on(preparing&, const reply<ask::take_network>&);
  void on(preparing&, const reply<ask::look_up_image>&);
  void on(preparing&, const reply<ask::put_init>&);
  void on(preparing&, const reply<ask::record>&);
  void on(preparing&, const reply<ask::remove>&);
  void on(preparing&, const refusal&);
  void on(preparing&, const timer_fired&);
  void on(creating&, const reply<ask::create>&);
  void on(creating&, const reply<ask::inspect>&);
  void on(creating&, const refusal&);
  void on(starting&, const reply<ask::remove>&);
  void on(starting&, const reply<ask::history>&);
  void on(starting&, const reply<ask::record>&);
  void on(starting&, const reply<ask::start>&);
  void on(starting&, const reply<ask::hand_over>&);
  void on(starting&, const reply<ask::inspect>&);
  void on(starting&, const refusal&);
  void on(starting&, const timer_fired&);

  // attempt_run.cpp
  void on(running&, const reply<ask::wait>&);
  void on(running&, const reply<ask::inspect>&);
  void on(running&, const reply<ask::open_log>&);
  void on(running&, const reply<ask::follow_log>&);
  void on(running&, const reply<ask::feed>&);
  void on(running&, const reply<ask::record_terms>&);
  void on(running&, const reply<ask::record_stop>&);
  void on(running&, const reply<ask::stop>&);
  void on(running&, const reply<ask::first_line_now>&);
  void on(running&, const reply<ask::inspect_now>&);
  void on(running&, const reply<ask::kill_now>&);
  void on(running&, const refusal&);
  void on(running&, const timer_fired&);

  // attempt_collect.cpp
  void on(collecting&, const reply<ask::follow_log>&);
  void on(collecting&, const reply<ask::feed>&);
  void on(collecting&, const reply<ask::open_log>&);
  void on(collecting&, const reply<ask::read_log>&);
  void on(collecting&, const reply<ask::note_log>&);
  void on(collecting&, const reply<ask::first_line>&);
  void on(collecting&, const reply<ask::history>&);
  void on(collecting&, const reply<ask::inspect>&);
  void on(collecting&, const reply<ask::close_log>&);
  void on(collecting&, const refusal&);
  void on(collecting&, const timer_fired&);

  // attempt_report.cpp
  void on(reporting&, const reply<ask::close_log>&);
  void on(reporting&, const reply<ask::finish>&);
  void on(reporting&, const refusal&);
  void on(reporting&, const timer_fired&);
  void on(removing&, const reply<ask::wait>&);
  void on(removing&, const reply<ask::remove>&);
  void on(removing&, const reply<ask::remove_now>&);
  void on(removing&, const refusal&);
  void on(removing&, const timer_fired&);

  // What a container's lasting questions bring in steps that do not wait for it.
  template <class Step>
  void on(Step&, const reply<ask::wait>&) {
    run_.made.end_awaited = false;
  }
  template <class Step>
  void on(Step&, const reply<ask::follow_log>&) {
    run_.made.following = false;
  }
  template <class Step>
  void on(Step&, const reply<ask::feed>&) {
    run_.made.feeding = false;
  }
  template <class Step>
  void on(Step&, const reply<ask::record_start>&) {
    act_on(act::crash{"start recorded"});
  }
  template <class Step>
  void on(Step&, const reply<ask::record_terms>&) {}
  template <class Step>
  void on(Step&, const pull_moved&) {} // the engine's last word on a pull that is over

  template <class Step, class Event>
  void on(Step&, const Event& happened) {
    unexpected(happened);
  }

  // -- what each step waits for
  // ----------------------------------------------------------------------------------------

  static bool waits_for(const judging&, asked what) { return what == asked::judge; }
  static bool waits_for(const recovering& now, asked what);
  static bool waits_for(const pulling& now, asked what);
  static bool waits_for(const preparing& now, asked what);
  static bool waits_for(const creating& now, asked what);
  static bool waits_for(const filling&, asked what) { return what == asked::fill; }
  static bool waits_for(const starting& now, asked what);
  static bool waits_for(const running& now, asked what);
  static bool waits_for(const collecting& now, asked what);
  static bool waits_for(const gathering&, asked what) { return what == asked::gather; }
  static bool waits_for(const reporting& now, asked what);
  static bool waits_for(const removing& now, asked what);
  static bool waits_for(const done&, asked) { return false; }

  static bool waits_for(const recovering& now, timer which);
  static bool waits_for(const pulling& now, timer which);
  static bool waits_for(const preparing& now, timer which);
  static bool waits_for(const filling&, timer which) { return which == timer::again; }
  static bool waits_for(const starting& now, timer which);
  static bool waits_for(const running& now, timer which);
  static bool waits_for(const collecting& now, timer which);
  static bool waits_for(const gathering&, timer which) { return which == timer::forgo || which == timer::again; }
  static bool waits_for(const reporting& now, timer which);
  static bool waits_for(const removing& now, timer which);
  template <class Step>
  static bool waits_for(const Step&, timer) {
    return false;
  }

  // -- what all steps hear alike; attempt_machine.cpp
  // --------------------------------------------------------------------------

  void heard(const begun&);
  void refused(const refusal& one);
  void heard(const refusal&);
  void heard(const engine_changed&);
  void heard(const peers_changed&);
  void heard(const cancel_asked& one);
  void heard(const drain_asked&) { end_it(ending::drained); }
  void heard(const fenced&);
  void heard(const pull_moved&);
  void heard(const timer_fired&);
  template <class Ask>
  void heard(const reply<Ask>&);
  template <class What>
  void in_step(What what);
  template <class Event>
  void dispatch(const Event& happened);

  bool heard_of_lasting(const refusal& one);
  bool is_trouble(const refusal& one) const;
  void hold(asked what, const failure& why);
  void engine_back();
  void give_up();
  void trouble_is_over();
  void end_it(ending why);
  void hurry(duration within);

  // What a step does when the attempt is to end. (The others see it when what is under way is done.)
  void end_wanted(judging&);
  void end_wanted(pulling&);
  void end_wanted(preparing&);
  void end_wanted(filling&);
  void end_wanted(running&);
  template <class Step>
  void end_wanted(Step&) {}

  // What a step does when the end has less time than before.
  void hurried(running&);
  void hurried(collecting&);
  void hurried(gathering&);
  template <class Step>
  void hurried(Step&) {}

  // The live reader of the log has failed.
  void reader_failed(running&, const failure& why);
  void reader_failed(collecting&, const failure& why);
  template <class Step>
  void reader_failed(Step&, const failure&) {}

  // Its standard input can't be passed on; `half_fed` says so, unless the container had ended.
  void feed_ended(running&);
  void end_half_fed(running& now);
  void feed_ended(collecting&);
  template <class Step>
  void feed_ended(Step&) {}

  // What a held question is asked as when the engine is back.
  void again(judging&, asked) { judge(); }
  void again(recovering&, asked);
  void again(pulling&, asked);
  void again(preparing&, asked);
  void again(creating&, asked);
  void again(filling&, asked) { ask_fill(); }
  void again(starting&, asked);
  void again(running&, asked);
  void again(collecting&, asked);
  void again(gathering& now, asked) { gather(now); }
  void again(reporting&, asked) {}
  void again(removing&, asked);
  void again(done&, asked) {}

  // -- the ways between the steps
  // --------------------------------------------------------------------------------------

  /// Leaves the step that is, with its questions and timers.
  template <class Step>
  Step& enter(Step next) {
    auto before = run_.now.index();
    auto& now = run_.now.emplace<Step>(std::move(next));
    close_step(before);
    return now;
  }
  void close_step(std::size_t before);

  // attempt_begin.cpp
  void judge();
  void recover();
  void find_renamed(recovering& now);
  void no_container();
  void resume_from(container_state there, const container_status& found);
  void attach(const container_status& found);
  void look_at_stop(const container_status& ended);
  void look_into_sandbox(container_status found, duration patience);
  bool is_restarted(const container_status& status) const;
  void ask_whether_begun(container_status status);
  void fail_restarted(const container_status& status);
  void look_at_input(const attempt_terms& terms);
  bool refuse_by_policy();
  bool same_engine() const;
  void hold_again();
  std::string words_of_silence() const;
  std::string words_of_loss() const;
  void lose_engine();

  // attempt_prepare.cpp
  void prepare();
  bool has_prepared() const { return !run_.prepared.trees.empty(); }
  void ask_for_prepared();
  void forget_prepared();
  bool may_be_warm();
  bool may_join() const;
  bool owes_init();
  void be_cold(std::string why);
  void make_container();
  void create_refused(asked what, const failure& why);
  void clear_unstarted();
  void ask_for_start();
  void announce();
  void start();
  void hand_over();
  void handed_over();
  void start_refused(starting& now, const failure& why);
  void forget_network();
  bool is_of_network(const failure& why) const;
  void forget_sandbox(std::string which);
  void forget_dead(std::string why);

  // attempt_files.cpp
  bool caches_are_known() const { return run_.caches.size() == run_.spec.caches.size(); }
  void choose_caches();
  void ask_choice();
  void record_caches();
  void choice_refused(preparing& now, const failure& why);
  bool wait_for_files(std::optional<steady_time>& since, const failure& why);
  void fill();
  void ask_fill();
  void begin_without_caches(const std::string& why);
  void filled();
  bool has_caches_to_keep() const;
  void gather(verdict how);
  void gather(gathering& now);
  void gather_none(gathering& now, const std::string& why);
  void gathered(gathering& now);

  // attempt_memo.cpp
  void ask_memo();
  std::string memo_of(const std::string& image_id) const;
  void answer(const memo_answer& found);

  // attempt_image.cpp
  void pull();
  void announce_pull(pulling& now);
  void ask_pull(pulling& now);
  void record_pull(pulling& now);
  void pull_failed(const pulling& now, const std::string& why, bool known);
  bool has_own_credentials() const;
  image_grant grant(std::string image_id) const;
  void look_at_rights();
  void may_not_use();
  void fail_without_image();
  bool is_rightful(const std::string& image_id) const;

  // attempt_run.cpp
  void started(timestamp at, bool runs);
  void follow_log();
  void feed();
  void doubt_input(outcome how, std::string message);
  void stop_container(running& now);
  void ask_stop(running& now);
  std::string words_of_stop() const;
  attempt_result row_meanwhile() const;
  void record_start();
  void kill_container(running& now);
  void look();
  void wait_for_end();
  bool take_report(const sandbox_report& report);
  log_request log_request_for(bool follow, bool tail, const log_lease& lease) const;

  // attempt_collect.cpp
  void collect(container_status ended, bool stop_asked);
  void end_early(const sandbox_report& report);
  void read_rest(collecting& now);
  void rest_is_read(collecting& now);
  void look_for_beginning(collecting& now);
  void corroborate(collecting& now);
  void suspect(collecting& now, const std::vector<engine_event>& events);
  void weigh(collecting& now, const std::vector<engine_event>& events);
  void watch_engine(collecting& now);
  void close_log(collecting& now);
  bool lacks_last_word(const container_status& ended) const;
  std::string doubt_of_init(const container_status& ended) const;
  void take_word_of_init(collecting& now);
  void decide(collecting& now, const log_summary& totals);
  bool same_process(const container_status& of) const;

  // attempt_report.cpp
  void fail(outcome how, std::string message);
  void fail_unstarted(const std::string& when);
  void end_log_and_report(verdict how);
  void report(verdict how);
  void store_result(reporting& now);
  void remove();
  void remove_container();
  void remove_network();
  void leave();
  std::string masked(std::string text) const;
  std::vector<std::string> hidden_texts() const;

  // -- small things
  // ----------------------------------------------------------------------------------------------------

  template <class Action>
  void act_on(Action one) {
    actions_.emplace_back(std::move(one));
  }
  void wake(timer which, duration after) { act_on(act::wake{which, std::max(after, duration{0})}); }
  void ask_note(std::string text);
  void note(std::string text);
  void say(act::level level, std::string text) { act_on(act::say{level, std::move(text)}); }
  void unexpected_event(std::string text);
  void unexpected(const refusal& one) { unexpected_event("refusal of " + to_string(one.what) + ": " + one.why.text); }
  void unexpected(const timer_fired& one) { unexpected_event("timer " + to_string(one.which)); }
  void unexpected(const begun&) { unexpected_event("begun"); }
  template <class Ask>
  void unexpected(const reply<Ask>&) {
    unexpected_event("reply to " + to_string(name_of<Ask>));
  }
  const attempt& row() const { return run_.work.task.attempts.back(); }
  /// The container that the task itself asks for, without what davit adds; without `secrets` where they do not matter.
  container_plan plan_asked_for(const std::map<std::string, secret>& secrets) const {
    return plan_container(*run_.settings, run_.key(), run_.spec, run_.work.task.owner, secrets);
  }
  /// Until its container is to be killed, if that is limited.
  std::optional<duration> time_to_kill() const {
    if (!run_.kill_by)
      return std::nullopt;
    return std::max(std::chrono::ceil<duration>(*run_.kill_by - when_.steady), duration{0});
  }
  /// What was left to be found out after the kill has had its time.
  bool out_of_time() const { return run_.kill_by && when_.steady >= *run_.kill_by + std::chrono::seconds{1}; }
  timestamp made_at() const { return row().created_at.value_or(when_.at); }

  attempt_run& run_;
  const instant& when_;
  std::vector<action>& actions_;
  bool moved_ = false;
};

} // namespace davit
