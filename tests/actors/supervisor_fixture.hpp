// A supervisor with an agent's tree of dummies: two engines, two sinks, a fleet. What they are told, and when they end,
// is written down.
#pragma once

#include "actors/actor_fixture.hpp"
#include "actors/agent_tree.hpp"

#include <caf/send.hpp>
#include <caf/telemetry/metric_registry.hpp>
#include <catch2/catch_test_macros.hpp>

#include <map>
#include <set>

namespace davit::test {

using namespace std::chrono_literals;

using names = std::vector<std::string>;

inline const names core{"store_keeper", "log_keeper", "scheduler", "api"};
inline const names leaves{"sink s",
                          "sink t",
                          "engine_connection a",
                          "sandbox_keeper a",
                          "engine_connection b",
                          "sandbox_keeper b",
                          "file_keeper",
                          "reaper",
                          "image_fetcher",
                          "fleet"};
inline const names start_order{"store_keeper",
                               "log_keeper",
                               "sink s",
                               "sink t",
                               "engine_connection a",
                               "sandbox_keeper a",
                               "engine_connection b",
                               "sandbox_keeper b",
                               "file_keeper",
                               "scheduler",
                               "reaper",
                               "image_fetcher",
                               "fleet",
                               "api"};

inline std::string subtree_of(const std::string& child) {
  if (std::find(core.begin(), core.end(), child) != core.end())
    return "core";
  if (child.starts_with("engine_connection ") || child.starts_with("sandbox_keeper "))
    return "engine " + child.substr(child.find(' ') + 1);
  return child;
}

/// What the dummies were told, and what they are to do.
struct ledger {
  names started, ended; ///< In this order; ended ones of themselves, or as they were told.
  std::set<std::string> alive;
  std::map<std::string, caf::actor> now;       ///< The one that was started last, by name.
  std::map<caf::actor_id, std::string> labels; ///< "name#the number of its start".
  std::map<std::string, int> starts;
  std::map<std::string, std::string> told;         ///< The handles that a child has, in words.
  std::set<std::string> told_lately;               ///< Who has been told of handles since this was emptied.
  std::vector<engine_status> heard;                ///< By the scheduler.
  std::set<std::string> hang, fail_while_stopping; ///< When they are told to end.
  std::set<std::string> fail_at_start;
  bool busy = false; ///< The scheduler has attempts at work: a drain waits.
  int drains = 0;    ///< That came to a scheduler. It is let go by an `ok`.
  int reaped = 0;

  template <class Handle>
  std::string label(const Handle& one) const {
    if (!one)
      return "-";
    auto found = labels.find(one->id());
    return found == labels.end() ? "supervisor" : found->second;
  }
  template <class Handle>
  std::string label(const std::map<std::string, Handle>& all) const {
    std::string text;
    for (const auto& [name, one] : all)
      text += (text.empty() ? "" : " ") + label(one);
    return '[' + text + ']';
  }
  std::string words(const store_handles& x) const {
    std::string text;
    for (const auto& one : x.listeners)
      text += label(one) + ' ';
    return text + label(x.fleet);
  }
  std::string words(const log_handles& x) const { return label(x.store) + ' ' + label(x.sinks); }
  std::string words(const sink_handles& x) const { return label(x.store) + ' ' + label(x.logs); }
  std::string words(const engine_handles& x) const {
    return label(x.scheduler) + ' ' + label(x.sandboxes) + ' ' + label(x.logs);
  }
  std::string words(const sandbox_handles& x) const { return label(x.engine); }
  std::string words(const scheduler_handles& x) const {
    return label(x.store) + ' ' + label(x.logs) + ' ' + label(x.scheduler) + ' ' + label(x.files) + ' '
         + label(x.engines) + ' ' + label(x.sandboxes)
         + (x.stage == drain_stage::stopping   ? " stopping"
            : x.stage == drain_stage::draining ? " draining"
                                               : "");
  }
  std::string words(const fetcher_handles& x) const {
    return label(x.store) + ' ' + label(x.scheduler) + ' ' + label(x.engines);
  }
  std::string words(const reaper_handles& x) const {
    return label(x.store) + ' ' + label(x.logs) + ' ' + label(x.scheduler) + ' ' + label(x.engines);
  }
  std::string words(const files_handles& x) const { return label(x.store) + ' ' + label(x.engines); }
  std::string words(const fleet_handles& x) const {
    return label(x.store) + ' ' + label(x.logs) + ' ' + label(x.supervisor);
  }
  std::string words(const api_handles& x) const {
    auto text = label(x.store) + ' ' + label(x.logs) + ' ' + label(x.scheduler) + ' ' + label(x.files) + ' '
              + label(x.fleet) + ' ' + label(x.supervisor) + ' ' + label(x.engines) + ' ' + label(x.sinks);
    for (const auto& [name, why] : x.suspended)
      text += " (" + name + ": " + why + ')';
    return text + (x.draining ? " draining" : "");
  }
};

inline caf::behavior dummy(caf::event_based_actor* self, ledger* book, std::string name) {
  self->attach_functor([book, name] {
    book->ended.push_back(name);
    book->alive.erase(name);
  });
  if (book->fail_at_start.contains(name))
    self->quit(make_failure(caf::sec::runtime_error, "it can't start"));
  self->set_exit_handler([=](caf::exit_msg& message) {
    auto asked = message.reason == caf::exit_reason::user_shutdown;
    if (asked && book->fail_while_stopping.contains(name))
      self->quit(caf::exit_reason::out_of_workers);
    else if (!asked || !book->hang.contains(name))
      self->quit(message.reason);
  });
  auto waiting = std::make_shared<std::vector<caf::response_promise>>();
  auto hear = [=](wire_atom, const auto& handles) {
    book->told[name] = book->words(handles);
    book->told_lately.insert(name);
  };
  return {
    [=](wire_atom, const store_handles& x) { hear(wire_atom_v, x); },
    [=](wire_atom, const log_handles& x) { hear(wire_atom_v, x); },
    [=](wire_atom, const sink_handles& x) { hear(wire_atom_v, x); },
    [=](wire_atom, const engine_handles& x) { hear(wire_atom_v, x); },
    [=](wire_atom, const sandbox_handles& x) { hear(wire_atom_v, x); },
    [=](wire_atom, const fetcher_handles& x) { hear(wire_atom_v, x); },
    [=](wire_atom, const scheduler_handles& x) { hear(wire_atom_v, x); },
    [=](wire_atom, const reaper_handles& x) { hear(wire_atom_v, x); },
    [=](wire_atom, const files_handles& x) { hear(wire_atom_v, x); },
    [=](wire_atom, const fleet_handles& x) { hear(wire_atom_v, x); },
    [=](wire_atom, const api_handles& x) { hear(wire_atom_v, x); },
    [=](const engine_status& status) { book->heard.push_back(status); },
    [=](reap_atom) {
      ++book->reaped;
      return std::uint32_t{0};
    },
    [=](drain_atom) {
      auto promise = self->make_response_promise();
      book->drains += name == "scheduler";
      if (name == "scheduler" && book->busy)
        waiting->push_back(promise);
      else
        promise.deliver();
      return promise;
    },
    [=](caf::ok_atom) {
      for (auto& promise : std::exchange(*waiting, {}))
        promise.deliver();
    },
  };
}

class tree : public actor_fixture {
public:
  tree() {
    context = context_with([](agent_settings& settings) {
      for (std::string name : {"a", "b"}) {
        engine_settings engine;
        engine.name = name;
        engine.slots = 3;
        settings.engines.push_back(engine);
      }
      for (std::string name : {"s", "t"}) {
        sink_settings sink;
        sink.name = name;
        settings.logs.sinks.push_back(sink);
      }
      settings.peers.listen = "127.0.0.1:1";
    });
    agent_spawns spawns{
      [=, this] { return make<store_actor>("store_keeper"); },
      [=, this] { return make<log_actor>("log_keeper"); },
      [=, this](const sink_settings& sink, sink_handles) { return make<sink_actor>("sink " + sink.name); },
      [=, this](const engine_settings& engine, engine_handles) {
        return make<engine_actor>("engine_connection " + engine.name);
      },
      [=, this](const engine_settings& engine, sandbox_handles) {
        return make<sandbox_actor>("sandbox_keeper " + engine.name);
      },
      [=, this](const scheduler_handles& handles) {
        born_draining = handles.stage != drain_stage::none;
        return make<scheduler_actor>("scheduler");
      },
      [=, this](reaper_handles) { return make<reaper_actor>("reaper"); },
      [=, this](fetcher_handles) { return make<fetcher_actor>("image_fetcher"); },
      [=, this](files_handles) { return make<files_actor>("file_keeper"); },
      [=, this](fleet_handles) { return make<fleet_actor>("fleet"); },
      [=, this](api_handles) { return make<api_actor>("api"); },
    };
    supervisor = spawn_supervisor(system, context, plan_agent(context, spawns));
    supervisor->attach_functor([this](const caf::error& why) {
      over = true;
      reason = text_of(why);
    });
  }

  ~tree() {
    book.hang.clear();
    stop();
    for (auto& [name, one] : book.now)
      caf::anon_send_exit(one, caf::exit_reason::kill);
    run_all();
  }

  template <class Handle>
  Handle make(const std::string& name) {
    auto one = system.spawn(dummy, &book, name);
    book.started.push_back(name);
    book.alive.insert(name);
    book.labels[one->id()] = name + '#' + std::to_string(++book.starts[name]);
    book.now[name] = one;
    return caf::actor_cast<Handle>(one);
  }

  /// Asks the supervisor; `answer` is nothing until it has answered, and empty if that is good.
  template <class Atom>
  std::shared_ptr<std::optional<std::string>> ask(Atom what) {
    auto answer = std::make_shared<std::optional<std::string>>();
    system.spawn([=, this](caf::event_based_actor* self) {
      self->request(supervisor, caf::infinite, what)
        .then([=] { *answer = ""; }, [=](const caf::error& e) { *answer = text_of(e); });
    });
    run_all();
    return answer;
  }

  void start() {
    auto answer = ask(start_atom_v);
    REQUIRE(*answer == "");
  }

  void stop() {
    caf::anon_send_exit(supervisor, caf::exit_reason::user_shutdown);
    run_all();
  }

  void fail(const std::string& name) {
    caf::anon_send_exit(book.now[name], caf::exit_reason::out_of_workers);
    run_all();
  }

  /// Fails once more than its budget allows; the last failure is not waited for.
  void fail_for_good(const std::string& name) {
    for (auto backoff : {10ms, 40ms, 160ms, 640ms, 2560ms}) {
      fail(name);
      pass(backoff);
    }
    fail(name);
  }

  bool lives(const std::string& name) const { return book.alive.contains(name); }

  std::int64_t suspended(const std::string& subtree) {
    return system.metrics()
      .gauge_family("davit", "suspended", {"subtree"}, "")
      ->get_or_add({{"subtree", subtree}})
      ->value();
  }

  std::string label(const std::string& name) { return name + '#' + std::to_string(book.starts[name]); }

  ledger book;
  context_ptr context;
  supervisor_actor supervisor;
  bool over = false, born_draining = false;
  std::string reason;
};
} // namespace davit::test
