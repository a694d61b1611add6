// A scheduler alone, with a store, executors and an engine that do what the test says, in time that the test lets pass.
#pragma once

#include "actor_fixture.hpp"
#include "actors/scheduler.hpp"

#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>

namespace davit::test {

using namespace std::chrono_literals;

/// What was asked of the store, and what it answers: at once, or when the test says so.
struct store_script {
  std::vector<claim_request> claims;
  std::vector<attempt_result> ends;
  std::vector<adopt_request> adoptions;
  std::vector<agent_status> beats;
  std::vector<caf::typed_response_promise<claim_answer>> held; ///< Claims that wait for the test.
  bool hold_beats = false;
  std::vector<caf::typed_response_promise<bool>> held_beats;
  bool hold_claims = false, fail_claims = false, fail_ends = false, fail_beats = false;
  std::vector<claimed_attempt> left, queue; ///< What the next claim gives: as open, as new.
  std::optional<timestamp> next_due;
  adoption adopted;
  std::map<task_id, task> tasks;
  std::vector<caf::typed_response_promise<task>> held_finds;
  bool hold_finds = false;
  std::map<task_id, duration> time_to_kill; ///< Of cancelled tasks whose end is limited.
  bool fail_times = false;

  claim_answer answer(const claim_request& request) {
    claim_answer given;
    given.attempts = std::exchange(left, {});
    std::size_t room = 0;
    for (const auto& one : request.offers)
      room += one.free;
    for (; room > 0 && !queue.empty(); --room) {
      given.attempts.push_back(std::move(queue.front()));
      queue.erase(queue.begin());
    }
    for (auto& one : given.attempts)
      one.token.incarnation = request.incarnation;
    given.next_due = next_due;
    return given;
  }
};

inline caf::behavior dummy_store(caf::event_based_actor* self, store_script* script) {
  auto ill = [] { return make_failure(store_errc::unavailable, "the store is ill"); };
  return {
    [=](claim_atom, const claim_request& request) -> caf::result<claim_answer> {
      script->claims.push_back(request);
      if (script->fail_claims)
        return ill();
      if (!script->hold_claims)
        return script->answer(request);
      auto later = self->make_response_promise<claim_answer>();
      script->held.push_back(later);
      return later;
    },
    [=](finish_atom, const attempt_result& result) -> caf::result<void> {
      script->ends.push_back(result);
      if (script->fail_ends)
        return ill();
      return caf::unit;
    },
    [=](find_atom, task_id id) -> caf::result<task> {
      if (!script->hold_finds)
        return script->tasks[id];
      auto later = self->make_response_promise<task>();
      script->held_finds.push_back(later);
      return later;
    },
    [=](cancel_atom, find_atom, task_id id) -> caf::result<duration> {
      if (script->fail_times)
        return ill();
      auto known = script->time_to_kill.find(id);
      return known == script->time_to_kill.end() ? duration::max() : known->second;
    },
    [=](beat_atom, const agent_status& agent, duration) -> caf::result<bool> {
      script->beats.push_back(agent);
      if (script->hold_beats) {
        script->held_beats.push_back(self->make_response_promise<bool>());
        return script->held_beats.back();
      }
      if (script->fail_beats)
        return ill();
      return true;
    },
    [=](adopt_atom, const adopt_request& request) -> caf::result<adoption> {
      script->adoptions.push_back(request);
      auto found = std::exchange(script->adopted, {});
      for (auto* list : {&found.adopted, &found.orphans})
        for (auto& one : *list)
          one.token.incarnation = request.incarnation;
      return found;
    },
    [=](const continuation& work) { work.run(); },
    [=](expire_atom) {},
    [=](count_atom) { return task_counts{}; },
  };
}

/// What an executor was told.
struct executor_script {
  claimed_attempt work;
  std::vector<std::string> told;
  std::vector<engine_status> engines; ///< What it was told of its engine, at its start first.
  caf::actor actor;
};

struct scheduler_fixture : actor_fixture {
  store_script store;
  std::vector<std::shared_ptr<executor_script>> executors; ///< In the order in which they were started.
  std::vector<std::string> removed;                        ///< Containers that the engine was asked to remove.
  scheduler_handles addresses;
  scheduler_actor scheduler;
  context_ptr context;

  ~scheduler_fixture() {
    for (auto& one : executors)
      caf::anon_send_exit(one->actor, caf::exit_reason::user_shutdown);
    for (auto* one : {&store_actor_, &engine_actor_})
      caf::anon_send_exit(*one, caf::exit_reason::user_shutdown);
    end_scheduler();
  }

  caf::actor store_actor_, engine_actor_;
  std::vector<std::string> names{"e"}; ///< Of the configured engines.

  void end_scheduler() {
    if (scheduler)
      caf::anon_send_exit(scheduler, caf::exit_reason::kill);
    run_all();
    scheduler = nullptr;
  }

  /// The scheduler as the supervisor starts it; `shared`: with other agents at the store.
  void spawn(bool shared = false, std::uint32_t slots = 2) {
    context = context_with([&](agent_settings& settings) {
      settings.shared_store = shared;
      settings.lease = 12s;
      for (const auto& name : names) {
        engine_settings engine;
        engine.name = name;
        engine.slots = slots;
        settings.engines.push_back(engine);
      }
    });
    new_store();
    engine_actor_ = system.spawn([this](caf::event_based_actor*) -> caf::behavior {
      return {[this](remove_atom, const std::string& what) { removed.push_back(what); }};
    });
    addresses.engines["e"] = caf::actor_cast<davit::engine_actor>(engine_actor_);
    spawn_again();
  }

  void spawn_again() {
    scheduler = spawn_scheduler(
      system, context, addresses,
      [this](caf::scheduled_actor* parent, context_ptr, claimed_attempt work, engine_status engine, executor_handles) {
        auto script = std::make_shared<executor_script>();
        script->engines.push_back(std::move(engine));
        script->work = std::move(work);
        script->actor = parent->spawn([script](caf::event_based_actor* self) -> caf::behavior {
          return {[self](ended_atom) { self->quit(); },
                  [script](cancel_atom) { script->told.push_back("cancel"); },
                  [script](cancel_atom, duration within) {
                    script->told.push_back("cancel within " + format_duration(within));
                  },
                  [script](stop_atom) { script->told.push_back("stop"); },
                  [script](fence_atom, bool clear) { script->told.push_back(clear ? "fence and clear" : "fence"); },
                  [script](const engine_status& now) { script->engines.push_back(now); },
                  [](wire_atom, const executor_handles&) {}};
        });
        executors.push_back(script);
        return caf::actor_cast<executor_actor>(script->actor);
      });
  }

  void new_store() {
    store_actor_ = system.spawn(dummy_store, &store);
    addresses.store = caf::actor_cast<davit::store_actor>(store_actor_);
  }

  /// Answers what the store holds: from there, as promises must be.
  template <class Promise, class Answer>
  void answer_late(Promise promise, Answer answer) {
    caf::anon_send(store_actor_, continuation{[promise, answer]() mutable { promise.deliver(answer); }});
    run_all();
  }

  void wire() {
    caf::anon_send(scheduler, wire_atom_v, addresses);
    run_all();
  }

  void engine_is(engine_state state, const std::string& name = "e", const std::string& id = "engine-id") {
    engine_status status;
    status.name = name;
    status.state = state;
    status.slots = context->settings.engines.front().slots;
    status.info.id = id;
    caf::anon_send(scheduler, status);
    run_all();
  }

  /// Something may have been queued.
  void wake() {
    task_event event;
    event.kind = "accepted";
    caf::anon_send(scheduler, event);
    run_all();
  }

  claimed_attempt attempt_of(bool resumed = false, std::string engine_id = "engine-id") {
    claimed_attempt one;
    one.token.key = {uuid::make_v7(), 1};
    one.task.id = one.token.key.task;
    auto& last = one.task.attempts.emplace_back();
    last.number = 1;
    last.engine = "e";
    last.engine_id = std::move(engine_id);
    one.resumed = resumed;
    store.tasks[one.task.id] = one.task;
    return one;
  }

  /// Of its own accord, or else it fails with that reason.
  void ends(const std::shared_ptr<executor_script>& one, caf::exit_reason how = caf::exit_reason::normal) {
    if (how == caf::exit_reason::normal)
      caf::anon_send(one->actor, ended_atom_v);
    else
      caf::anon_send_exit(one->actor, how);
    run_all();
  }

  /// Whether the drain is over, when it is looked at.
  std::shared_ptr<bool> drain() {
    auto over = std::make_shared<bool>(false);
    system.spawn([this, over](caf::event_based_actor* self) {
      self->request(scheduler, caf::infinite, drain_atom_v).then([over] { *over = true; });
    });
    run_all();
    return over;
  }

  /// Wired, with the engine ready, and all that was left taken over.
  void started(bool shared = false, std::uint32_t slots = 2) {
    spawn(shared, slots);
    wire();
    engine_is(engine_state::ready);
  }
};

} // namespace davit::test
