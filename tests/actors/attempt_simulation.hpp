// An attempt in a world whose answers fail, get lost, and whose agents die at random.
#pragma once

#include "actors/engine_placement.hpp"
#include "attempt_world.hpp"

#include <algorithm>

namespace davit::test {

class simulation : attempt_world {
public:
  explicit simulation(std::uint64_t seed) : attempt_world(seed) {
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
      spec.stdin_text = "in";
    if (chance(5))
      spec.timeout = duration{5000};
    else if (chance(4))
      policy_timeout_ = duration{5000};
    if (chance(3))
      spec.inputs.push_back({"sha256:0", "/src"});
    if (chance(3))
      spec.outputs["out"].path = "/out";
    if (chance(5)) {
      spec.outputs["other"].path = chance(2) ? "/missing" : "/out";
      spec.outputs["other"].required = chance(2);
    }
    if (chance(4))
      spec.caches.push_back({"key", "/cache", {}, {}});
    spec.memo = chance(6);
    memo_there_ = chance(3);
    images_guarded_ = chance(3);
    own_credentials_ = chance(4);
    run_.spec = spec;
    work_ = run_.work;
    engine_ = run_.engine;
    will_exit_with_ = std::int64_t{pick(3)};
    hear(begun{});
  }

  /// Chaos, then an engine and a store that answer; true if the attempt came to its end.
  bool go() {
    for (int i = 0, most = pick(120); i < most && !left_; ++i)
      disturb();
    calm_ = true;
    stays_away_ = chance(6);
    if (unplaced_ && chance(3)) { // the engine is not configured any more
      stays_away_ = true;
      story_ += "engine not configured\n";
      hear(engine_changed{engine_for({}, made_for().engine, made_for().engine_id)});
    } else {
      find_engine();
    }
    engine(!stays_away_);
    for (int i = 0; i < 3000 && !left_; ++i)
      step_calmly();
    return left_;
  }

  void check() const {
    CHECK(mistakes_.empty());
    CHECK(world_.finished == 1);
    CHECK(world_.runs <= 1);
    const auto& result = world_.result;
    if (!result.answer_of.empty()) {
      CHECK(result.outcome == outcome::succeeded);
      CHECK((memo_there_ && work_.task.spec.memo));
      CHECK(world_.runs == 0);
      CHECK(result.memo.empty());
    } else if (result.outcome == outcome::succeeded) {
      CHECK(world_.runs == 1);
      CHECK(result.memo.empty() != work_.task.spec.memo);
      CHECK(result.caches.size() == work_.task.spec.caches.size());
      for (const auto& one : result.caches)
        CHECK((one.kept || !one.message.empty()));
      CHECK(world_.code == 0);
    }
    if (result.exit_code && world_.runs == 1)
      CHECK(*result.exit_code == world_.code);
    check_outputs();
    if (result.outcome == outcome::failed && result.exit_code && *result.exit_code < 100)
      CHECK(world_.runs == 1);
    if (result.outcome == outcome::cancelled)
      CHECK(cancelled_);
    if (result.outcome == outcome::timed_out && world_.runs == 1)
      CHECK(world_.started_with);
    if (result.outcome == outcome::agent_lost)
      CHECK((drained_ || (crashed_ && work_.task.spec.stdin_text)));
    if (result.outcome == outcome::succeeded || result.outcome == outcome::failed)
      CHECK(world_.read != truth::input::cut);
    if (world_.stopped && terms_of(world_.row_message).stop != ending::none) { // whoever asked for it, and died
      CHECK(result.outcome != outcome::succeeded);
      CHECK(result.outcome != outcome::failed);
    }
    if (result.outcome == outcome::rejected || result.outcome == outcome::image_unavailable)
      CHECK(false); // nothing here refuses
    if (work_.task.spec.at_most_once && world_.runs == 1)
      CHECK_FALSE(result.retry_at);
    // Whatever the outcome, a container that ran is not left to run: it is removed, or the engine was away for too long
    // to ask.
    if (stays_away_ && world_.begun && world_.state == truth::container::running)
      CHECK((result.outcome == outcome::engine_lost
             || (result.outcome == outcome::agent_lost && (drained_ || work_.task.spec.stdin_text))));
    if (result.outcome != outcome::engine_lost && !gave_up_)
      CHECK(world_.state == truth::container::none);
  }

  /// Whoever has an exit code to tell has looked for each output once, and has what it must have.
  void check_outputs() const {
    const auto& result = world_.result;
    const auto& wanted = work_.task.spec.outputs;
    for (const auto& one : result.caches)
      CHECK((result.outcome == outcome::succeeded || !one.kept));
    if (result.exit_code && world_.runs == 1)
      CHECK(result.outputs.size() == wanted.size());
    for (const auto& one : result.outputs) {
      CHECK(wanted.contains(one.name));
      if (one.state == output_state::kept)
        CHECK(wanted.at(one.name).path != "/missing");
      else if (wanted.at(one.name).required)
        CHECK(result.outcome != outcome::succeeded);
    }
  }

  std::string story() const { return story_; }

private:
  struct pending {
    action what;
    std::uint64_t generation, era;
  };

  instant now() const {
    auto when = moment(clock_);
    when.images_guarded = images_guarded_;
    return when;
  }

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
      else if (std::visit(
                 [](const auto& what) {
                   return requires {
                     typename std::decay_t<decltype(what)>::answer;
                   };
                 },
                 one))
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

  // -- the world
  // ---------------------------------------------------------------------------------------------------------

  void engine(bool up) {
    if (world_.up == up)
      return;
    world_.up = up;
    story_ += up ? "engine up\n" : "engine down\n";
    auto& status = engine_;
    status.state = up ? engine_state::ready : engine_state::down;
    if (up) {
      status.epoch = world_.epoch;
      status.same_since = timestamp{} + (world_.epoch == 1 ? std::chrono::hours{0} : std::chrono::hours{50});
    } else {
      status.same_since.reset();
    }
    if (!unplaced_)
      hear(engine_changed{status});
  }

  const attempt& made_for() const { return work_.task.attempts.back(); }

  /// The next agent's configuration calls it otherwise: which engine it is, it has to tell first.
  void rename_engine() {
    engine_.name = "renamed";
    auto settings = std::make_shared<agent_settings>(*run_.settings);
    settings->engines.front().name = engine_.name;
    run_.settings = settings;
    auto unknown = engine_;
    unknown.state = engine_state::connecting;
    unknown.info = {};
    run_.engine = engine_for({{unknown.name, unknown}}, made_for().engine, made_for().engine_id);
    unplaced_ = true;
    story_ += "engine renamed\n";
  }

  void find_engine() {
    if (!std::exchange(unplaced_, false))
      return;
    story_ += "engine found\n";
    hear(engine_changed{engine_});
  }

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
            if (name == asked::feed)
              give(truth::input::cut);
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

  /// What an answer that is lost looks like: a 5xx, rubbish in its place, or nothing.
  engine_errc lost_code(asked what) {
    if (chance(4) && what != asked::remove && what != asked::create && what != asked::start
        && what != asked::pull_image)
      return engine_errc::failed;
    return what != asked::pull_image && chance(4) ? engine_errc::protocol : engine_errc::lost;
  }

  template <class Ask, class Trouble>
  void lose(Trouble& trouble) {
    if constexpr (name_of<Ask> == asked::recall)
      trouble({{}, store_errc::unavailable, {}, "locked"});
    else if constexpr (name_of<Ask> >= asked::fill)
      trouble(chance(2) ? failure{engine_errc::lost, {}, {}, "lost on the way: transport is closing", {}}
                        : failure{{}, {}, {}, "the disk can't be read", files_errc::failed});
    else if constexpr (of_engine<Ask>())
      trouble({lost_code(name_of<Ask>), {}, {}, "lost on the way: transport is closing"});
    else if constexpr (name_of<Ask> >= asked::open_log)
      trouble({{}, {}, log_errc::unwritable, "disk full"});
    else
      trouble({{}, store_errc::unavailable, {}, "locked"});
  }

  void fire_timer() {
    if (timers_.empty())
      return;
    auto first = std::min_element(timers_.begin(), timers_.end(),
                                  [](const auto& a, const auto& b) { return a.first < b.first; });
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
    crashed_ = true;
    for (auto& one : pending_) // what was on its way may arrive
      if (chance(2))
        std::visit(
          [&](auto& q) {
            if constexpr (requires { typename std::decay_t<decltype(q)>::answer; })
              if (!of_engine<std::decay_t<decltype(q)>>() || world_.up)
                (void)act_out(q);
          },
          one.what);
    if (std::any_of(pending_.begin(), pending_.end(),
                    [](const pending& one) { return std::holds_alternative<ask::feed>(one.what); }))
      give(truth::input::cut);
    pending_.clear();
    timers_.clear();
    if (world_.finished > 0) {
      left_ = true; // the reaper removes what is left
      if (world_.state != truth::container::none)
        world_.state = truth::container::none;
      return;
    }
    // The next agent's policy may be another; what is not on record as running is started by that.
    if (chance(2) && (world_.row_state == task_state::running || !world_.begun))
      policy_timeout_ = chance(2) ? std::optional{duration{5000}} : std::nullopt;
    auto generation = run_.generation;
    run_ = fresh_attempt();
    run_.generation = generation + 1;
    run_.era = generation + 1;
    run_.engine = engine_;
    unplaced_ = false;
    if (engine_.name != made_for().engine || chance(4))
      rename_engine();
    run_.work = work_;
    run_.work.resumed = true;
    run_.work.task.state = world_.row_state;
    run_.work.task.cancel_requested = cancelled_;
    auto& row = run_.work.task.attempts.back();
    row.container = world_.row_container;
    row.started_at = world_.row_started;
    row.message = world_.row_message;
    row.caches = world_.row_caches;
    hear(begun{});
  }

  void disturb() {
    clock_ += std::chrono::milliseconds{pick(200)};
    switch (pick(15)) {
      case 0:
        if (unplaced_)
          find_engine();
        else
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
          hear(chance(2) ? cancel_asked{duration{pick(2000)}} : cancel_asked{});
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
      case 7:
        if (chance(4) && !left_) {
          drained_ = true;
          story_ += "drain\n";
          hear(drain_asked{});
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

  std::vector<pending> pending_;
  std::vector<std::pair<std::chrono::milliseconds, timer>> timers_;
  std::chrono::milliseconds clock_{0};
  engine_status engine_;    ///< As its connection tells of it.
  bool unplaced_ = false;   ///< The attempt has not heard yet which engine it is on.
  bool stays_away_ = false; ///< The engine does not come back.
  bool gave_up_ = false;    ///< The engine's grace was over.
  bool left_ = false, cancelled_ = false, drained_ = false, crashed_ = false;
};

} // namespace davit::test
