// The executor alone: that it does what the transitions say, and that answers and timers of a step end with it.
#include "actors/executor.hpp"

#include "actor_fixture.hpp"
#include "attempt_samples.hpp"
#include "fixture/captured_log.hpp"

#include <caf/response_promise.hpp>
#include <caf/send.hpp>

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;

namespace {

/// What was asked of the engine, and how it answers: at once, or when the test says so.
struct engine_script {
  std::vector<std::string> asked;
  container_plan plan; ///< Of the last create.
  bool hold_create = false;
  std::vector<caf::typed_response_promise<std::string>> creates;
  std::vector<caf::typed_response_promise<void>> pulls;
  std::vector<caf::typed_response_promise<std::int64_t>> waits;
  container_status container;
};

caf::behavior dummy_engine(caf::event_based_actor* self, engine_script* script) {
  return {
    [=](create_atom, const container_plan& plan) -> caf::result<std::string> {
      script->asked.emplace_back("create");
      script->plan = plan;
      if (!script->hold_create)
        return container_id;
      auto later = self->make_response_promise<std::string>();
      script->creates.push_back(later);
      return later;
    },
    [=](pull_atom, const attempt_key&, const std::string&, duration, const secret&) -> caf::result<void> {
      script->asked.emplace_back("pull");
      script->pulls.push_back(self->make_response_promise<void>());
      return script->pulls.back();
    },
    [=](start_atom, const std::string&, const std::string&) {
      script->asked.emplace_back("start");
      return true;
    },
    [=](wait_atom, const attempt_key&, const std::string&) -> caf::result<std::int64_t> {
      script->asked.emplace_back("wait");
      auto later = self->make_response_promise<std::int64_t>();
      script->waits.push_back(later);
      return later;
    },
    [=](inspect_atom, const std::string&) {
      script->asked.emplace_back("inspect");
      return script->container;
    },
    [=](log_atom, const log_request& what) {
      script->asked.emplace_back(what.follow ? "follow" : "read");
      return log_end{true, std::nullopt};
    },
    [=](remove_atom, const std::string&) { script->asked.emplace_back("remove"); },
    [=](withdraw_atom, const attempt_key&) { script->asked.emplace_back("withdraw"); },
    [](const continuation& work) { work.run(); },
  };
}

caf::behavior dummy_logs(caf::event_based_actor*) {
  return {
    [](open_atom, const attempt_key&) { return log_lease{}; },
    [](close_atom, const attempt_key&, bool) { return log_summary{}; },
    [](note_atom, const attempt_key&, const std::string&) {},
    [](finish_atom, const attempt_key&) {},
  };
}

/// What the store was told, and whether it answers.
struct store_script {
  std::vector<attempt_result> results;
  bool hold = false;
  std::vector<caf::typed_response_promise<void>> held;
};

caf::behavior dummy_store(caf::event_based_actor* self, store_script* script) {
  return {
    [](record_atom, const attempt_progress&) {},
    [=](finish_atom, const attempt_result& result) -> caf::result<void> {
      script->results.push_back(result);
      if (!script->hold)
        return caf::unit;
      script->held.push_back(self->make_response_promise<void>());
      return script->held.back();
    },
  };
}

struct executor_fixture : actor_fixture {
  engine_script engine;
  store_script store;
  std::vector<attempt_result>& results = store.results;
  attempt_run sample = fresh_attempt();
  executor_handles addresses;
  caf::actor engine_dummy, others[2];
  executor_actor executor;
  context_ptr context;

  executor_fixture() {
    sample.work.task.spec.start = start_mode::cold;
    sample.work.task.spec.init = false;
    engine.container = container_of(sample, "running");
    context = context_with([&](agent_settings& settings) { settings.engines = sample.settings->engines; });
    engine_dummy = system.spawn(dummy_engine, &engine);
    others[0] = system.spawn(dummy_logs);
    others[1] = system.spawn(dummy_store, &store);
    addresses.engines["local"] = caf::actor_cast<engine_actor>(engine_dummy);
    addresses.logs = caf::actor_cast<log_actor>(others[0]);
    addresses.store = caf::actor_cast<store_actor>(others[1]);
  }

  ~executor_fixture() {
    for (auto* one : {&engine_dummy, &others[0], &others[1]})
      caf::anon_send_exit(*one, caf::exit_reason::user_shutdown);
    if (executor)
      caf::anon_send_exit(executor, caf::exit_reason::kill);
    executor = nullptr;
    addresses = {};
    run_all();
  }

  void start() {
    system.spawn([this](caf::event_based_actor* parent) {
      executor = spawn_executor(parent, context, sample.work, sample.engine, addresses);
    });
    run_all();
  }

  template <class... Args>
  void tell(Args&&... args) {
    caf::anon_send(executor, std::forward<Args>(args)...);
    run_all();
  }

  bool alive() const {
    return !caf::actor_cast<caf::abstract_actor*>(executor)->getf(caf::abstract_actor::is_terminated_flag);
  }
  std::size_t times(const std::string& what) const {
    return static_cast<std::size_t>(std::count(engine.asked.begin(), engine.asked.end(), what));
  }

  /// A promise is kept by its own actor.
  template <class Promise, class Value>
  void answer(Promise promise, Value value) {
    caf::anon_send(engine_dummy, continuation{[promise, value]() mutable { promise.deliver(value); }});
    run_all();
  }

  void end_container(std::int64_t code) {
    engine.container = container_of(sample, "exited", code);
    answer(engine.waits.back(), code);
  }
};

} // namespace

TEST_CASE_METHOD(executor_fixture, "a container gets its owner's volumes, and its task's labels below davit's prefix") {
  auto& spec = sample.work.task.spec;
  sample.work.task.owner = "token ci";
  spec.mounts = {{mount_type::volume, "cache", "/cache", false, {}}};
  spec.labels = {{"traefik.enable", "true"}};
  start();
  REQUIRE(engine.plan.mounts.size() == 1);
  CHECK(engine.plan.mounts[0].source == "davit-default-token_20ci-cache");
  CHECK(engine.plan.volume_labels.at(engine.plan.mounts[0].source).at("davit.owner") == "token ci");
  CHECK(engine.plan.labels.at("davit.label.traefik.enable") == "true");
  CHECK_FALSE(engine.plan.labels.contains("traefik.enable"));
}

TEST_CASE_METHOD(executor_fixture, "an executor takes its attempt from the verdict to the removal, and ends",
                 "[executor]") {
  start();
  CHECK(engine.asked == std::vector<std::string>{"create", "inspect", "start", "wait"});
  pass(duration{200});
  CHECK(times("follow") == 1);
  end_container(3);
  REQUIRE(results.size() == 1);
  CHECK(results.front().outcome == outcome::failed);
  CHECK(results.front().exit_code == 3);
  CHECK(times("remove") == 1);
  CHECK_FALSE(alive());
}

TEST_CASE_METHOD(executor_fixture, "a timer ends with its step", "[executor]") {
  captured_log log;
  store.hold = true;
  start();
  end_container(0); // before the log would have been followed
  pass(duration{1000});
  CHECK_FALSE(log.has("a mistake in davit"));
  CHECK(times("follow") == 0);
  CHECK(results.size() == 1);
}

TEST_CASE_METHOD(executor_fixture, "an answer to a step that is over is dropped", "[executor]") {
  captured_log log;
  engine.hold_create = true;
  start();
  REQUIRE(engine.creates.size() == 1);
  tell(fence_atom_v, true);
  answer(engine.creates.front(), container_id);
  CHECK(times("start") == 0);
  CHECK(times("remove") == 1); // what may have been made
  CHECK(results.empty());
  CHECK_FALSE(alive());
  CHECK_FALSE(log.has("a mistake in davit")); // of what the transitions do not expect
}

TEST_CASE_METHOD(executor_fixture, "an answer to a step that is over is not heard in the next one", "[executor]") {
  captured_log log;
  sample.work.task.spec.pull = pull_policy::always;
  store.hold = true;
  start();
  REQUIRE(engine.pulls.size() == 1);
  tell(cancel_atom_v);
  REQUIRE(results.size() == 1);
  CHECK(times("withdraw") == 1);
  caf::anon_send(engine_dummy, continuation{[this] { engine.pulls.front().deliver(); }});
  run_all();
  CHECK(alive());
  CHECK(times("create") == 0);
  CHECK_FALSE(log.has("a mistake in davit"));
}

TEST_CASE_METHOD(executor_fixture, "a question whose connection dies is asked of the next one", "[executor]") {
  engine.hold_create = true;
  start();
  addresses.engines.erase("local");
  tell(wire_atom_v, addresses);
  caf::anon_send(engine_dummy, continuation{[this] { engine.creates.clear(); }}); // its promises die with it
  caf::anon_send_exit(engine_dummy, caf::exit_reason::kill);
  run_all();
  CHECK(alive());
  engine.hold_create = false;
  engine_dummy = system.spawn(dummy_engine, &engine);
  addresses.engines["local"] = caf::actor_cast<engine_actor>(engine_dummy);
  tell(wire_atom_v, addresses);
  CHECK(times("create") == 2);
  CHECK(times("start") == 1);
}

TEST_CASE_METHOD(executor_fixture, "an engine that stays away for longer than its grace ends the attempt",
                 "[executor]") {
  addresses.engines.erase("local");
  start();
  pass(sample.engine.grace - duration{1000});
  CHECK(results.empty());
  pass(duration{2000});
  REQUIRE(results.size() == 1);
  CHECK(results.front().outcome == outcome::engine_lost);
}
