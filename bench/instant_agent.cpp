#include "instant_agent.hpp"

#include "actors/agent_tree.hpp"
#include "actors/log_keeper.hpp"
#include "actors/metrics.hpp"
#include "actors/scheduler.hpp"
#include "actors/store_keeper.hpp"

#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <cstdlib>
#include <set>

namespace davit::bench {

namespace {

struct engine_state_of_bench {
  std::set<std::string> containers;
};

using self_pointer = engine_actor::stateful_pointer<engine_state_of_bench>;

engine_actor::behavior_type
instant_engine(self_pointer self, duration takes, std::function<void(const container_plan&)> made) {
  auto missing
    = [](const std::string& name) { return make_failure(engine_errc::not_found, "there is no container " + name); };
  return {
    [](ping_atom) { return engine_status{}; },
    [](pull_atom, const attempt_key&, const std::string&, duration, const secret&) {},
    [](find_atom, const std::string&) { return image_info{}; },
    [](images_atom, remove_atom, const std::string&) { return false; },
    [](volumes_atom, list_atom, const std::vector<std::string>&) { return std::vector<volume_summary>{}; },
    [](volumes_atom, create_atom, const volume_plan&) { return volume_summary{}; },
    [](volumes_atom, remove_atom, const std::string&) { return false; },
    [=](create_atom, const container_plan& plan) {
      self->state.containers.insert(plan.name);
      if (made)
        made(plan);
      return plan.name;
    },
    [](start_atom, const std::string&, const std::string&) { return true; },
    [](init_atom, const std::string&, const std::string&) {},
    [](init_atom, const container_plan& plan, const std::string&) { return plan.name; },
    [](init_atom, const std::string&, const std::string&, bool) {},
    [](rename_atom, const std::string&, const std::string&) {},
    [=](wait_atom, const attempt_key&, const std::string&) -> caf::result<std::int64_t> {
      if (takes.count() == 0)
        return std::int64_t{0};
      auto promise = self->make_response_promise<std::int64_t>();
      self->run_delayed(takes, [promise]() mutable { promise.deliver(std::int64_t{0}); });
      return promise;
    },
    [=](inspect_atom, const std::string& name) -> caf::result<container_status> {
      if (!self->state.containers.contains(name))
        return missing(name);
      auto key = name.substr(name.find('-') + 1, 36);
      container_status ended;
      ended.id = name;
      ended.image_id = "sha256:0123456789abcdef";
      ended.labels["davit.task"] = key;
      ended.state = "exited";
      ended.raw_state
        = R"({"Status":"exited","Running":false,"Paused":false,"Restarting":false,"OOMKilled":false,"Dead":false,"Pid":0,"ExitCode":0,"Error":""})";
      return ended;
    },
    [](stop_atom, const std::string&, duration) { return false; },
    [=](remove_atom, const std::string& name) { self->state.containers.erase(name); },
    [](count_atom, const std::string&) { return std::uint32_t{0}; },
    [](list_atom, const std::vector<std::string>&) { return std::vector<container_summary>{}; },
    [](attach_atom, const attempt_key&, const std::string&, const std::string&) {},
    [](files_atom, const std::string&, const std::string&, std::uint64_t) { return std::string{}; },
    [](files_atom, fill_atom, const attempt_key&, const std::string&, const std::string&, const file_stream&) {},
    [](files_atom, collect_atom, const attempt_key&, const std::string&, const std::string&, const file_stream&) {},
    [](log_atom, start_atom, const std::string&) { return std::string{}; },
    [](history_atom, const std::string&, timestamp) { return std::vector<engine_event>{}; },
    [](log_atom, const log_request&) { return log_end{}; },
    [](log_atom, ended_atom, const attempt_key&) {},
    [](withdraw_atom, const attempt_key&) {},
    [](const continuation&) {},
    [](tick_atom, std::uint64_t) {},
    [](wire_atom, const engine_handles&) {},
  };
}

} // namespace

engine_actor
spawn_instant_engine(caf::actor_system& system, duration takes, std::function<void(const container_plan&)> made) {
  return system.spawn(instant_engine, takes, std::move(made));
}

instant_agent::instant_agent(caf::actor_system& system, transport::io_runtime& io, std::shared_ptr<metrics> counters,
                             agent_settings settings, std::vector<engine_actor> engines, event_listener listener)
  : system_(system) {
  std::string wrong;
  auto rules = policy::make(settings.policy, wrong);
  context_ = std::make_shared<const agent_context>(
    agent_context{std::move(settings), io, rules, std::move(counters), nullptr});
  addresses_.store = spawn_store_keeper(system, context_);
  addresses_.logs = spawn_log_keeper(system, context_);
  for (std::size_t i = 0; i < engines.size(); ++i)
    addresses_.engines[context_->settings.engines[i].name] = engines[i];
  addresses_.scheduler = spawn_scheduler(system, context_, handles_of_scheduler(addresses_));
  listener_ = std::move(listener);
  wire();
}

void instant_agent::wire() {
  auto for_store = handles_of_store(addresses_);
  if (listener_)
    for_store.listeners.push_back(listener_);
  caf::anon_send(addresses_.store, wire_atom_v, for_store);
  caf::anon_send(addresses_.logs, wire_atom_v, handles_of_logs(addresses_));
  caf::anon_send(addresses_.scheduler, wire_atom_v, handles_of_scheduler(addresses_));
}

void instant_agent::engines_come() {
  for (const auto& one : context_->settings.engines) {
    engine_status ready;
    ready.name = one.name;
    ready.state = engine_state::ready;
    ready.slots = one.slots;
    ready.grace = one.grace;
    ready.info.id = one.endpoint;
    ready.same_since = std::chrono::system_clock::now();
    caf::anon_send(addresses_.scheduler, ready);
  }
}

void instant_agent::join(fleet_actor fleet) {
  addresses_.fleet = std::move(fleet);
  wire();
}

void instant_agent::kill() {
  caf::scoped_actor self{system_};
  auto end = [&](const auto& one) {
    self->send_exit(one, caf::exit_reason::kill);
    self->wait_for(one);
  };
  end(addresses_.scheduler); // and with it its executors
  end(addresses_.store);
  end(addresses_.logs);
}

std::string make_folder() {
  std::string folder = "/tmp/davit-bench-XXXXXX";
  if (!::mkdtemp(folder.data()))
    std::exit(1);
  return folder;
}

task_spec spec_of_true() {
  task_spec spec;
  spec.image = "alpine:3.20";
  spec.command = {"true"};
  spec.network = "none";
  return spec;
}

double seconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

double quantile(std::vector<double> values, double q) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(static_cast<double>(values.size() - 1) * q)];
}

} // namespace davit::bench
