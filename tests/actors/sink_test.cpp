// A sink alone: a log keeper, a store and a place to send to that do what the test says; time passes by hand.
#include "actor_fixture.hpp"
#include "actors/sink.hpp"
#include "actors/sink_outlet.hpp"
#include "actors/sink_positions.hpp"
#include "store/attempt_log.hpp"

#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <deque>
#include <fstream>
#include <memory>
#include <random>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;
using shipping::delivery;

namespace {

/// What the dummies have, and what they were asked.
struct world : std::enable_shared_from_this<world> {
  std::map<attempt_key, std::unique_ptr<store::log_writer>> logs;
  std::vector<attempt_key> since; ///< What the log keeper finds.
  bool hold = false;              ///< Answers wait until `release`.
  std::deque<std::function<void()>> held;
  std::size_t asked = 0, most_asked = 0; ///< Lookups and reads that wait for an answer.
  std::size_t reads = 0;
  caf::error failure; ///< Of reads and searches.

  /// Whether a reader waits for more.
  bool waits(const log_query& query) {
    auto log = logs.find(query.key);
    if (failure || log == logs.end())
      return false;
    auto page = log->second->read(query.offset, query.max_bytes);
    return page && page->records.empty() && !page->finished;
  }

  template <class Answer>
  caf::result<Answer> answer(caf::event_based_actor* self, duration wait, std::function<caf::expected<Answer>()> what) {
    auto promise = self->make_response_promise<Answer>();
    most_asked = std::max(most_asked, ++asked);
    auto deliver = [all = shared_from_this(), promise, what]() mutable {
      --all->asked;
      if (auto made = what())
        promise.deliver(std::move(*made));
      else
        promise.deliver(made.error());
    };
    if (wait.count() != 0)
      self->run_delayed(wait, deliver);
    else if (hold)
      held.push_back([deliver, who = caf::actor{self}] { caf::anon_send(who, continuation{deliver}); });
    else
      deliver();
    return promise;
  }
};

caf::behavior log_keeper_dummy(caf::event_based_actor* self, std::shared_ptr<world> all) {
  return {
    [](const continuation& work) { work.run(); },
    [=](ship_atom, const std::string&, const log_query& query) {
      ++all->reads;
      return all->answer<log_page>(self, all->waits(query) ? query.wait : duration{0},
                                   [=]() -> caf::expected<log_page> {
                                     auto log = all->logs.find(query.key);
                                     if (all->failure)
                                       return all->failure;
                                     if (log == all->logs.end())
                                       return make_failure(log_errc::missing, "it is not here");
                                     auto page = log->second->read(query.offset, query.max_bytes);
                                     if (!page)
                                       return make_failure(page.error().code, page.error().message);
                                     return std::move(*page);
                                   });
    },
    [=](since_atom, timestamp) -> caf::result<std::vector<attempt_key>> {
      if (all->failure)
        return all->failure;
      return all->since;
    },
    [=](size_atom, const std::vector<attempt_key>& keys) {
      std::vector<log_extent> sizes;
      for (const auto& key : keys)
        if (auto log = all->logs.find(key); log != all->logs.end())
          sizes.push_back({key, log->second->size(), log->second->closed()});
      return sizes;
    },
  };
}

caf::behavior store_dummy(caf::event_based_actor* self, std::shared_ptr<world> all) {
  return {
    [](const continuation& work) { work.run(); },
    [=](find_atom, task_id id) {
      return all->answer<task>(self, duration{0}, [=]() -> caf::expected<task> {
        task found;
        found.id = id;
        return found;
      });
    },
  };
}

/// Takes what it is told to take.
struct place : sink_outlet {
  std::function<delivery()> answer = [] { return delivery{}; };
  bool hold = false;
  std::deque<std::function<void()>> held;
  std::map<std::string, std::vector<std::string>> lines; ///< By task.
  std::size_t tries = 0, under_way = 0, most_under_way = 0;

  void send(std::shared_ptr<const shipping::log_names> names, records_ptr records,
            std::function<void(delivery)> done) override {
    ++tries;
    most_under_way = std::max(most_under_way, ++under_way);
    auto end = [this, names, records, done] {
      --under_way;
      auto what = answer();
      if (what.how == delivery::verdict::taken)
        for (const auto& one : *records)
          lines[names->task].push_back(one.bytes);
      done(what);
    };
    if (hold)
      held.push_back(end);
    else
      end();
  }

  std::size_t count() const {
    std::size_t all = 0;
    for (const auto& [task, some] : lines)
      all += some.size();
    return all;
  }
};

void release(std::deque<std::function<void()>>& held, std::size_t most = ~0ul) {
  for (; !held.empty() && most > 0; --most) {
    auto one = std::move(held.front());
    held.pop_front();
    one();
  }
}

struct fixture : actor_fixture {
  std::shared_ptr<world> shared = std::make_shared<world>();
  world& all = *shared;
  std::shared_ptr<place> to = std::make_shared<place>();
  sink_settings settings;
  sink_actor sink;
  caf::scoped_actor test{system};
  context_ptr context = context_with();

  fixture() { settings.name = "s"; }
  ~fixture() { stop(); }

  sink_handles addresses() {
    sink_handles made;
    made.logs = caf::actor_cast<log_actor>(logs_);
    made.store = caf::actor_cast<store_actor>(store_);
    return made;
  }
  void start() {
    sink = spawn_sink(system, context, settings, addresses(), to);
    run_all();
  }
  void stop() {
    caf::anon_send_exit(sink, caf::exit_reason::kill);
    sink = nullptr;
    run_all();
  }
  /// As kill -9: what was not written down since is forgotten.
  void crash() {
    auto kept = file();
    auto copy = folder / "kept";
    std::filesystem::copy_file(kept, copy, std::filesystem::copy_options::overwrite_existing);
    stop();
    std::filesystem::copy_file(copy, kept, std::filesystem::copy_options::overwrite_existing);
  }
  std::string file() { return folder / "sinks/s.json"; }

  attempt_key add_log(int count, bool closed = true, std::string word = "line ") {
    attempt_key key{uuid::make_v7(), 1};
    write(key, count, word);
    if (closed)
      CHECK(all.logs[key]->end().has_value());
    return key;
  }
  void write(const attempt_key& key, int count, const std::string& word = "line ") {
    auto& log = all.logs[key];
    if (!log)
      log = *store::log_writer::open(folder / ("log " + to_string(key.task)), 0, store::log_place::memory);
    for (int i = 1; i <= count; ++i)
      CHECK(log->append({{log_stream::out, {}, word + std::to_string(i)}}).has_value());
  }
  void tell(const attempt_key& key, std::uint64_t size = 0) {
    caf::anon_send(sink, open_atom_v, key, size);
    run_all();
  }
  const std::vector<std::string>& sent(const attempt_key& key) { return to->lines[to_string(key.task)]; }
  sink_status status() {
    auto asked = test->request(sink, caf::infinite, ping_atom_v);
    run_all();
    sink_status found;
    std::move(asked).receive([&](const sink_status& now) { found = now; },
                             [](const caf::error& e) { FAIL(text_of(e)); });
    return found;
  }

private:
  caf::actor logs_ = system.spawn(log_keeper_dummy, shared);
  caf::actor store_ = system.spawn(store_dummy, shared);
};

std::vector<std::string> numbered(int from, int to) {
  std::vector<std::string> lines;
  for (int i = from; i <= to; ++i)
    lines.push_back("line " + std::to_string(i));
  return lines;
}

delivery busy() {
  return {delivery::verdict::again, "busy", duration{0}, 0, {}};
}

} // namespace

TEST_CASE_METHOD(fixture, "a sink sends each log whole, in order, as it is written") {
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
  fixture, "no more than 64 logs are asked for at once, also after a restart with many, and 8 are delivered at once") {
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

TEST_CASE_METHOD(fixture, "a place that is busy is asked again after longer and longer waits, and is sent the same") {
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

TEST_CASE_METHOD(fixture, "a place that says how long it wants to be left alone is left alone") {
  to->answer = [] { return delivery{delivery::verdict::again, "later", 100s, 0, {}}; };
  start();
  tell(add_log(1));
  CHECK(to->tries == 1);
  pass(99s);
  CHECK(to->tries == 1);
  pass(2s);
  CHECK(to->tries == 2);
}

TEST_CASE_METHOD(fixture,
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

TEST_CASE_METHOD(fixture, "of a log that still grows, what waited beyond max-backlog is passed over, and no more") {
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

TEST_CASE_METHOD(fixture, "max-backlog counts for a place that answers nothing, and not for one that answers late") {
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

TEST_CASE_METHOD(fixture, "what the place will never take is dropped and counted, and what follows is sent") {
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

TEST_CASE_METHOD(fixture,
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

TEST_CASE_METHOD(fixture, "what was begun before a crash is looked for until it is found, over another crash too") {
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

TEST_CASE_METHOD(fixture, "a sink that is new begins with what comes, and one of an older davit goes on") {
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

TEST_CASE_METHOD(fixture, "a log that has lost its end in a crash and is written again is sent from there") {
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

TEST_CASE_METHOD(fixture, "a log that goes back while it is read or sent loses nothing") {
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
  fixture, "a log whose place is not a record's is sent from its beginning once; one that is nowhere is forgotten") {
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
