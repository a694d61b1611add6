// Single stories of an attempt, each of a fault that once was.
#include "actors/attempt_story.hpp"

#include "actors/container_plan.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/message.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

using namespace davit;
using namespace davit::test;

TEST_CASE("a stop that waits for its engine is not forgotten when the container ends meanwhile", "[attempt]") {
  story it{fresh_attempt(), {}};
  it.run.work.task.spec.start = start_mode::cold;
  it.run.work.task.spec.init = false;
  it.hears(begun{}).hears(judged(it.run)).hears(reply<ask::create>{container_id});
  it.hears(reply<ask::inspect>{container_of(it.run, "created")}).hears(reply<ask::start>{true});
  it.hears(cancel_asked{});
  REQUIRE(it.asks<ask::stop>());
  it.hears(refusal{asked::stop, {engine_errc::lost, {}, {}, "reset"}}); // the engine has it, though
  it.hears(engine_is(it.run, engine_state::down));
  it.hears(reply<ask::wait>{143}).hears(reply<ask::inspect>{container_of(it.run, "exited", 143)});
  REQUIRE(std::holds_alternative<collecting>(it.run.now));
  it.hears(engine_is(it.run, engine_state::ready)); // what waited for this must not run in another step
  CHECK_FALSE(it.asks<ask::stop>());
  it.hears(reply<ask::open_log>{}).hears(reply<ask::read_log>{}).hears(reply<ask::close_log>{});
  CHECK(it.result().outcome == outcome::cancelled);
}

TEST_CASE("a stop that finds its container ended changes nothing of how it ended", "[attempt]") {
  story it{fresh_attempt(), {}};
  it.run.work.task.spec.start = start_mode::cold;
  it.run.work.task.spec.init = false;
  it.hears(begun{}).hears(judged(it.run)).hears(reply<ask::create>{container_id});
  it.hears(reply<ask::inspect>{container_of(it.run, "created")}).hears(reply<ask::start>{true});
  it.hears(cancel_asked{})
    .hears(reply<ask::stop>{false})
    .hears(reply<ask::wait>{0})
    .hears(reply<ask::inspect>{container_of(it.run, "exited", 0)});
  it.hears(reply<ask::open_log>{}).hears(reply<ask::read_log>{}).hears(reply<ask::close_log>{});
  CHECK(it.result().outcome == outcome::succeeded);
}

TEST_CASE("what runs already is not refused by a policy that has become stricter", "[attempt]") {
  story it{resumed(), {}};
  it.hears(begun{}).hears(judged(it.run, "image: not allowed any more"));
  CHECK(std::holds_alternative<recovering>(it.run.now));
  it.hears(reply<ask::inspect>{container_of(it.run, "running")});
  CHECK(std::holds_alternative<running>(it.run.now));

  SECTION("but what was never started is") {
    story never{resumed(task_state::starting), {}};
    never.hears(begun{})
      .hears(judged(never.run, "image: not allowed any more"))
      .hears(refusal{asked::inspect, {engine_errc::not_found, {}, {}, "none"}});
    never.hears(reply<ask::list_containers>{}).hears(reply<ask::close_log>{});
    CHECK(never.result().outcome == outcome::rejected);
  }
  SECTION("and so is a container that was made and not started") {
    story made{resumed(task_state::starting), {}};
    made.hears(begun{})
      .hears(judged(made.run, "image: not allowed any more"))
      .hears(reply<ask::inspect>{container_of(made.run, "created")});
    engine_event create;
    create.action = "create";
    made.hears(reply<ask::remove>{}).hears(reply<ask::history>{{create}});
    REQUIRE(made.asks<ask::remove>());
    made.hears(reply<ask::remove>{}).hears(reply<ask::close_log>{});
    CHECK(made.result().outcome == outcome::rejected);
  }
}

TEST_CASE("a container that a start may still reach is removed, and made again only if none has reached it",
          "[attempt]") {
  auto once = GENERATE(false, true);
  auto run = resumed(task_state::starting);
  run.work.task.spec.at_most_once = run.spec.at_most_once = once;
  if (once) // its start was announced
    run.work.task.attempts.back().container = container_id;
  story it{std::move(run), {}};
  it.hears(begun{}).hears(judged(it.run)).hears(reply<ask::inspect>{container_of(it.run, "created")});
  CHECK_FALSE(it.asks<ask::start>());
  REQUIRE(it.asks<ask::remove>());
  it.hears(reply<ask::remove>{});
  REQUIRE(it.asks<ask::history>());
  engine_event create, start;
  create.action = "create";
  start.action = "start";
  SECTION("none has") {
    it.hears(reply<ask::history>{{create}});
    if (once) {
      REQUIRE(it.asks<ask::record>());
      CHECK(it.asks<ask::record>()->what.container.empty());
      it.hears(reply<ask::record>{});
    }
    it.hears(reply<ask::remove>{});
    CHECK(std::holds_alternative<preparing>(it.run.now));
    CHECK_FALSE(it.run.may_have_started);
  }
  SECTION("one has") {
    it.hears(reply<ask::history>{{create, start}}).hears(reply<ask::close_log>{});
    CHECK(it.result().outcome == outcome::engine_lost);
    CHECK(it.result().retry_at.has_value() != once);
  }
  SECTION("the engine does not remember") {
    it.hears(reply<ask::history>{}).hears(reply<ask::close_log>{});
    CHECK(it.result().outcome == outcome::engine_lost);
    CHECK(it.result().retry_at.has_value() != once);
  }
}

TEST_CASE("a container with an older davit's init is made again, unless it may have been started", "[attempt]") {
  for (std::string words : {"", "3"}) {
    story it{resumed(task_state::starting), {}};
    auto found = container_of(it.run, "created");
    found.labels.erase(init::words_label);
    if (!words.empty())
      found.labels[init::words_label] = words;
    it.hears(begun{}).hears(judged(it.run)).hears(reply<ask::inspect>{found});
    REQUIRE(it.asks<ask::remove>());
    CHECK(it.asks<ask::remove>()->which == found.id);
    found = container_of(it.run, "running");
    found.labels.erase(init::words_label);
    story runs{resumed(task_state::running), {}};
    runs.hears(begun{}).hears(judged(runs.run)).hears(reply<ask::inspect>{found});
    CHECK(std::holds_alternative<running>(runs.run.now));
  }
}

TEST_CASE("a task is judged by what its engine allows, once that has spoken", "[attempt]") {
  story it{resumed(), {}};
  auto well = it.run.engine;
  it.run.engine = {};
  it.run.engine.name = "local";
  it.run.engine.grace = std::chrono::seconds{60};
  it.hears(begun{});
  CHECK_FALSE(it.asks<ask::judge>());
  well.profile = policy_profile::privileged;
  it.hears(engine_changed{well});
  REQUIRE(it.asks<ask::judge>());
  CHECK(it.asks<ask::judge>()->profile == policy_profile::privileged);
}

TEST_CASE("a task that runs at most once is not tried again while it may be running", "[attempt]") {
  story it{resumed(), {}};
  it.run.work.task.spec.at_most_once = true;
  it.run.work.task.spec.retry.attempts = 3;
  it.hears(begun{}).hears(judged(it.run)).hears(refusal{asked::inspect, {engine_errc::unreachable, {}, {}, "refused"}});
  it.hears(timer_fired{timer::engine_grace}, std::chrono::seconds{61}).hears(reply<ask::close_log>{});
  CHECK(it.result().outcome == outcome::engine_lost);
  CHECK_FALSE(it.result().retry_at);
}

TEST_CASE("what others than the engine answer does not prolong its grace", "[attempt]") {
  story it{fresh_attempt(), {}};
  it.run.work.task.spec.start = start_mode::cold;
  it.run.work.task.spec.init = false;
  it.hears(begun{}).hears(judged(it.run)).hears(reply<ask::create>{container_id});
  it.hears(reply<ask::inspect>{container_of(it.run, "created")}).hears(reply<ask::start>{true});
  it.hears(engine_is(it.run, engine_state::down));
  it.hears(refusal{asked::wait, {engine_errc::timed_out, {}, {}, "no answer"}});
  it.hears(timer_fired{timer::first_look}).hears(reply<ask::open_log>{}); // from the log keeper
  it.hears(timer_fired{timer::engine_grace}, it.run.engine.grace);
  it.hears(reply<ask::close_log>{}, it.run.engine.grace);
  CHECK(it.result().outcome == outcome::engine_lost);
}

TEST_CASE("an init that can't be asked for in time is asked for again", "[attempt]") {
  story it{fresh_attempt(), {}};
  it.run.work.task.spec.start = start_mode::cold;
  image_info image;
  image.id = "sha256:1";
  it.hears(begun{}).hears(judged(it.run)).hears(reply<ask::look_up_image>{image});
  it.hears(refusal{asked::put_init, {engine_errc::lost, {}, {}, "reset"}}).hears(timer_fired{timer::engine_retry});
  CHECK(it.asks<ask::look_up_image>());
  it.hears(reply<ask::look_up_image>{image}).hears(reply<ask::put_init>{});
  REQUIRE(it.asks<ask::create>());
  CHECK(it.run.made.nonce == init::nonce_of(moment().nonce));
}

TEST_CASE("a sandbox that nobody handed its task to is given up in three seconds, however slowly its engine counts",
          "[attempt]") {
  story it{resumed(), {}};
  it.hears(begun{}).hears(judged(it.run)); // its engine takes a second for each look at the processes
  REQUIRE(it.asks<ask::inspect>());
  auto found = container_of(it.run, "running");
  found.labels["davit.sandbox"] = "nonce";
  reply<ask::inspect> there;
  there.value = found;
  it.hears(there);
  reply<ask::count_processes> alone;
  alone.value = 1;
  for (auto after = std::chrono::seconds{1}; after < std::chrono::seconds{4}; ++after) {
    REQUIRE(std::holds_alternative<recovering>(it.run.now));
    it.hears(alone, after);
    if (after < std::chrono::seconds{3})
      it.hears(timer_fired{timer::again}, after);
  }
  CHECK_FALSE(std::holds_alternative<recovering>(it.run.now));
}

namespace {

/// In a container of its own with an init, which has said `exited 0`.
story told_of_success(task_spec spec, const std::string& nonce = {}) {
  story it{fresh_attempt(), {}};
  spec.start = start_mode::cold;
  it.run.work.task.spec = spec;
  image_info image;
  image.id = "sha256:1";
  it.hears(begun{}).hears(judged(it.run)).hears(reply<ask::look_up_image>{image}).hears(reply<ask::put_init>{});
  if (!nonce.empty())
    it.run.made.nonce = nonce;
  it.hears(reply<ask::create>{container_id}).hears(reply<ask::inspect>{container_of(it.run, "created")});
  it.hears(reply<ask::start>{true}).hears(timer_fired{timer::first_look}).hears(reply<ask::open_log>{});
  log_end end;
  end.complete = true;
  end.report = sandbox_report{sandbox_word::exited, 0, 0};
  it.hears(reply<ask::follow_log>{end});
  return it;
}

reply<ask::look_up_image> image(const std::string& id) {
  reply<ask::look_up_image> found;
  found.value.id = id;
  return found;
}

} // namespace

TEST_CASE("an init's word ends an attempt early, unless a task may have power over it or it has no seal", "[attempt]") {
  auto plain = fresh_attempt().work.task.spec;
  CHECK(told_of_success(plain).asks<ask::close_log>());
  auto mighty = plain;
  mighty.cap_add = {"SYS_PTRACE"};
  CHECK_FALSE(told_of_success(mighty).asks<ask::close_log>());
  CHECK_FALSE(told_of_success(plain, to_string(uuid{{1}})).asks<ask::close_log>());
}

TEST_CASE("if an init and the engine disagree, the engine's word decides, and the evidence says so", "[attempt]") {
  auto spec = fresh_attempt().work.task.spec;
  spec.cap_add = {"SYS_PTRACE"};
  auto it = told_of_success(spec);
  it.hears(reply<ask::wait>{7}).hears(reply<ask::inspect>{container_of(it.run, "exited", 7)});
  REQUIRE(it.asks<ask::close_log>());
  it.hears(reply<ask::close_log>{});
  CHECK(it.result().outcome == outcome::failed);
  CHECK(it.result().exit_code == 7);
  CHECK(it.result().evidence.note == "by the engine's word: the container's init said exit code 0");
}

TEST_CASE("the word of an init is believed over an engine that was restarted, unless the task had power over it",
          "[attempt]") {
  auto live_restore = GENERATE(true, false);
  auto spec = fresh_attempt().work.task.spec;
  SECTION("its own") {}
  SECTION("the task's, perhaps") {
    spec.cap_add = {"SYS_PTRACE"};
  }
  auto it = told_of_success(spec);
  it.run.made.told = sandbox_report{sandbox_word::exited, 5, 0};
  it.run.engine.info.live_restore = live_restore;
  ++it.run.engine.epoch;
  it.run.engine.same_since = timestamp{} + std::chrono::hours{100'000 * 24};
  if (spec.cap_add.empty())
    it.run.now = running{}; // the engine was quicker than the log
  it.hears(reply<ask::wait>{0}).hears(reply<ask::inspect>{container_of(it.run, "exited", 0)});
  if (it.asks<ask::history>())
    it.hears(reply<ask::history>{});
  if (it.asks<ask::note_log>())
    it.hears(reply<ask::note_log>{});
  REQUIRE(it.asks<ask::close_log>());
  it.hears(reply<ask::close_log>{});
  INFO(it.result().message << "; " << it.result().evidence.note);
  if (spec.cap_add.empty()) {
    CHECK(it.result().outcome == outcome::failed);
    CHECK(it.result().exit_code == 5);
    CHECK(it.result().evidence.note.find("says exit code 0") != std::string::npos);
  } else {
    CHECK(it.result().outcome == (live_restore ? outcome::succeeded : outcome::engine_lost));
  }
}

TEST_CASE("where images are guarded, nothing is made of one before the store has said that its owner may use it",
          "[attempt][images]") {
  story it{fresh_attempt(), {}, true};
  it.hears(begun{}).hears(judged(it.run));
  REQUIRE(it.asks<ask::may_use>());
  CHECK(it.asks<ask::may_use>()->what.image_id.empty());
  SECTION("any of the name") {
    it.hears(reply<ask::may_use>{true});
    CHECK(it.asks<ask::take_sandbox>());
  }
  SECTION("the one that the engine has, and no other sandbox") {
    it.hears(reply<ask::may_use>{false});
    REQUIRE(it.asks<ask::look_up_image>());
    it.hears(image("sha256:1"));
    REQUIRE(it.asks<ask::may_use>());
    CHECK(it.asks<ask::may_use>()->what.image_id == "sha256:1");
    it.hears(reply<ask::may_use>{true});
    REQUIRE(it.asks<ask::take_sandbox>());
    sandbox given;
    given.container = container_id;
    given.image_id = "sha256:2";
    given.arguments = {"true"};
    it.hears(reply<ask::take_sandbox>{given});
    REQUIRE(it.asks<ask::remove>());
    it.hears(reply<ask::remove>{});
    CHECK(it.asks<ask::may_use>()); // what does the name stand for now?
  }
  SECTION("nor a container of another, which has no init") {
    it.run.spec.init = false;
    it.hears(reply<ask::may_use>{false}).hears(image("sha256:2")).hears(reply<ask::may_use>{true});
    REQUIRE(it.asks<ask::create>());
    it.hears(reply<ask::create>{container_id});
    REQUIRE(it.asks<ask::inspect>());
    it.hears(reply<ask::inspect>{container_of(it.run, "created")}); // of sha256:1
    CHECK_FALSE(it.asks<ask::start>());
    CHECK(it.asks<ask::remove>());
  }
  SECTION("another owner's is pulled") {
    it.hears(reply<ask::may_use>{false}).hears(image("sha256:1")).hears(reply<ask::may_use>{false});
    REQUIRE(it.asks<ask::pull_image>());
    it.hears(reply<ask::pull_image>{}).hears(image("sha256:1"));
    REQUIRE(it.asks<ask::record_pull>());
    CHECK(it.asks<ask::record_pull>()->stage == pull_stage::done);
    CHECK_FALSE(it.asks<ask::record_pull>()->what.own); // the agent's credentials: it is for all
    it.hears(reply<ask::record_pull>{});
    CHECK(it.asks<ask::take_sandbox>());
  }
  SECTION("another owner's is as good as missing, where nothing is to be pulled") {
    it.run.spec.pull = pull_policy::never;
    it.hears(reply<ask::may_use>{false});
    auto missing = it;
    it.hears(image("sha256:1")).hears(reply<ask::may_use>{false}).hears(reply<ask::close_log>{});
    missing.hears(refusal{asked::look_up_image, {engine_errc::not_found, {}, {}, "No such image: busybox"}})
      .hears(reply<ask::close_log>{});
    CHECK(it.result().outcome == outcome::image_unavailable);
    CHECK(it.result().message == missing.result().message);
  }
  SECTION("the store is asked until it answers") {
    it.hears(refusal{asked::may_use, {{}, store_errc::unavailable, {}, "locked"}});
    it.hears(timer_fired{timer::again});
    CHECK(it.asks<ask::may_use>());
  }
}

TEST_CASE("a pull with the task's own credentials is written down before it begins, and what it brought afterwards",
          "[attempt][images]") {
  story it{fresh_attempt(), {}};
  auto answer = judged(it.run);
  answer.value.effective.pull = pull_policy::always;
  answer.value.secrets[registry_secret] = {"{}", false};
  it.hears(begun{}).hears(answer);
  REQUIRE(it.asks<ask::look_up_image>());
  it.hears(image("sha256:old"));
  REQUIRE(it.asks<ask::record_pull>());
  CHECK(it.asks<ask::record_pull>()->stage == pull_stage::begun);
  CHECK(it.asks<ask::record_pull>()->what.image_id == "sha256:old");
  CHECK(it.asks<ask::record_pull>()->what.own);
  CHECK_FALSE(it.asks<ask::pull_image>());
  it.hears(reply<ask::record_pull>{});
  REQUIRE(it.asks<ask::pull_image>());
  SECTION("it is done") {
    it.hears(reply<ask::pull_image>{}).hears(image("sha256:new"));
    REQUIRE(it.asks<ask::record_pull>());
    CHECK(it.asks<ask::record_pull>()->stage == pull_stage::done);
    CHECK(it.asks<ask::record_pull>()->what.image_id == "sha256:new");
  }
  SECTION("the registry refuses: nothing came") {
    it.hears(refusal{asked::pull_image, {engine_errc::failed, {}, {}, "unauthorized"}});
    CHECK(it.asks<act::forget_pull>());
  }
  SECTION("nobody knows what came of it") {
    it.hears(refusal{asked::pull_image, {engine_errc::timed_out, {}, {}, "the pull took too long"}});
    it.hears(timer_fired{timer::engine_retry}, std::chrono::hours{1});
    CHECK_FALSE(it.asks<act::forget_pull>());
    it.hears(reply<ask::close_log>{});
    CHECK(it.result().outcome == outcome::image_unavailable);
  }
}
