// The supervisor alone, with dummies as its children.
#include "actors/supervisor_fixture.hpp"

#include "actors/roll_call.hpp"

#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <array>
#include <deque>
#include <random>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

TEST_CASE_METHOD(tree,
                 "actors are started in order, each is given the handles that it uses, and the last one ends first",
                 "[supervisor]") {
  start();
  CHECK(book.started == start_order);
  CHECK(book.told["store_keeper"] == "scheduler#1 api#1 fleet#1");
  CHECK(book.told["log_keeper"] == "store_keeper#1 [sink s#1 sink t#1]");
  CHECK(book.told["sink t"] == "store_keeper#1 log_keeper#1");
  CHECK(book.told["engine_connection a"] == "scheduler#1 sandbox_keeper a#1 log_keeper#1");
  CHECK(book.told["sandbox_keeper b"] == "engine_connection b#1");
  CHECK(book.told["scheduler"]
        == "store_keeper#1 log_keeper#1 scheduler#1 file_keeper#1 [engine_connection a#1 engine_connection b#1] "
           "[sandbox_keeper a#1 "
           "sandbox_keeper b#1]");
  CHECK(book.told["reaper"] == "store_keeper#1 log_keeper#1 scheduler#1 [engine_connection a#1 engine_connection b#1]");
  CHECK(book.told["image_fetcher"] == "store_keeper#1 scheduler#1 [engine_connection a#1 engine_connection b#1]");
  CHECK(book.told["file_keeper"] == "store_keeper#1 [engine_connection a#1 engine_connection b#1]");
  CHECK(book.told["fleet"] == "store_keeper#1 log_keeper#1 supervisor");
  CHECK(book.told["api"]
        == "store_keeper#1 log_keeper#1 scheduler#1 file_keeper#1 fleet#1 supervisor [engine_connection a#1 "
           "engine_connection b#1] "
           "[sink s#1 sink t#1]");
  CHECK_FALSE(context->ending->load());
  CHECK(present() == start_order);
  stop();
  CHECK(over);
  CHECK(present().empty());
  CHECK(context->ending->load());
  CHECK(book.ended == names{start_order.rbegin(), start_order.rend()});
}

TEST_CASE_METHOD(
  tree, "a child that fails once is started again after its backoff, and those who use it are told, and nobody else",
  "[supervisor]") {
  start();
  auto [name, users] = GENERATE(table<std::string, std::set<std::string>>({
    {"store_keeper",
     {"log_keeper", "sink s", "sink t", "file_keeper", "scheduler", "reaper", "image_fetcher", "fleet", "api"}},
    {"log_keeper",
     {"sink s", "sink t", "engine_connection a", "engine_connection b", "scheduler", "reaper", "fleet", "api"}},
    {"sink s", {"log_keeper", "api"}},
    {"engine_connection a", {"sandbox_keeper a", "file_keeper", "scheduler", "reaper", "image_fetcher", "api"}},
    {"file_keeper", {"scheduler", "api"}},
    {"sandbox_keeper a", {"engine_connection a", "scheduler"}},
    {"scheduler", {"store_keeper", "engine_connection a", "engine_connection b", "reaper", "image_fetcher", "api"}},
    {"reaper", {}},
    {"image_fetcher", {}},
    {"fleet", {"store_keeper", "api"}},
    {"api", {"store_keeper"}},
  }));
  CAPTURE(name);
  book.told_lately.clear();
  fail(name);
  pass(9ms);
  CHECK_FALSE(lives(name));
  CHECK(book.told_lately.empty());
  pass(1ms);
  CHECK(lives(name));
  CHECK(book.starts[name] == 2);
  users.insert(name);
  CHECK(book.told_lately == users);
  CHECK(book.started.size() == start_order.size() + 1);
  CHECK(suspended(subtree_of(name)) == 0);
  for (const auto& one : users)
    if (one != name)
      CHECK(book.told[one].find(name + "#2") != std::string::npos);
}

TEST_CASE_METHOD(
  tree,
  "a core child that fails for ever ends the supervisor; the reason names it, and nothing is accepted from then on",
  "[supervisor]") {
  start();
  auto name = GENERATE(from_range(core));
  CAPTURE(name);
  book.hang = {"fleet"};
  book.fail_while_stopping = {"sink s", "reaper"};
  for (auto backoff : {10ms, 40ms, 160ms, 640ms, 2560ms}) {
    fail(name);
    pass(backoff - 1ms);
    CHECK_FALSE(lives(name));
    pass(1ms);
    CHECK(lives(name));
    CHECK_FALSE(context->ending->load());
  }
  CHECK_FALSE(over);
  book.ended.clear();
  fail(name);
  CHECK(over);
  CHECK(context->ending->load());
  CHECK(reason.starts_with(name + " fails repeatedly"));
  CHECK(present() == names{"fleet"});
  names expected{name};
  for (auto one = start_order.rbegin(); one != start_order.rend(); ++one)
    if (*one != name && *one != "fleet") // which hangs: that is for the watchdog of the process
      expected.push_back(*one);
  CHECK(book.ended == expected);
}

TEST_CASE_METHOD(tree, "a leaf that fails for ever is suspended and tried again for ever; nothing else notices",
                 "[supervisor]") {
  start();
  auto name = GENERATE(from_range(leaves));
  auto subtree = subtree_of(name);
  CAPTURE(name);
  std::set<std::string> members;
  for (const auto& one : leaves)
    if (subtree_of(one) == subtree)
      members.insert(one);
  fail_for_good(name);
  for (int round = 0; round < 5; ++round) {
    CAPTURE(round);
    CHECK(suspended(subtree) == 1);
    CHECK(book.told["api"].find('(' + subtree + ": " + name + " fails repeatedly") != std::string::npos);
    for (const auto& one : start_order)
      CHECK(lives(one) == !members.contains(one));
    pass(29'999ms);
    CHECK_FALSE(lives(name));
    pass(1ms);
    CHECK(suspended(subtree) == 0);
    CHECK(book.told["api"].find('(') == std::string::npos);
    for (const auto& one : start_order)
      CHECK(lives(one));
    if (round % 2 == 0)
      fail(name); // at once: there is no budget left
    else
      fail_for_good(name); // 30 s later there is
  }
  CHECK_FALSE(over);
  for (const auto& one : start_order)
    if (!members.contains(one))
      CHECK(book.starts[one] == 1);
}

TEST_CASE_METHOD(
  tree, "an engine whose subtree is suspended is down, with the reason; a scheduler that is restarted hears it too",
  "[supervisor]") {
  start();
  auto name = GENERATE(as<std::string>{}, "engine_connection a", "sandbox_keeper a");
  CAPTURE(name);
  fail_for_good(name);
  REQUIRE(book.heard.size() == 1);
  auto heard = book.heard.front();
  CHECK(heard.name == "a");
  CHECK(heard.state == engine_state::down);
  CHECK(heard.message.starts_with(name + " fails repeatedly"));
  CHECK(heard.slots == 3);
  CHECK(system.metrics().gauge_family("davit", "engine-up", {"engine"}, "")->get_or_add({{"engine", "a"}})->value()
        == 0);
  fail("scheduler");
  pass(10ms);
  REQUIRE(book.heard.size() == 2);
  CHECK(book.heard.back().state == engine_state::down);
  CHECK(book.heard.back().since == heard.since);
  pass(30s);
  auto before = book.heard.size();
  fail("scheduler"); // the connection speaks for itself again
  pass(1s);
  CHECK(book.heard.size() == before);
}

TEST_CASE_METHOD(tree, "a child that does not end while its subtree is suspended has no successor beside it",
                 "[supervisor]") {
  start();
  book.hang = {"sandbox_keeper a"};
  fail_for_good("engine_connection a");
  pass(30s);
  CHECK(lives("engine_connection a"));
  CHECK(book.starts["sandbox_keeper a"] == 1);
  caf::anon_send_exit(book.now["sandbox_keeper a"], caf::exit_reason::kill);
  run_all();
  CHECK(book.starts["sandbox_keeper a"] == 2);
  CHECK(lives("sandbox_keeper a"));
  CHECK(book.told["engine_connection a"].find("sandbox_keeper a#2") != std::string::npos);
  CHECK(suspended("engine a") == 0);
}

TEST_CASE_METHOD(tree, "failures that are a minute old do not count", "[supervisor]") {
  start();
  for (int i = 0; i < 40; ++i) {
    fail("scheduler");
    pass(13s);
    REQUIRE(lives("scheduler"));
  }
  CHECK_FALSE(over);
}

TEST_CASE_METHOD(tree, "an agent whose API can't start says why at once", "[supervisor]") {
  book.fail_at_start = {"api"};
  auto answer = ask(start_atom_v);
  CHECK(*answer == "it can't start");
}

TEST_CASE_METHOD(tree, "an agent whose store can't be opened says why when it is tried no more", "[supervisor]") {
  book.fail_at_start = {"store_keeper"};
  auto answer = ask(start_atom_v);
  // The API has taken its handles: the start is over, and what fails after it ends the agent.
  CHECK(*answer == "");
  pass(10s);
  CHECK(over);
  CHECK(reason == "store_keeper fails repeatedly: it can't start");
}

TEST_CASE_METHOD(tree, "a scheduler that is restarted while its agent stops its tasks knows of it", "[supervisor]") {
  start();
  book.busy = true;
  ask(drain_atom_v);
  caf::anon_send(supervisor, stop_atom_v);
  run_all();
  CHECK(book.told["scheduler"].ends_with(" stopping"));
  ask(drain_atom_v); // does not take it back
  fail("scheduler");
  pass(10ms);
  CHECK(book.told["scheduler"].ends_with(" stopping"));
}

TEST_CASE_METHOD(tree,
                 "a scheduler and an API that are restarted during a drain know of it, and the drain ends with the new "
                 "scheduler's word",
                 "[supervisor]") {
  start();
  book.busy = true;
  auto answer = ask(drain_atom_v);
  CHECK_FALSE(*answer);
  CHECK(book.drains == 1);
  CHECK(book.told["scheduler"].ends_with(" draining"));
  CHECK(book.told["api"].ends_with(" draining"));
  fail("scheduler");
  fail("api");
  CHECK_FALSE(born_draining);
  pass(10ms);
  CHECK(born_draining); // before it could claim anything
  CHECK(book.told["scheduler"].ends_with(" draining"));
  CHECK(book.told["api"].ends_with(" draining"));
  CHECK(book.drains == 2);
  CHECK_FALSE(*answer);
  CHECK(book.reaped == 0);
  caf::anon_send(book.now["scheduler"], caf::ok_atom_v);
  run_all();
  CHECK(*answer == "");
  CHECK(book.reaped == 1);
}

TEST_CASE_METHOD(tree,
                 "whatever fails, and whenever: the agent ends if and only if a core child has spent its budget, and "
                 "all else lives again",
                 "[supervisor]") {
  auto seed = GENERATE(range(1u, 41u));
  CAPTURE(seed);
  std::minstd_rand random{seed};
  start();
  auto draw = [&](std::size_t below) { return static_cast<std::size_t>(random() % below); };
  // The oracle: when the children failed that could, by the fixture's clock.
  std::map<std::string, std::deque<std::chrono::milliseconds>> failures;
  std::chrono::milliseconds now{0};
  auto must_end = false;
  // Some seeds are hard on the core, and most are not.
  names targets = leaves;
  targets.insert(targets.end(), core.begin(), core.end());
  for (int i = 0; i < 150 && !over; ++i) {
    if (draw(3) == 0) {
      constexpr std::array waits{1ms, 10ms, 45ms, 700ms, 3000ms, 20000ms, 31000ms};
      auto wait = waits[draw(seed % 4 == 0 ? 5 : 7)];
      now += wait;
      pass(wait);
      continue;
    }
    const auto& name = seed % 4 == 0 ? targets[draw(targets.size())]
                     : draw(25) == 0 ? core[draw(core.size())]
                                     : leaves[draw(leaves.size())];
    if (!lives(name))
      continue;
    auto& mine = failures[name];
    while (!mine.empty() && now - mine.front() >= 60s)
      mine.pop_front();
    if (subtree_of(name) == "core" && mine.size() >= 5)
      must_end = true;
    if (mine.size() < 5)
      mine.push_back(now);
    fail(name);
    REQUIRE(over == must_end);
    REQUIRE(context->ending->load() == must_end);
  }
  if (over)
    return;
  pass(31s);
  for (const auto& name : start_order) {
    CAPTURE(name);
    CHECK(lives(name));
    CHECK(suspended(subtree_of(name)) == 0);
  }
  // Nobody has a handle of one that is dead.
  for (const auto& [name, told] : book.told)
    for (const auto& one : start_order) {
      CAPTURE(name, told);
      for (auto at = told.find(one + '#'); at != std::string::npos; at = told.find(one + '#', at + 1))
        CHECK(told.compare(at, label(one).size(), label(one)) == 0);
    }
}
