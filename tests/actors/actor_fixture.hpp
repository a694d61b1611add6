// An actor alone: CAF's scheduler and clock are run by hand, in this thread, and dummies stand around the actor.
#pragma once

#include "actors/agent_context.hpp"
#include "actors/metrics.hpp"
#include "configuration/configuration.hpp"
#include "fixture/test_engine.hpp"
#include "transport/io_runtime.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <functional>

namespace davit::test {

class actor_fixture {
public:
  actor_fixture() {
    system.await_actors_before_shutdown(false);
    spdlog::set_level(spdlog::level::off); // what fails does so on purpose
  }
  ~actor_fixture() {
    io.stop();
    spdlog::set_level(spdlog::level::info);
  }

  /// A context with these settings, and a data directory of its own.
  context_ptr context_with(const std::function<void(agent_settings&)>& change = {}) {
    agent_settings settings;
    settings.name = "a";
    settings.data_dir = folder.path();
    settings.store_url = "sqlite://" + (folder / "davit.db");
    settings.min_free_disk = byte_size{0};
    if (change)
      change(settings);
    std::string wrong;
    auto rules = policy::make(settings.policy, wrong);
    return std::make_shared<const agent_context>(
      agent_context{settings, io, rules, std::make_shared<metrics>(system), nullptr});
  }

  /// Handles all messages that are there, and those that follow from them. No time passes.
  void run_all() {
    while (coordinator.try_run_once())
      ;
  }

  /// Time passes: each timer fires at its time, and what follows is handled before the next one fires.
  void pass(duration time) {
    run_all();
    auto& clock = coordinator.clock();
    auto until = clock.now() + time;
    while (!clock.schedule.empty() && clock.schedule.begin()->first <= until) {
      clock.advance_time(std::max(clock.schedule.begin()->first - clock.now(), caf::actor_clock::duration_type{0}));
      run_all();
    }
    clock.advance_time(until - clock.now());
    run_all();
  }

  scratch_folder folder;

private:
  struct by_hand : caf::actor_system_config {
    by_hand() {
      static caf_configuration knows_types; // the first one tells CAF of davit's messages
      set("caf.scheduler.policy", "testing");
    }
  };
  by_hand config_;

public:
  transport::io_runtime io;
  caf::actor_system system{config_};
  caf::scheduler::test_coordinator& coordinator = dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
};

} // namespace davit::test
