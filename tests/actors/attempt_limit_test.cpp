// A cancel may say how long an attempt's end may take, whatever it is at.
#include "actors/attempt_samples.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

struct story {
  attempt_run run;
  std::vector<action> last;

  story& hears(const event& happened, std::chrono::milliseconds when = {}) {
    auto [after, actions] = next(std::move(run), happened, moment(when));
    run = std::move(after);
    last = std::move(actions);
    return *this;
  }
  template <class Action>
  const Action* does() const {
    for (const auto& one : last)
      if (auto* found = std::get_if<Action>(&one))
        return found;
    return nullptr;
  }
  std::optional<duration> wakes(timer which) const {
    for (const auto& one : last)
      if (auto* found = std::get_if<act::wake>(&one); found && found->which == which)
        return found->after;
    return std::nullopt;
  }
};

story at(const std::string& name, duration stop_timeout = 1h) {
  auto all = every_step();
  auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.first == name; });
  REQUIRE(found != all.end());
  found->second.spec.stop_timeout = stop_timeout;
  return {found->second, {}};
}

const failure lost{engine_errc::lost, {}, {}, "lost"};

} // namespace

TEST_CASE("a stop gets no more time than the cancel says, and no more than the task asks for", "[attempt]") {
  auto name = GENERATE("running: cold", "running: warm");
  auto it = at(name);
  it.hears(cancel_asked{8s});
  REQUIRE(it.does<ask::stop>());
  CHECK(it.does<ask::stop>()->grace == 8s);
  CHECK(it.wakes(timer::kill).value() >= 8s);
  auto quick = at(name, 2s);
  quick.hears(cancel_asked{8s});
  CHECK(quick.does<ask::stop>()->grace == 2s);
  auto free = at(name);
  free.hears(cancel_asked{});
  CHECK(free.does<ask::stop>()->grace == 1h);
  CHECK_FALSE(free.wakes(timer::kill));
}

TEST_CASE("a stop that runs is shortened by a later cancel, whoever began it, and never lengthened", "[attempt]") {
  auto why = GENERATE(ending::cancelled, ending::timed_out, ending::drained);
  CAPTURE(to_string(why));
  auto it = at("running: stop asked");
  it.run.wanted = why;
  it.hears(cancel_asked{});
  CHECK(it.last.empty());
  it.hears(cancel_asked{60s});
  CHECK(it.wakes(timer::kill) == 60s);
  it.hears(cancel_asked{61s}, 1s);
  CHECK(it.last.empty());
  it.hears(cancel_asked{5s}, 10s);
  CHECK(it.wakes(timer::kill) == 5s);
  CHECK(it.run.wanted == why);
  it.hears(timer_fired{timer::kill}, 15s);
  REQUIRE(it.does<ask::kill_now>());
  CHECK(it.does<ask::kill_now>()->container == container_id);
  CHECK(it.run.evidence.kills.back().find("SIGKILL") != std::string::npos);
}

TEST_CASE("a kill that fails is tried again, and is told once", "[attempt]") {
  auto it = at("running: stop asked");
  it.hears(cancel_asked{1s}).hears(timer_fired{timer::kill}, 1s);
  auto told = it.run.evidence.kills.size();
  it.hears(refusal{asked::kill_now, lost}, 2s);
  REQUIRE(it.wakes(timer::kill));
  it.hears(timer_fired{timer::kill}, 3s);
  CHECK(it.does<ask::kill_now>());
  CHECK(it.run.evidence.kills.size() == told);
}

TEST_CASE("a stop that waited for its engine gets what is left then", "[attempt]") {
  auto it = at("running: cold");
  it.hears(cancel_asked{8s}).hears(refusal{asked::stop, lost}, 1s);
  it.hears(timer_fired{timer::engine_retry}, 3s);
  REQUIRE(it.does<ask::stop>());
  CHECK(it.does<ask::stop>()->grace == 5s);
  it.hears(refusal{asked::stop, lost}, 4s).hears(timer_fired{timer::engine_retry}, 20s);
  REQUIRE(it.does<ask::stop>());
  CHECK(it.does<ask::stop>()->grace == 0s);
}

TEST_CASE("what is started while its cancel comes has the cancel's time from then", "[attempt]") {
  auto it = at("starting: start");
  it.hears(cancel_asked{8s}).hears(reply<ask::start>{true}, 6s);
  REQUIRE(it.does<ask::stop>());
  CHECK(it.does<ask::stop>()->grace == 2s);
}

TEST_CASE("the log of what has ended by itself is read as long as the cancel allows, and no longer", "[attempt]") {
  auto it = at("collecting: reading");
  it.hears(cancel_asked{});
  CHECK(it.last.empty());
  it.hears(cancel_asked{8s});
  CHECK(it.wakes(timer::forgo) == 8s);
  it.hears(timer_fired{timer::forgo}, 8s);
  CHECK(it.does<act::withdraw>());
  it.hears(refusal{asked::read_log, {engine_errc::cancelled, {}, {}, "withdrawn"}}, 8s);
  it.hears(timer_fired{timer::engine_retry}, 8100ms);
  CHECK(it.does<ask::note_log>());
}

TEST_CASE("what is not found out in the cancel's time is not waited for", "[attempt]") {
  auto name = GENERATE("collecting: engine unsure", "collecting: watching", "collecting: noting gap");
  CAPTURE(name);
  auto it = at(name);
  auto& now = std::get<collecting>(it.run.now);
  now.watched_until = moment(1h).steady;
  now.doubted_since = moment().steady;
  if (now.at == collecting::doing::engine_unsure)
    it.run.engine.state = engine_state::connecting;
  it.hears(cancel_asked{1s});
  event again = timer_fired{timer::again};
  if (now.at == collecting::doing::noting_gap)
    again = refusal{asked::note_log, {{}, {}, log_errc::unwritable, "full"}};
  it.hears(again, 500ms);
  CHECK_FALSE(it.does<ask::close_log>());
  it.hears(again, 2s);
  CHECK((it.does<ask::close_log>() || it.does<ask::note_log>()));
}

TEST_CASE("an outcome does not wait for a log that can't be written, once the cancel's time is over", "[attempt]") {
  refusal full{asked::close_log, {{}, {}, log_errc::unwritable, "no space left"}};
  auto it = at("collecting: closing");
  it.hears(cancel_asked{1s}).hears(full, 500ms);
  CHECK(std::holds_alternative<collecting>(it.run.now));
  it.hears(timer_fired{timer::again}, 1500ms).hears(full, 2500ms);
  REQUIRE(std::holds_alternative<reporting>(it.run.now));
  const auto& result = *std::get<reporting>(it.run.now).result;
  CHECK(result.outcome == outcome::succeeded); // it had ended by itself
  CHECK(result.evidence.note.find("no space left") != std::string::npos);

  auto free = at("collecting: closing");
  free.hears(cancel_asked{}).hears(full, 1h);
  CHECK(std::holds_alternative<collecting>(free.run.now));
}

TEST_CASE("outputs have a second more than a cancel leaves, and the outcome does not wait for them",
          "[attempt][files]") {
  auto it = at("collecting: closing");
  it.run.spec.outputs["out"].path = "/out";
  it.run.spec.outputs["after failures"] = {"/out", output_when::failure, false, {}};
  it.run.kill_by = moment().steady + 2s;
  it.hears(reply<ask::close_log>{});
  REQUIRE(it.does<ask::gather>());
  CHECK(it.does<ask::gather>()->what.limit == 3s);
  CHECK(it.wakes(timer::forgo) == 3s);
  it.hears(timer_fired{timer::forgo}, 3s);
  CHECK(it.does<act::withdraw>());
  REQUIRE(it.does<ask::finish>());
  REQUIRE(it.does<ask::finish>()->what.outputs.size() == 2);
  CHECK(it.does<ask::finish>()->what.outputs[0].state == output_state::skipped);
  CHECK(it.does<ask::finish>()->what.outputs[1].state == output_state::failed);
  auto free = at("collecting: closing");
  free.run.spec.outputs["out"].path = "/out";
  free.hears(reply<ask::close_log>{});
  REQUIRE(free.does<ask::gather>());
  CHECK(free.does<ask::gather>()->what.limit >= 10min);
  CHECK_FALSE(free.wakes(timer::forgo));
}

TEST_CASE("a cache whose files can't be read is gone on without, when the time to wait for them is over",
          "[attempt][files]") {
  auto it = at("filling");
  used_cache cache;
  cache.key = "k";
  cache.path = "/cache";
  cache.tree = "sha256:0";
  auto restored = GENERATE(true, false); // or it is the input that can't be read
  if (restored)
    cache.restored = "k";
  it.run.spec.caches.push_back({"k", "/cache", {}, {}});
  it.run.caches = {cache};
  refusal away{asked::fill, {{}, {}, {}, "the disk can't be read", files_errc::failed}};
  it.hears(away);
  CHECK(std::holds_alternative<filling>(it.run.now));
  it.hears(timer_fired{timer::again}, 1s).hears(away, 1h);
  CHECK(std::holds_alternative<reporting>(it.run.now) != restored);
  CHECK(it.run.caches.front().restored.empty());
  if (restored)
    CHECK(it.run.caches.front().message.find("can't be read") != std::string::npos);
}
