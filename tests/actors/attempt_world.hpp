// An engine, a store and a log for one attempt: what is true of them, and what they answer.
#pragma once

#include "actors/attempt_terms.hpp"
#include "actors/container_plan.hpp"
#include "actors/prepared_plan.hpp"
#include "attempt_samples.hpp"
#include "sandbox/hand_over.hpp"

#include <catch2/catch_test_macros.hpp>

#include <random>

namespace davit::test {

/// What is true, as no single answer tells it.
struct truth {
  enum class container { none, created, running, ended } state = container::none;
  bool warm = false, begun = false; ///< The command has begun.
  bool filled = false;              ///< The container has all its inputs.
  std::string cached;               ///< What its cache began with.
  std::vector<used_cache> row_caches;
  bool prepared = false; ///< It was made with the trees that the engine had ready.
  bool whole = true;     ///< And nobody had removed a volume of theirs.
  bool removed_by_davit = false;
  enum class input { none, whole, cut } read = input::none; ///< What it could read of its standard input.
  int runs = 0;                                             ///< How often the task's command was begun.
  std::int64_t code = 0;
  bool stopped = false; ///< davit's stop found it running.
  int made = 0;
  std::uint64_t epoch = 1;
  bool up = true, restarted_while_running = false;
  int finished = 0;
  attempt_result result;
  task_state row_state = task_state::starting;
  std::string row_container;
  std::optional<timestamp> row_started;
  std::string row_message;
  std::optional<duration> started_with; ///< The timeout that was in force when the command began.
};

class attempt_world {
protected:
  explicit attempt_world(std::uint64_t seed) : random_(seed) {}

  int pick(int below) { return std::uniform_int_distribution<int>{0, below - 1}(random_); }
  bool chance(int one_in) { return pick(one_in) == 0; }

  void end_container(std::int64_t code) {
    if (world_.state != truth::container::running)
      return;
    world_.state = truth::container::ended;
    world_.code = code;
    story_ += "container ends with " + std::to_string(code) + "\n";
  }

  std::optional<duration> timeout_now() const {
    return work_.task.spec.timeout ? work_.task.spec.timeout : policy_timeout_;
  }

  void begin_command() {
    if (!(run_.spec.inputs.empty() && run_.spec.caches.empty()) && !world_.filled)
      mistakes_ += "the command began without its inputs\n";
    if (memo_there_ && run_.spec.memo)
      mistakes_ += "the command began although there is an answer\n";
    world_.begun = true;
    world_.read = truth::input::none;
    world_.started_with = timeout_now();
    ++world_.runs;
  }

  /// A connection to its standard input ends; another has no effect on it any more.
  void give(truth::input what) {
    if (world_.state == truth::container::running && world_.read == truth::input::none)
      world_.read = what;
  }

  container_status status() const {
    static const char* words[] = {"", "created", "running", "exited"};
    auto found = container_of(run_, words[static_cast<int>(world_.state)], world_.code);
    found.id = container_id + std::to_string(world_.made);
    if (world_.warm)
      found.labels = {{"davit.sandbox", init_nonce}, {init::words_label, init::words_version}};
    else if (run_.spec.init == false)
      found.labels.erase(init::nonce_label);
    return found;
  }

  std::optional<sandbox_report> report() const {
    if (world_.state != truth::container::ended || (!world_.warm && run_.spec.init == false) || world_.stopped
        || world_.code > 100)
      return std::nullopt;
    if (!world_.begun)
      return sandbox_report{sandbox_word::unused, 0, 0};
    return sandbox_report{sandbox_word::exited, static_cast<std::int32_t>(world_.code), 0};
  }

  bool here(const std::string&) const { return world_.state != truth::container::none; }

  static failure not_found() { return {engine_errc::not_found, {}, {}, "no such container"}; }

  template <class Ask>
  using answer_or = std::variant<typename Ask::answer, failure>;

  // Does what is asked, and answers truly; none: it takes longer.
  std::optional<answer_or<ask::judge>> act_out(const ask::judge&) const {
    ask::judge::answer judged;
    judged.effective = work_.task.spec;
    judged.effective.timeout = timeout_now();
    if (own_credentials_)
      judged.secrets[registry_secret] = {"{}", false};
    return judged;
  }
  std::optional<answer_or<ask::inspect>> act_out(const ask::inspect& q) {
    if (!here(q.which))
      return not_found();
    return status();
  }
  std::optional<answer_or<ask::list_containers>> act_out(const ask::list_containers&) {
    std::vector<container_summary> found;
    if (world_.state != truth::container::none && !world_.warm) {
      found.emplace_back();
      found.back().id = status().id;
    }
    return found;
  }
  std::optional<answer_or<ask::count_processes>> act_out(const ask::count_processes&) {
    if (!world_.begun && world_.state == truth::container::running && chance(3))
      end_container(init::unused_code);
    return std::uint32_t{world_.begun ? 2u : 1u};
  }
  std::optional<answer_or<ask::history>> act_out(const ask::history&) const {
    std::vector<engine_event> events;
    auto add = [&](const char* action) {
      events.emplace_back();
      events.back().action = action;
      events.back().at = timestamp{} + std::chrono::hours{2};
    };
    if (world_.epoch == 1) { // a new process remembers nothing
      add("create");
      if (world_.begun)
        add(world_.warm ? "rename" : "start");
      if (world_.state == truth::container::ended)
        add("die");
    }
    return events;
  }
  std::optional<answer_or<ask::first_line>> act_out(const ask::first_line&) const {
    return std::string{world_.begun ? "davit-init nonce begun 0 0;" : ""};
  }
  std::optional<answer_or<ask::pull_image>> act_out(const ask::pull_image&) { return ask::nothing{}; }
  std::optional<answer_or<ask::look_up_image>> act_out(const ask::look_up_image&) {
    image_info image;
    image.id = "sha256:1";
    return image;
  }
  std::optional<answer_or<ask::create>> act_out(const ask::create& q) {
    if (world_.state != truth::container::none)
      return failure{engine_errc::conflict, {}, {}, "the name is in use"};
    auto prepared = std::any_of(q.plan.mounts.begin(), q.plan.mounts.end(), [](const mount& one) {
      auto read = read_tree_volume(one.source);
      return read && read->is == tree_volume::role::tree;
    });
    if (prepared && chance(4))
      return failure{engine_errc::refused, {}, {}, "the engine does not like its volumes"};
    world_.state = truth::container::created;
    world_.warm = world_.begun = world_.stopped = false;
    world_.prepared = prepared;
    world_.whole = !chance(4);
    world_.filled = false;
    world_.cached.clear();
    ++world_.made;
    return status().id;
  }
  std::optional<answer_or<ask::start>> act_out(const ask::start&) {
    if (!here({}))
      return not_found();
    if (world_.state == truth::container::running)
      return false;
    if (world_.state == truth::container::ended) { // Docker starts it again: davit must not ask for that
      mistakes_ += "a container that had ended was started\n";
      return true;
    }
    world_.state = truth::container::running;
    begin_command();
    return true;
  }
  std::optional<answer_or<ask::hand_over>> act_out(const ask::hand_over&) {
    if (world_.state != truth::container::running)
      return not_found();
    if (!world_.begun)
      begin_command();
    return ask::nothing{};
  }
  std::optional<answer_or<ask::stop>> act_out(const ask::stop&) {
    if (!here({}))
      return not_found();
    if (world_.state != truth::container::running)
      return false;
    end_container(143);
    world_.stopped = true;
    return true;
  }
  std::optional<answer_or<ask::remove>> act_out(const ask::remove&) {
    world_.state = truth::container::none;
    world_.begun = false;
    return ask::nothing{};
  }
  std::optional<answer_or<ask::wait>> act_out(const ask::wait&) {
    if (!here({}))
      return not_found();
    if (world_.state == truth::container::running && calm_
        && (!run_.spec.stdin_text || world_.read != truth::input::none)) // it waits for the end of its input
      end_container(will_exit_with_);
    if (world_.state != truth::container::ended)
      return std::nullopt;
    return world_.code;
  }
  std::optional<answer_or<ask::follow_log>> act_out(const ask::follow_log&) {
    if (world_.state == truth::container::running && !calm_)
      return std::nullopt;
    return log_end{true, report()};
  }
  std::optional<answer_or<ask::read_log>> act_out(const ask::read_log&) { return log_end{true, report()}; }
  std::optional<answer_or<ask::feed>> act_out(const ask::feed&) {
    give(truth::input::whole);
    return ask::nothing{};
  }
  std::optional<answer_or<ask::first_line_now>> act_out(const ask::first_line_now&) {
    return *act_out(ask::first_line{});
  }
  std::optional<answer_or<ask::inspect_now>> act_out(const ask::inspect_now& q) {
    return *act_out(ask::inspect{{}, q.which});
  }
  std::optional<answer_or<ask::kill_now>> act_out(const ask::kill_now&) {
    end_container(137);
    return true;
  }
  std::optional<answer_or<ask::remove_now>> act_out(const ask::remove_now&) {
    world_.state = truth::container::none;
    return ask::nothing{};
  }
  std::optional<answer_or<ask::take_sandbox>> act_out(const ask::take_sandbox&) {
    sandbox given;
    if (world_.state != truth::container::none)
      return failure{engine_errc::conflict, {}, {}, "the name is in use"};
    if (chance(3)) {
      given.why = "none waits";
      return given;
    }
    world_.state = truth::container::running;
    world_.warm = true;
    world_.begun = world_.stopped = world_.filled = world_.prepared = false;
    world_.cached.clear();
    ++world_.made;
    given.container = status().id;
    given.image_id = status().image_id;
    given.nonce = init_nonce;
    given.arguments = {"true"};
    return given;
  }
  std::optional<answer_or<ask::take_network>> act_out(const ask::take_network&) { return sandbox{}; }
  std::optional<answer_or<ask::put_init>> act_out(const ask::put_init&) { return ask::nothing{}; }
  answer_or<ask::record> write(const attempt_progress& what) {
    if (world_.finished > 0)
      return failure{{}, store_errc::fenced, {}, "it has ended"};
    if (what.state == task_state::running && what.image_id != "sha256:1")
      mistakes_ += "it is not on record which image runs\n";
    world_.row_state = what.state;
    world_.row_container = what.container;
    world_.row_started = what.started_at;
    if (!what.caches.empty())
      world_.row_caches = what.caches;
    if (what.container.empty())
      world_.row_message.clear();
    return ask::nothing{};
  }
  std::optional<answer_or<ask::record>> act_out(const ask::record& q) { return write(q.what); }
  std::optional<answer_or<ask::may_use>> act_out(const ask::may_use&) { return chance(2); }
  std::optional<answer_or<ask::record_pull>> act_out(const ask::record_pull&) { return ask::nothing{}; }
  std::optional<answer_or<ask::record_start>> act_out(const ask::record_start& q) { return write(q.what); }
  answer_or<ask::record_stop> write(const attempt_result& what) {
    if (world_.finished > 0)
      return failure{{}, store_errc::fenced, {}, "it has ended"};
    if (what.finished_at != timestamp{})
      mistakes_ += "an attempt that has not ended was finished\n";
    world_.row_message = what.message;
    return ask::nothing{};
  }
  std::optional<answer_or<ask::record_terms>> act_out(const ask::record_terms& q) { return write(q.what); }
  std::optional<answer_or<ask::record_stop>> act_out(const ask::record_stop& q) { return write(q.what); }
  std::optional<answer_or<ask::finish>> act_out(const ask::finish& q) {
    if (world_.finished > 0) { // the same again: its answer was lost
      CHECK(q.what.outcome == world_.result.outcome);
      return ask::nothing{};
    }
    ++world_.finished;
    world_.result = q.what;
    return ask::nothing{};
  }
  /// Each time another is the newest.
  std::optional<answer_or<ask::choose>> act_out(const ask::choose& q) {
    std::vector<used_cache> all;
    for (const auto& one : q.what.caches) {
      all.push_back(chosen_cache());
      all.back().path = one.path;
      all.back().tree = "sha256:" + std::to_string(++choices_);
    }
    return all;
  }
  std::optional<answer_or<ask::recall>> act_out(const ask::recall&) {
    memo_answer found;
    if (memo_there_)
      found.attempt = "01934567-0000-7000-8000-000000000001/2";
    return found;
  }
  std::optional<answer_or<ask::fill>> act_out(const ask::fill& q) {
    if (world_.state != truth::container::created && !world_.warm)
      return not_found();
    if (world_.begun)
      mistakes_ += "inputs were unpacked while the command ran\n";
    if (q.what.caches.size() != run_.spec.caches.size())
      mistakes_ += "caches were forgotten\n";
    if (world_.prepared && !world_.whole)
      return failure{{}, {}, {}, "a volume was removed", files_errc::unprepared};
    if (!q.what.caches.empty() && !q.what.caches[0].tree.empty() && chance(4)) {
      world_.cached = q.what.caches[0].tree; // a part of it
      return failure{{}, {}, {}, "the cache can't be unpacked", files_errc::lost};
    }
    if (!q.what.caches.empty()) {
      if (!world_.cached.empty() && world_.cached != q.what.caches[0].tree)
        mistakes_ += "two caches were unpacked over each other\n";
      world_.cached = q.what.caches[0].tree;
      if (world_.row_caches.empty() || world_.row_caches[0].tree != world_.cached)
        mistakes_ += "it is not on record what its cache begins with\n";
    }
    world_.filled = true;
    return ask::nothing{};
  }
  std::optional<answer_or<ask::find_prepared>> act_out(const ask::find_prepared&) {
    return chance(2) ? prepared_trees{} : ready_tree("sha256:1");
  }
  std::optional<answer_or<ask::gather>> act_out(const ask::gather& q) {
    if (world_.state == truth::container::running && world_.begun && !world_.stopped && !report())
      mistakes_ += "outputs were collected while the command ran\n";
    if (!q.what.used.empty() && q.what.used[0].tree != world_.cached)
      mistakes_ += "what its cache began with is not known any more\n";
    collected_files all;
    auto lacks_required = false;
    for (const auto& [name, wanted] : q.what.outputs) {
      auto there = wanted.path != "/missing";
      lacks_required |= wanted.required && !there;
      all.outputs.push_back({name, there ? output_state::kept : output_state::missing, "sha256:", 1, 1, {}});
    }
    if (lacks_required)
      return all;
    all.caches = q.what.used;
    for (auto& one : all.caches)
      one.kept = true;
    return all;
  }
  std::optional<answer_or<ask::open_log>> act_out(const ask::open_log&) { return log_lease{}; }
  std::optional<answer_or<ask::close_log>> act_out(const ask::close_log&) { return log_summary{}; }
  std::optional<answer_or<ask::note_log>> act_out(const ask::note_log&) { return ask::nothing{}; }

  std::mt19937_64 random_;
  attempt_run run_;
  claimed_attempt work_;
  truth world_;
  std::int64_t will_exit_with_ = 0;
  std::optional<duration> policy_timeout_;
  int choices_ = 0;
  bool memo_there_ = false;
  bool images_guarded_ = false, own_credentials_ = false;
  bool calm_ = false; ///< Nothing fails any more, and what runs comes to its end.
  std::string story_, mistakes_;
};

} // namespace davit::test
