// A log that ends without its init's last word.
#include "actors/attempt_story.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

const auto ready_for_log = [](std::int64_t code) {
  story it{resumed(), {}};
  auto found = container_of(it.run, "exited", code);
  it.hears(begun{}).hears(judged(it.run)).hears(reply<ask::inspect>{found});
  it.hears(reply<ask::wait>{code}).hears(reply<ask::inspect>{found}).hears(reply<ask::open_log>{});
  return it;
};

bool says_missing(const story& it) {
  return it.asks<ask::note_log>() && it.asks<ask::note_log>()->text.starts_with("some bytes may be missing");
}

} // namespace

TEST_CASE("a log without its init's last word may lack its end, and says so; so does the evidence", "[attempt]") {
  auto it = ready_for_log(0);
  it.hears(reply<ask::read_log>{}).hears(reply<ask::first_line>{"davit-init nonce begun 0 0;"});
  REQUIRE(says_missing(it));
  SECTION("once, also if it can't be written at first") {
    it.hears(refusal{asked::note_log, {{}, {}, log_errc::unwritable, "full"}});
    CHECK_FALSE(says_missing(it));
    it.hears(timer_fired{timer::again});
    CHECK(says_missing(it));
  }
  it.hears(reply<ask::note_log>{});
  REQUIRE(it.asks<ask::close_log>());
  it.hears(reply<ask::close_log>{});
  CHECK(it.result().outcome == outcome::succeeded);
  CHECK(it.result().evidence.note.find("the engine has lost the log's end") != std::string::npos);
}

TEST_CASE("a log is taken for whole if it ends with the last word, or has none to wait for", "[attempt]") {
  SECTION("its init was killed") {
    for (auto code : {137, 143}) {
      auto it = ready_for_log(code);
      it.hears(reply<ask::read_log>{}).hears(reply<ask::first_line>{"davit-init nonce begun 0 0;"});
      CHECK_FALSE(says_missing(it));
      CHECK(it.asks<ask::history>());
    }
  }
  SECTION("it has spoken") {
    auto it = ready_for_log(3);
    log_end end;
    end.report = sandbox_report{sandbox_word::exited, 3, 0};
    it.hears(reply<ask::read_log>{end});
    CHECK_FALSE(says_missing(it));
    CHECK(it.asks<ask::close_log>());
  }
  SECTION("davit stopped it") {
    story it{resumed(), {}};
    it.run.work.task.cancel_requested = true;
    auto found = container_of(it.run, "exited", 0);
    it.hears(begun{}).hears(judged(it.run)).hears(reply<ask::inspect>{found});
    it.hears(reply<ask::wait>{0}).hears(reply<ask::inspect>{found}).hears(reply<ask::open_log>{});
    it.hears(reply<ask::read_log>{});
    CHECK_FALSE(says_missing(it));
  }
  SECTION("what the engine did not give is told of already") {
    auto it = ready_for_log(0);
    it.hears(refusal{asked::read_log, {engine_errc::refused, {}, {}, "no such file"}});
    it.hears(reply<ask::note_log>{}).hears(reply<ask::first_line>{"davit-init nonce begun 0 0;"});
    CHECK_FALSE(says_missing(it));
    CHECK(it.asks<ask::close_log>());
  }
}

TEST_CASE("what an earlier executor was stopping has ended by that, also if the engine has forgotten how it ended",
          "[attempt]") {
  auto cancelled = GENERATE(true, false); // or its timeout is over
  auto told = GENERATE(143, 137, 3);
  CAPTURE(cancelled, told);
  story it{resumed(), {}};
  it.run.work.task.cancel_requested = cancelled;
  if (!cancelled)
    it.run.work.task.spec.timeout = it.run.spec.timeout = duration{1000};
  auto found = container_of(it.run, "exited", 0);
  it.run.engine.epoch = 7; // it was restarted, with live-restore
  it.run.engine.same_since = *found.finished_at + 1s;
  it.run.engine.info.live_restore = true;
  it.hears(begun{}).hears(judged(it.run)).hears(reply<ask::inspect>{found});
  it.hears(reply<ask::wait>{0}).hears(reply<ask::inspect>{found}).hears(reply<ask::open_log>{});
  log_end end;
  end.report = sandbox_report{sandbox_word::exited, told, 0};
  it.hears(reply<ask::read_log>{end});
  for (int i = 0; i < 3 && !it.asks<ask::close_log>(); ++i)
    if (it.asks<ask::history>())
      it.hears(reply<ask::history>{});
    else if (it.asks<ask::note_log>())
      it.hears(reply<ask::note_log>{});
  it.hears(reply<ask::close_log>{});
  CHECK(it.result().exit_code == told);
  CHECK(it.result().outcome == (told == 3 ? outcome::failed : cancelled ? outcome::cancelled : outcome::timed_out));
}
