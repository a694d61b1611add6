// A sink alone: a log keeper, a store and a place to send to that do what the test says; time passes by hand.
#pragma once

#include "actor_fixture.hpp"
#include "actors/sink.hpp"
#include "actors/sink_outlet.hpp"
#include "actors/sink_positions.hpp"
#include "store/attempt_log.hpp"

#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <catch2/catch_test_macros.hpp>

#include <deque>
#include <memory>

namespace davit::test {

using namespace std::chrono_literals;
using shipping::delivery;

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

inline caf::behavior log_keeper_dummy(caf::event_based_actor* self, std::shared_ptr<world> all) {
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

inline caf::behavior store_dummy(caf::event_based_actor* self, std::shared_ptr<world> all) {
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

inline void release(std::deque<std::function<void()>>& held, std::size_t most = ~0ul) {
  for (; !held.empty() && most > 0; --most) {
    auto one = std::move(held.front());
    held.pop_front();
    one();
  }
}

struct sink_fixture : actor_fixture {
  std::shared_ptr<world> shared = std::make_shared<world>();
  world& all = *shared;
  std::shared_ptr<place> to = std::make_shared<place>();
  sink_settings settings;
  sink_actor sink;
  caf::scoped_actor test{system};
  context_ptr context = context_with();

  sink_fixture() { settings.name = "s"; }
  ~sink_fixture() { stop(); }

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

inline std::vector<std::string> numbered(int from, int to) {
  std::vector<std::string> lines;
  for (int i = from; i <= to; ++i)
    lines.push_back("line " + std::to_string(i));
  return lines;
}

inline delivery busy() {
  return {delivery::verdict::again, "busy", duration{0}, 0, {}};
}

} // namespace davit::test
