// A sink alone: what it sends, in which order, how often, and what it drops.
#include "fixture/captured_log.hpp"
#include "sink_fixture.hpp"

#include <catch2/generators/catch_generators.hpp>

#include <fstream>
#include <random>

using namespace davit;
using namespace davit::test;

TEST_CASE_METHOD(sink_fixture, "a sink sends each log whole, in order, as it is written") {
  start();
  auto key = add_log(3, false);
  tell(key);
  CHECK(sent(key) == numbered(1, 3));
  all.logs[key]->append({{log_stream::out, {}, "line 4"}}).value();
  CHECK(all.logs[key]->end().has_value());
  pass(10s);
  CHECK(sent(key) == numbered(1, 4));
  CHECK(status().backlog == 0);
  CHECK(status().records == 4);
}

TEST_CASE_METHOD(
  sink_fixture,
  "no more than 64 logs are asked for at once, also after a restart with many, and 8 are delivered at once") {
  sink_positions positions;
  positions.at = std::chrono::system_clock::now();
  for (int i = 0; i < 500; ++i) {
    auto key = add_log(2);
    positions.open.push_back({key.task, key.number, 0, 0});
  }
  REQUIRE(save_positions(file(), positions));
  all.hold = to->hold = true;
  start();
  for (int i = 0; i < 100'000 && to->count() < 1000; ++i) {
    release(all.held, 1);
    run_all();
    if (i % 20 == 0)
      release(to->held);
    run_all();
  }
  CHECK(to->count() == 1000);
  CHECK(all.most_asked == 64);
  CHECK(to->most_under_way == 8);
}

TEST_CASE_METHOD(sink_fixture,
                 "a place that is busy is asked again after longer and longer waits, and is sent the same") {
  to->answer = busy;
  start();
  std::vector<attempt_key> keys;
  for (int i = 0; i < 20; ++i) {
    keys.push_back(add_log(2));
    tell(keys.back());
  }
  auto at_once = to->tries;
  CHECK(at_once <= 8);
  pass(2s); // what failed together waits once: 0.5 s, then 1 s
  CHECK(to->tries > at_once);
  pass(58s);
  auto tries = to->tries;
  pass(600s); // 30 s at most, half of it jitter
  CHECK(to->tries >= tries + 600 / 30);
  CHECK(to->tries <= tries + 8 * (600 / 15 + 1));
  CHECK(status().message == "busy");
  to->answer = [] { return delivery{}; };
  pass(30s);
  CHECK(to->count() == 40);
  for (const auto& key : keys)
    CHECK(sent(key) == numbered(1, 2));
  CHECK(status().message.empty());
  CHECK(status().failures == to->tries - 20);
}

TEST_CASE_METHOD(sink_fixture, "a place that says how long it wants to be left alone is left alone") {
  to->answer = [] { return delivery{delivery::verdict::again, "later", 100s, 0, {}}; };
  start();
  tell(add_log(1));
  CHECK(to->tries == 1);
  pass(99s);
  CHECK(to->tries == 1);
  pass(2s);
  CHECK(to->tries == 2);
}

TEST_CASE_METHOD(sink_fixture,
                 "while the place takes nothing little is read; beyond max-backlog the oldest go, and are counted") {
  to->answer = busy;
  settings.max_backlog = byte_size{5000};
  start();
  std::vector<attempt_key> keys;
  std::uint64_t each = 0;
  for (int i = 0; i < 300; ++i) {
    keys.push_back(add_log(10));
    each = all.logs[keys.back()]->size();
    tell(keys.back());
  }
  CHECK(all.reads <= 64 + 8);
  pass(60s);
  CHECK(all.reads <= 64 + 8);
  auto left = 5000 / each;
  CHECK(status().backlog <= left + 1);
  CHECK(status().dropped >= (300 - left - 1) * each);
  to->answer = [] { return delivery{}; };
  pass(60s);
  CHECK(sent(keys.front()).empty());
  CHECK(sent(keys.back()) == numbered(1, 10));
  CHECK(status().backlog == 0);
  CHECK(to->count() <= (left + 1) * 10);
}

TEST_CASE_METHOD(sink_fixture,
                 "of a log that still grows, what waited beyond max-backlog is passed over, and no more") {
  auto restarted = GENERATE(false, true);
  to->answer = busy;
  settings.max_backlog = byte_size{500};
  start();
  auto key = add_log(100, false), other = add_log(3, false);
  tell(key);
  tell(other);
  pass(60s);
  auto waited = all.logs[key]->size();
  CHECK(status().dropped == waited);
  if (restarted) {
    crash();
    start();
  }
  to->answer = [] { return delivery{}; };
  pass(60s);
  CHECK(sent(other) == numbered(1, 3));
  CHECK(sent(key).empty());
  write(key, 50, "late ");
  pass(10s);
  REQUIRE(sent(key).size() == 50);
  CHECK(sent(key).front() == "late 1");
  write(key, 1, "last ");
  CHECK(all.logs[key]->end().has_value());
  pass(10s);
  CHECK(sent(key).back() == "last 1");
  CHECK(status().dropped == (restarted ? 0 : waited));
}

TEST_CASE_METHOD(sink_fixture,
                 "max-backlog counts for a place that answers nothing, and not for one that answers late") {
  auto late = GENERATE(true, false);
  to->hold = true;
  settings.max_backlog = byte_size{500};
  start();
  for (int i = 0; i < 100; ++i)
    tell(add_log(10));
  for (int i = 0; i < 8; ++i, pass(1s))
    if (late && i % 3 == 2)
      release(to->held, 1);
  CHECK((status().dropped == 0) == late);
  CHECK((status().backlog <= 500 / all.logs.begin()->second->size()) != late);
  to->hold = false;
  release(to->held);
}

TEST_CASE_METHOD(sink_fixture, "what the place will never take is dropped and counted, and what follows is sent") {
  to->answer = [] { return delivery{delivery::verdict::never, "nonsense", duration{0}, 0, {}}; };
  start();
  auto key = add_log(2, false);
  tell(key);
  to->answer = [] { return delivery{}; };
  write(key, 1, "more ");
  CHECK(all.logs[key]->end().has_value());
  pass(10s);
  CHECK(sent(key) == std::vector<std::string>{"more 1"});
  CHECK(status().dropped == 12);
}

TEST_CASE_METHOD(sink_fixture,
                 "after a crash a sink goes on where it was last written down, and finds what it was never told of") {
  start();
  auto open = add_log(3, false), over = add_log(2);
  tell(open);
  tell(over);
  pass(1s); // written down
  auto quick = add_log(1), unknown = add_log(1);
  tell(quick);
  CHECK(sent(quick).size() == 1);
  crash();
  write(open, 1, "more ");
  all.since = {open, over, quick, unknown};
  start();
  CHECK(sent(open) == std::vector<std::string>{"line 1", "line 2", "line 3", "more 1"});
  CHECK(sent(over) == numbered(1, 2));
  CHECK(sent(quick) == std::vector<std::string>{"line 1", "line 1"}); // rather twice than not at all
  CHECK(sent(unknown) == numbered(1, 1));
}

TEST_CASE_METHOD(sink_fixture,
                 "what was begun before a crash is looked for until it is found, over another crash too") {
  start();
  pass(1s);
  auto key = add_log(1);
  crash();
  all.since = {key};
  all.failure = caf::make_error(caf::sec::runtime_error);
  start();
  pass(60s); // the file is written meanwhile, and does not forget
  CHECK(sent(key).empty());
  crash();
  start();
  CHECK(sent(key).empty());
  all.failure = {};
  pass(2s);
  CHECK(sent(key) == numbered(1, 1));
}

TEST_CASE_METHOD(sink_fixture, "a sink that is new begins with what comes, and one of an older davit goes on") {
  all.since = {add_log(1)};
  start();
  pass(5s);
  CHECK(to->count() == 0);
  auto key = add_log(2);
  stop();
  std::ofstream{file()} << R"({"at":"2026-01-01T00:00:00Z","open":[{"task":")" << to_string(key.task)
                        << R"(","attempt":1,"offset":22}],"done":[]})";
  all.since = {};
  start();
  CHECK(sent(key) == numbered(2, 2));
}

TEST_CASE_METHOD(sink_fixture, "a log that has lost its end in a crash and is written again is sent from there") {
  start();
  auto key = add_log(5, false);
  tell(key);
  pass(1s);
  crash();
  auto two = all.logs[key]->size() / 5 * 2;
  auto before = std::move(all.logs[key]);
  all.logs.erase(key);
  start(); // the log is nowhere yet
  write(key, 2);
  tell(key, two);
  CHECK(sent(key) == numbered(1, 5)); // the first two were sent
  for (int i = 3; i <= 6; ++i)
    all.logs[key]->append({{log_stream::out, {}, "line " + std::to_string(i)}}).value();
  pass(10s);
  auto expected = numbered(1, 5);
  for (const auto& line : numbered(3, 6))
    expected.push_back(line);
  CHECK(sent(key) == expected);
}

TEST_CASE_METHOD(sink_fixture, "a log that goes back while it is read or sent loses nothing") {
  std::minstd_rand random{std::random_device{}()};
  for (int round = 0; round < 50; ++round) {
    auto held = random() % 3;
    start();
    auto key = add_log(4, false);
    all.hold = held == 1;
    to->hold = held == 2;
    tell(key);
    for (auto steps = random() % 3; steps > 0; --steps) {
      release(all.held, 1);
      run_all();
    }
    all.logs.erase(key);
    write(key, 1, "other ");
    tell(key, 0);
    write(key, 2, "again ");
    all.logs[key]->end().value();
    all.hold = to->hold = false;
    release(all.held);
    release(to->held);
    run_all();
    pass(20s);
    release(all.held);
    run_all();
    auto lines = sent(key);
    REQUIRE(lines.size() >= 3);
    CHECK(std::vector<std::string>(lines.end() - 3, lines.end())
          == std::vector<std::string>{"other 1", "again 1", "again 2"});
    CHECK(status().backlog == 0);
    stop();
  }
}

TEST_CASE_METHOD(
  sink_fixture,
  "a log whose place is not a record's is sent from its beginning once; one that is nowhere is forgotten") {
  auto key = add_log(3), gone = add_log(1);
  all.logs.erase(gone);
  sink_positions positions;
  positions.at = std::chrono::system_clock::now();
  positions.open = {{key.task, 1, 17, 17}, {gone.task, 1, 0, 0}};
  REQUIRE(save_positions(file(), positions));
  start();
  CHECK(sent(key) == numbered(1, 3));
  CHECK(status().backlog == 0);
  // One that can't be read at all is given up.
  auto damaged = add_log(1);
  all.failure = make_failure(log_errc::damaged, "damaged");
  tell(damaged);
  pass(1s);
  CHECK(status().backlog == 0);
  // What can't be read now is read later.
  auto later = add_log(1);
  all.failure = caf::make_error(caf::sec::request_receiver_down);
  tell(later);
  pass(30s);
  all.failure = {};
  pass(2s);
  CHECK(sent(later) == numbered(1, 1));
}

TEST_CASE_METHOD(sink_fixture, "that positions can't be written is said once, and when they can be again") {
  std::ofstream{folder / "sinks"} << "a file where the folder should be";
  captured_log log;
  start();
  for (int i = 0; i < 20; ++i) {
    tell(add_log(1));
    pass(3s);
  }
  CHECK(log.count("s.json can't be written") == 1);
  std::filesystem::remove(folder / "sinks");
  pass(10s);
  CHECK(log.count("s.json is written again") == 1);
  CHECK(log.count("s.json can't be written") == 1);
}
