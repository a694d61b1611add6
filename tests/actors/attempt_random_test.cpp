// An attempt against an engine, a store and a log that answer, fail, lose answers and die at random: it ends once, with what really happened.
#include "actors/attempt_samples.hpp"
#include "sandbox/hand_over.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <random>

using namespace davit;
using namespace davit::test;

namespace {

/// What is true, as no single answer tells it.
struct truth {
  enum class container { none, created, running, ended } state = container::none;
  bool warm = false, begun = false; ///< The command has begun.
  bool removed_by_davit = false;
  int runs = 0;                     ///< How often the task's command was begun.
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
};

class simulation {
public:
  explicit simulation(std::uint64_t seed) : random_(seed) {
    run_ = fresh_attempt();
    auto& spec = run_.work.task.spec;
    spec.at_most_once = chance(4);
    if (chance(4))
      spec.start = start_mode::cold;
    if (chance(5))
      spec.init = false;
    if (chance(6))
      spec.pull = pull_policy::always;
    if (chance(5))
      spec.timeout = duration{5000};
    if (chance(5))
      spec.stdin_text = "in";
    run_.spec = spec;
    work_ = run_.work;
    will_exit_with_ = std::int64_t{pick(3)};
    hear(begun{});
  }

  /// Chaos, then an engine and a store that answer; true if the attempt came to its end.
  bool go() {
    for (int i = 0, most = pick(120); i < most && !left_; ++i)
      disturb();
    calm_ = true;
    engine(true);
    for (int i = 0; i < 3000 && !left_; ++i)
      step_calmly();
    return left_;
  }

  void check() const {
    CHECK(mistakes_.empty());
    CHECK(world_.finished == 1);
    CHECK(world_.runs <= 1);
    const auto& result = world_.result;
    if (result.outcome == outcome::succeeded) {
      CHECK(world_.runs == 1);
      CHECK(world_.code == 0);
    }
    if (result.exit_code && world_.runs == 1)
      CHECK(*result.exit_code == world_.code);
    if (result.outcome == outcome::failed && result.exit_code && *result.exit_code < 100)
      CHECK(world_.runs == 1);
    if (result.outcome == outcome::cancelled)
      CHECK(cancelled_);
    if (result.outcome == outcome::timed_out)
      CHECK(run_.spec.timeout);
    if (result.outcome == outcome::rejected || result.outcome == outcome::image_unavailable)
      CHECK(false); // nothing here refuses
    if (work_.task.spec.at_most_once && world_.runs == 1)
      CHECK_FALSE(result.retry_at);
    // Whatever the outcome, a container that ran is not left to run: it is removed, or the engine was away for too long to ask.
    if (result.outcome != outcome::engine_lost && !gave_up_)
      CHECK(world_.state == truth::container::none);
  }

  std::string story() const { return story_; }

private:
  struct pending {
    action what;
    std::uint64_t generation, era;
  };

  int pick(int below) { return std::uniform_int_distribution<int>{0, below - 1}(random_); }
  bool chance(int one_in) { return pick(one_in) == 0; }

  instant now() const { return moment(clock_); }

  void hear(const event& happened) {
    auto generation = run_.generation;
    auto [after, actions] = next(std::move(run_), happened, now());
    run_ = std::move(after);
    if (run_.generation != generation)
      timers_.clear();
    std::erase_if(pending_, [this](const pending& one) { return !expected(one); });
    for (auto& one : actions) {
      if (auto words = describe(one); !words.empty())
        story_ += "    " + words + "\n";
      if (auto* wake = std::get_if<act::wake>(&one))
        timers_.emplace_back(clock_ + wake->after, wake->which);
      else if (std::holds_alternative<act::leave>(one))
        left_ = true;
      else if (auto* mistake = std::get_if<act::unexpected>(&one))
        mistakes_ += std::string{mistake->step} + ": " + mistake->event + "\n";
      else if (auto* gone = std::get_if<act::forget_container>(&one))
        (void)gone; // a network: not of this world
      else if (std::visit([](const auto& what) { return requires { typename std::decay_t<decltype(what)>::answer; }; }, one))
        pending_.push_back({one, run_.generation, run_.era});
    }
    story_ += "  = " + describe(run_) + "\n";
  }

  bool expected(const pending& one) const {
    return std::visit(
      [&](const auto& what) {
        using type = std::decay_t<decltype(what)>;
        if constexpr (requires { typename type::answer; })
          return type::lasting ? one.era == run_.era : one.generation == run_.generation;
        else
          return false;
      },
      one.what);
  }

  // -- the world ---------------------------------------------------------------------------------------------------------

  void engine(bool up) {
    if (world_.up == up)
      return;
    world_.up = up;
    story_ += up ? "engine up\n" : "engine down\n";
    auto status = run_.engine;
    status.state = up ? engine_state::ready : engine_state::down;
    if (up) {
      status.epoch = world_.epoch;
      status.same_since = timestamp{} + (world_.epoch == 1 ? std::chrono::hours{0} : std::chrono::hours{50});
    } else {
      status.same_since.reset();
    }
    hear(engine_changed{status});
  }

  void end_container(std::int64_t code) {
    if (world_.state != truth::container::running)
      return;
    world_.state = truth::container::ended;
    world_.code = code;
    story_ += "container ends with " + std::to_string(code) + "\n";
  }

  void begin_command() {
    world_.begun = true;
    ++world_.runs;
  }

  container_status status() const {
    static const char* words[] = {"", "created", "running", "exited"};
    auto found = container_of(run_, words[static_cast<int>(world_.state)], world_.code);
    found.id = container_id + std::to_string(world_.made);
    if (world_.warm)
      found.labels = {{"davit.sandbox", "nonce"}, {init::words_label, init::words_version}};
    else if (run_.spec.init == false)
      found.labels.erase(init::nonce_label);
    return found;
  }

  std::optional<sandbox_report> report() const {
    if (world_.state != truth::container::ended || (!world_.warm && run_.spec.init == false) || world_.stopped || world_.code > 100)
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
  std::optional<answer_or<ask::judge>> act_out(const ask::judge&) {
    ask::judge::answer judged;
    judged.effective = work_.task.spec;
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
  std::optional<answer_or<ask::history>> act_out(const ask::history&) {
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
  std::optional<answer_or<ask::first_line>> act_out(const ask::first_line&) { return std::string{world_.begun ? "davit-init nonce begun 0 0;" : ""}; }
  std::optional<answer_or<ask::pull_image>> act_out(const ask::pull_image&) { return ask::nothing{}; }
  std::optional<answer_or<ask::look_up_image>> act_out(const ask::look_up_image&) {
    image_info image;
    image.id = "sha256:1";
    return image;
  }
  std::optional<answer_or<ask::create>> act_out(const ask::create&) {
    if (world_.state != truth::container::none)
      return failure{engine_errc::conflict, {}, {}, "the name is in use"};
    world_.state = truth::container::created;
    world_.warm = world_.begun = world_.stopped = false;
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
    if (world_.state == truth::container::running && calm_)
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
  std::optional<answer_or<ask::feed>> act_out(const ask::feed&) { return ask::nothing{}; }
  std::optional<answer_or<ask::first_line_now>> act_out(const ask::first_line_now&) { return *act_out(ask::first_line{}); }
  std::optional<answer_or<ask::inspect_now>> act_out(const ask::inspect_now& q) { return *act_out(ask::inspect{{}, q.which}); }
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
    world_.begun = world_.stopped = false;
    ++world_.made;
    given.container = status().id;
    given.nonce = "nonce";
    given.arguments = {"true"};
    return given;
  }
  std::optional<answer_or<ask::take_network>> act_out(const ask::take_network&) { return sandbox{}; }
  std::optional<answer_or<ask::put_init>> act_out(const ask::put_init&) { return ask::nothing{}; }
  answer_or<ask::record> write(const attempt_progress& what) {
    if (world_.finished > 0)
      return failure{{}, store_errc::fenced, {}, "it has ended"};
    world_.row_state = what.state;
    world_.row_container = what.container;
    world_.row_started = what.started_at;
    return ask::nothing{};
  }
  std::optional<answer_or<ask::record>> act_out(const ask::record& q) { return write(q.what); }
  std::optional<answer_or<ask::record_start>> act_out(const ask::record_start& q) { return write(q.what); }
  std::optional<answer_or<ask::finish>> act_out(const ask::finish& q) {
    if (world_.finished > 0) { // the same again: its answer was lost
      CHECK(q.what.outcome == world_.result.outcome);
      return ask::nothing{};
    }
    ++world_.finished;
    world_.result = q.what;
    return ask::nothing{};
  }
  std::optional<answer_or<ask::open_log>> act_out(const ask::open_log&) { return log_lease{}; }
  std::optional<answer_or<ask::close_log>> act_out(const ask::close_log&) { return log_summary{}; }
  std::optional<answer_or<ask::note_log>> act_out(const ask::note_log&) { return ask::nothing{}; }

  template <class Ask>
  static constexpr bool of_engine() {
    return name_of<Ask> != asked::judge && name_of<Ask> < asked::record;
  }

  /// One question is answered, truly or with an error; what was asked may have been done all the same.
  void answer(std::size_t which) {
    auto one = pending_[which];
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(which));
    std::visit(
      [&](auto& q) {
        using type = std::decay_t<decltype(q)>;
        if constexpr (requires { typename type::answer; }) {
          constexpr auto name = name_of<type>;
          story_ += to_string(name);
          auto trouble = [&](failure why) {
            story_ += " refused: " + why.text + "\n";
            hear(refusal{name, std::move(why)});
          };
          if (of_engine<type>() && !world_.up) {
            trouble({engine_errc::unreachable, {}, {}, "connection refused"});
            return;
          }
          auto lost = !calm_ && name != asked::judge && chance(6);
          if (lost && chance(2)) { // before anything was done
            lose<type>(trouble);
            return;
          }
          auto done = act_out(q);
          if (!done) {
            pending_.push_back(one);
            story_ += " waits\n";
          } else if (lost) {
            lose<type>(trouble);
          } else if (auto* why = std::get_if<failure>(&*done)) {
            trouble(*why);
          } else {
            story_ += " answered\n";
            hear(reply<type>{std::get<typename type::answer>(std::move(*done))});
          }
        }
      },
      one.what);
  }

  template <class Ask, class Trouble>
  void lose(Trouble& trouble) {
    if constexpr (of_engine<Ask>())
      trouble({chance(4) && name_of<Ask> != asked::remove && name_of<Ask> != asked::create && name_of<Ask> != asked::start && name_of<Ask> != asked::pull_image ? engine_errc::failed
                                                                                                                         : engine_errc::lost,
               {}, {}, "lost on the way: transport is closing"});
    else if constexpr (name_of<Ask> >= asked::open_log)
      trouble({{}, {}, log_errc::unwritable, "disk full"});
    else
      trouble({{}, store_errc::unavailable, {}, "locked"});
  }

  void fire_timer() {
    if (timers_.empty())
      return;
    auto first = std::min_element(timers_.begin(), timers_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    auto [when, which] = *first;
    timers_.erase(first);
    clock_ = std::max(clock_, when);
    story_ += "timer " + to_string(which) + "\n";
    gave_up_ |= which == timer::engine_grace;
    hear(timer_fired{which});
  }

  /// The executor, or its whole agent, dies; another takes the attempt up from what the store says.
  void crash() {
    story_ += "crash\n";
    for (auto& one : pending_) // what was on its way may arrive
      if (chance(2))
        std::visit(
          [&](auto& q) {
            if constexpr (requires { typename std::decay_t<decltype(q)>::answer; })
              if (!of_engine<std::decay_t<decltype(q)>>() || world_.up)
                (void)act_out(q);
          },
          one.what);
    pending_.clear();
    timers_.clear();
    if (world_.finished > 0) {
      left_ = true; // the reaper removes what is left
      if (world_.state != truth::container::none)
        world_.state = truth::container::none;
      return;
    }
    auto engine = run_.engine;
    auto generation = run_.generation;
    run_ = fresh_attempt();
    run_.generation = generation + 1;
    run_.era = generation + 1;
    run_.engine = engine;
    run_.work = work_;
    run_.work.resumed = true;
    run_.work.task.state = world_.row_state;
    run_.work.task.cancel_requested = cancelled_;
    auto& row = run_.work.task.attempts.back();
    row.container = world_.row_container;
    row.started_at = world_.row_started;
    hear(begun{});
  }

  void disturb() {
    clock_ += std::chrono::milliseconds{pick(200)};
    switch (pick(14)) {
      case 0:
        engine(!world_.up);
        break;
      case 1:
        if (chance(3))
          crash();
        break;
      case 2:
        if (chance(3) && !left_) {
          cancelled_ = true;
          story_ += "cancel\n";
          hear(cancel_asked{});
        }
        break;
      case 3:
      case 4:
        fire_timer();
        break;
      case 5:
        if (world_.begun)
          end_container(will_exit_with_);
        break;
      case 6:
        if (chance(4) && world_.up) { // the engine is restarted, without live-restore
          end_container(137);
          ++world_.epoch;
          engine(false);
          engine(true);
        }
        break;
      default:
        if (!pending_.empty())
          answer(static_cast<std::size_t>(pick(static_cast<int>(pending_.size()))));
    }
  }

  void step_calmly() {
    std::erase_if(pending_, [this](const pending& one) { return !expected(one); });
    if (!pending_.empty() && !chance(4))
      answer(static_cast<std::size_t>(pick(static_cast<int>(pending_.size()))));
    else
      fire_timer();
  }

  std::mt19937_64 random_;
  attempt_run run_;
  claimed_attempt work_;
  truth world_;
  std::vector<pending> pending_;
  std::vector<std::pair<std::chrono::milliseconds, timer>> timers_;
  std::chrono::milliseconds clock_{0};
  std::int64_t will_exit_with_ = 0;
  bool gave_up_ = false; ///< The engine's grace was over.
  bool left_ = false, calm_ = false, cancelled_ = false;
  std::string story_, mistakes_;
};

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  auto* text = std::getenv(variable);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

} // namespace

TEST_CASE("an attempt ends once and truly, whatever fails on its way", "[attempt]") {
  auto seed = number_from("DAVIT_SEED", 1);
  auto count = number_from("DAVIT_ATTEMPTS", 3000);
  for (auto i = seed; i < seed + count; ++i) {
    simulation one{i};
    auto ended = one.go();
    INFO("DAVIT_SEED=" << i << " DAVIT_ATTEMPTS=1\n" << one.story());
    REQUIRE(ended);
    one.check();
  }
}
