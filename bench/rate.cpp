// What davit itself can do, with engines that cost nothing: the agent's own actors (store keeper, log keeper, scheduler, executors) in this process, and an actor that
// answers for the engine. Each task is accepted (durable), claimed, executed, its log closed and its outcome recorded.
// davit_bench_rate TASKS [QUEUED]: QUEUED tasks are accepted before the engine is there.
#include "actors/agent_context.hpp"
#include "actors/log_keeper.hpp"
#include "actors/metrics.hpp"
#include "actors/scheduler.hpp"
#include "actors/store_keeper.hpp"
#include "cli/configuration.hpp"
#include "messages/actors.hpp"
#include "transport/io_runtime.hpp"

#include <caf/actor_system.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

using namespace davit;
using namespace std::chrono_literals;

namespace {

using steady = std::chrono::steady_clock;

double seconds_since(steady::time_point begun) {
  return std::chrono::duration<double>(steady::now() - begun).count();
}

double resident_kb() {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:"))
      return std::atof(line.c_str() + 6);
  return 0;
}

/// An engine where every container exits with 0 as soon as it is started, and prints nothing.
engine_actor::behavior_type instant_engine() {
  static const std::string id(64, 'c');
  auto status = [] {
    container_status ended;
    ended.id = id;
    ended.image_id = "sha256:" + id;
    ended.state = "exited";
    ended.raw_state = R"({"Status":"exited","Running":false,"Paused":false,"Restarting":false,"OOMKilled":false,"Dead":false,"Pid":0,"ExitCode":0,"Error":""})";
    return ended;
  };
  return {
    [](ping_atom) { return engine_status{}; },
    [](pull_atom, const attempt_key&, const std::string&, duration, const secret&) {},
    [](find_atom, const std::string&) { return image_info{}; },
    [](images_atom, remove_atom, const std::string&) { return false; },
    [](create_atom, const container_plan&) { return id; },
    [](start_atom, const std::string&, const std::string&) { return true; },
    [](init_atom, const std::string&, const std::string&) {},
    [](init_atom, const container_plan&, const std::string&) { return id; },
    [](init_atom, const std::string&, const std::string&, bool) {},
    [](rename_atom, const std::string&, const std::string&) {},
    [](wait_atom, const attempt_key&, const std::string&) { return std::int64_t{0}; },
    [=](inspect_atom, const std::string&) { return status(); },
    [](stop_atom, const std::string&, duration) { return false; },
    [](remove_atom, const std::string&) {},
    [](count_atom, const std::string&) { return std::uint32_t{0}; },
    [](list_atom, const std::vector<std::string>&) { return std::vector<container_summary>{}; },
    [](attach_atom, const attempt_key&, const std::string&, const std::string&) {},
    [](files_atom, const std::string&, const std::string&, std::uint64_t) { return std::string{}; },
    [](history_atom, const std::string&, timestamp) { return std::vector<engine_event>{}; },
    [](log_atom, const log_request&) { return log_end{}; },
    [](withdraw_atom, const attempt_key&) {},
    [](const continuation&) {},
    [](tick_atom, std::uint64_t) {},
    [](wire_atom, const wiring&) {},
  };
}

struct finish_counter {
  std::atomic<int> finished{0}, bad{0};
};

event_listener::behavior_type count_finished(std::shared_ptr<finish_counter> counter) {
  return {[counter](const task_event& event) {
    if (event.kind != "finished")
      return;
    counter->bad += event.outcome != outcome::succeeded;
    ++counter->finished;
  }};
}

/// The actors of an agent.
struct agent {
  std::vector<std::string> engines{"a", "b", "c", "d"};
  std::string folder = "/tmp/davit-bench-XXXXXX";
  caf_configuration config;
  transport::io_runtime io;
  caf::actor_system system{config};
  context_ptr context;
  wiring addresses;
  std::shared_ptr<finish_counter> counter = std::make_shared<finish_counter>();

  agent() {
    if (!::mkdtemp(folder.data()))
      std::exit(1);
    agent_settings settings;
    settings.name = "bench";
    settings.data_dir = folder;
    settings.store_url = "sqlite://" + folder + "/davit.db";
    settings.min_free_disk = byte_size{0};
    for (const auto& name : engines) {
      engine_settings engine;
      engine.name = name;
      engine.slots = 64;
      engine.sandboxes = 0;
      settings.engines.push_back(engine);
    }
    std::string wrong;
    auto rules = policy::make(settings.policy, wrong);
    context = std::make_shared<const agent_context>(agent_context{settings, io, rules, std::make_shared<metrics>(system), nullptr});
    addresses.store = spawn_store_keeper(system, context);
    addresses.logs = spawn_log_keeper(system, context);
    for (const auto& name : engines)
      addresses.engines[name] = system.spawn(instant_engine);
    addresses.scheduler = spawn_scheduler(system, context, addresses);
    addresses.listeners = {addresses.scheduler, system.spawn(count_finished, counter)};
    caf::anon_send(addresses.store, wire_atom_v, addresses);
    caf::anon_send(addresses.logs, wire_atom_v, addresses);
    caf::anon_send(addresses.scheduler, wire_atom_v, addresses);
  }

  void engines_come() {
    for (const auto& name : engines) {
      engine_status ready;
      ready.name = name;
      ready.state = engine_state::ready;
      ready.slots = 64;
      ready.grace = 10s;
      ready.info.id = name;
      caf::anon_send(addresses.scheduler, ready);
    }
  }

  ~agent() {
    caf::scoped_actor self{system};
    auto end = [&](const auto& one) {
      self->send_exit(one, caf::exit_reason::user_shutdown);
      self->wait_for(one);
    };
    end(addresses.scheduler);
    end(addresses.store);
    end(addresses.logs);
    for (const auto& [name, engine] : addresses.engines)
      end(engine);
    end(addresses.listeners.back());
    io.stop();
    std::filesystem::remove_all(folder);
  }
};

task_spec spec_of_true() {
  task_spec spec;
  spec.image = "alpine:3.20";
  spec.command = {"true"};
  spec.network = "none";
  return spec;
}

/// Accepts `count` tasks with at most `window` under way, never more than `ahead` before what is finished; milliseconds of each.
std::vector<double> submit(agent& to, int count, int window, int ahead, double per_second = 0) {
  caf::scoped_actor self{to.system};
  std::vector<double> latencies;
  auto spec = spec_of_true();
  auto base = to.counter->finished.load();
  int sent = 0, answered = 0;
  auto begun = steady::now();
  std::vector<steady::time_point> at(static_cast<std::size_t>(count));
  while (answered < count) {
    while (sent < count && sent - answered < window && (per_second == 0 || sent < seconds_since(begun) * per_second) && (ahead == 0 || sent - (to.counter->finished - base) < ahead)) {
      at[static_cast<std::size_t>(sent++)] = steady::now();
      self->send(to.addresses.store, accept_atom_v, spec, std::string{"bench"});
    }
    if (sent == answered) {
      std::this_thread::sleep_for(200us);
      continue;
    }
    self->receive([&](const task_receipt&) {}, [&](const caf::error& e) {
      std::cerr << "bench: " << text_of(e) << '\n';
      std::exit(1);
    });
    latencies.push_back(std::chrono::duration<double, std::milli>(steady::now() - at[static_cast<std::size_t>(answered++)]).count());
  }
  return latencies;
}

void wait_finished(agent& of, int count) {
  while (of.counter->finished < count)
    std::this_thread::sleep_for(1ms);
  if (of.counter->bad != 0)
    std::cerr << "bench: " << of.counter->bad << " tasks did not succeed\n";
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(static_cast<double>(values.size() - 1) * q)];
}

double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "davit_bench_rate TASKS [QUEUED]\n";
    return 2;
  }
  spdlog::set_default_logger(spdlog::null_logger_mt("none"));
  auto tasks = std::atoi(argv[1]), queued = argc > 2 ? std::atoi(argv[2]) : 0;
  double rate = 0;
  {
    agent one;
    one.engines_come();
    submit(one, tasks / 10, 64, 512); // warms up
    wait_finished(one, tasks / 10);
    auto begun = steady::now();
    auto cpu = cpu_seconds();
    submit(one, tasks, 256, 1024);
    wait_finished(one, tasks + tasks / 10);
    rate = tasks / seconds_since(begun);
    std::printf("tasks/s %.0f, CPU us per task %.0f\n", rate, (cpu_seconds() - cpu) * 1e6 / tasks);
    auto latencies = submit(one, static_cast<int>(rate), 100'000, 0, rate / 2);
    std::printf("accept at half that rate: p50 %.2f ms, p99 %.2f ms\n", quantile(latencies, 0.5), quantile(latencies, 0.99));
  }
  if (queued > 0) {
    agent one;
    submit(one, 1000, 256, 0);
    auto before = resident_kb();
    auto begun = steady::now();
    submit(one, queued, 1024, 0);
    std::printf("accepted while nothing runs: %.0f tasks/s, %.0f bytes of memory per queued task\n", queued / seconds_since(begun), (resident_kb() - before) * 1024 / queued);
    begun = steady::now();
    one.engines_come();
    wait_finished(one, std::min(queued, tasks));
    std::printf("%d of %d queued: %.0f tasks/s\n", std::min(queued, tasks), queued, std::min(queued, tasks) / seconds_since(begun));
  }
}
