// The sandbox keeper alone, with an engine that answers when the test says so.
#include "actors/sandbox_keeper.hpp"

#include "actor_fixture.hpp"

#include <caf/response_promise.hpp>
#include <caf/send.hpp>

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;

namespace {

struct engine_script {
  std::vector<std::string> made, removed; ///< By their names; removed: as it was asked.
  std::vector<caf::typed_response_promise<std::vector<container_summary>>> lists;
  std::vector<caf::typed_response_promise<void>> renames;
  int fillings = 0;            ///< Of the init's volume.
  bool holds_fillings = false; ///< Each is answered by the test.
  caf::typed_response_promise<void> filling;
};

caf::behavior dummy_engine(caf::event_based_actor* self, engine_script* script) {
  return {
    [](find_atom, const std::string&) {
      image_info image;
      image.id = "image";
      return image;
    },
    [=](init_atom, const std::string&, const std::string&) -> caf::result<void> {
      ++script->fillings;
      if (!script->holds_fillings)
        return {};
      script->filling = self->make_response_promise<void>();
      return script->filling;
    },
    [=](init_atom, const container_plan& plan, const std::string&) {
      script->made.push_back(plan.name);
      return "id of " + plan.name;
    },
    [](inspect_atom, const std::string& id) {
      container_status status;
      status.id = id;
      status.image_id = "image";
      status.state = "running";
      return status;
    },
    [=](list_atom, const std::vector<std::string>&) -> caf::result<std::vector<container_summary>> {
      script->lists.push_back(self->make_response_promise<std::vector<container_summary>>());
      return script->lists.back();
    },
    [=](rename_atom, const std::string&, const std::string&) -> caf::result<void> {
      script->renames.push_back(self->make_response_promise<void>());
      return script->renames.back();
    },
    [=](remove_atom, const std::string& what) { script->removed.push_back(what); },
    [](const continuation& work) { work.run(); },
  };
}

} // namespace

TEST_CASE_METHOD(actor_fixture, "a sandbox that is being given to a task is not taken for one that was left behind") {
  engine_script engine;
  engine_settings settings;
  settings.name = "e";
  settings.sandboxes = 4;
  auto dummy = system.spawn(dummy_engine, &engine);
  auto keeper
    = spawn_sandbox_keeper(system, context_with(), settings, sandbox_handles{caf::actor_cast<engine_actor>(dummy)});
  engine_status status;
  status.name = "e";
  status.state = engine_state::ready;
  caf::anon_send(keeper, status);
  run_all();
  REQUIRE(engine.lists.size() == 1); // and it does not answer yet
  container_plan plan;
  plan.name = "davit-task-1";
  plan.image = "alpine";
  std::optional<sandbox> given;
  system.spawn([&](caf::event_based_actor* self) {
    self->request(keeper, caf::infinite, take_atom_v, plan, true).then([&](const sandbox& one) { given = one; });
  });
  run_all();
  REQUIRE(engine.made.size() >= 1);
  REQUIRE(engine.renames.size() == 1);
  std::vector<container_summary> there;
  for (const auto& name : engine.made) {
    container_summary one;
    one.id = "id of " + name;
    one.name = name;
    one.state = "running";
    one.labels = {{"davit.sandbox", "x"}, {"davit.agent", "a"}};
    there.push_back(one);
  }
  auto left = there.front();
  left.name = "davit-sandbox-of-an-earlier-process";
  there.push_back(left);
  caf::anon_send(dummy, continuation{[&] { engine.lists[0].deliver(there); }});
  run_all();
  CHECK(engine.removed == std::vector<std::string>{left.name});
  caf::anon_send(dummy, continuation{[&] { engine.renames[0].deliver(); }});
  run_all();
  REQUIRE(given);
  CHECK(given->container == "id of " + engine.made[0]);
  for (const auto& one : {caf::actor_cast<caf::actor>(keeper), dummy})
    caf::anon_send_exit(one, caf::exit_reason::user_shutdown);
  run_all();
}

TEST_CASE_METHOD(actor_fixture, "a volume that somebody makes anew while the init is put there is filled once more") {
  engine_script engine;
  engine.holds_fillings = true;
  engine_settings settings;
  settings.name = "e";
  settings.sandboxes = 0;
  auto dummy = system.spawn(dummy_engine, &engine);
  auto keeper
    = spawn_sandbox_keeper(system, context_with(), settings, sandbox_handles{caf::actor_cast<engine_actor>(dummy)});
  int there = 0, asked = 0;
  auto ask = [&] {
    ++asked;
    system.spawn([&](caf::event_based_actor* self) {
      self->request(keeper, caf::infinite, init_atom_v, std::string{"alpine"}).then([&] { ++there; });
    });
    run_all();
  };
  auto filled = [&] {
    caf::anon_send(dummy, continuation{[&] { engine.filling.deliver(); }});
    run_all();
  };
  auto made_anew = [&] {
    caf::anon_send(keeper, ended_atom_v);
    run_all();
  };
  SECTION("while nobody looks") {
    ask();
    filled();
    CHECK(there == 1);
    ask();
    CHECK(there == 2);
    CHECK(engine.fillings == 1);
    made_anew();
    ask();
    CHECK(engine.fillings == 2);
    filled();
  }
  SECTION("while it is filled") {
    ask();
    for (int i = 0; i < 3; ++i) {
      made_anew();
      made_anew();
      ask();
      filled();
      CHECK(engine.fillings == i + 2);
      CHECK(there == 0);
    }
    filled();
    CHECK(engine.fillings == 4);
  }
  CHECK(there == asked);
  for (const auto& one : {caf::actor_cast<caf::actor>(keeper), dummy})
    caf::anon_send_exit(one, caf::exit_reason::user_shutdown);
  run_all();
}
