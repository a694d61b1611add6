// What davit itself can do, with engines that cost nothing: the agent's own actors (store keeper, log keeper,
// scheduler, executors) in this process, and an actor that answers for the engine. Each task is accepted (durable),
// claimed, executed, its log closed and its outcome recorded. davit_bench_rate TASKS [QUEUED]: QUEUED tasks are
// accepted before the engine is there.
#include "instant_agent.hpp"

#include "actors/metrics.hpp"
#include "configuration/configuration.hpp"

#include <caf/scoped_actor.hpp>
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
using namespace davit::bench;
using namespace std::chrono_literals;

namespace {

using steady = std::chrono::steady_clock;

double resident_kb() {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:"))
      return std::atof(line.c_str() + 6);
  return 0;
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

/// An agent on SQLite.
struct agent {
  std::string folder = make_folder();
  caf_configuration config;
  transport::io_runtime io;
  caf::actor_system system{config};
  std::shared_ptr<finish_counter> counter = std::make_shared<finish_counter>();
  instant_agent one{system,
                    io,
                    std::make_shared<metrics>(system),
                    settings(),
                    {spawn_instant_engine(system), spawn_instant_engine(system), spawn_instant_engine(system),
                     spawn_instant_engine(system)},
                    system.spawn(count_finished, counter)};

  agent_settings settings() const {
    agent_settings settings;
    settings.name = "bench";
    settings.data_dir = folder;
    settings.store_url = "sqlite://" + folder + "/davit.db";
    settings.min_free_disk = byte_size{0};
    for (std::string name : {"a", "b", "c", "d"}) {
      engine_settings engine;
      engine.name = engine.endpoint = name;
      engine.slots = 64;
      settings.engines.push_back(engine);
    }
    return settings;
  }

  ~agent() {
    one.kill();
    caf::scoped_actor self{system};
    for (const auto& [name, engine] : one.addresses().engines)
      self->send_exit(engine, caf::exit_reason::user_shutdown);
    self->send_exit(one.listener(), caf::exit_reason::user_shutdown);
    io.stop();
    std::filesystem::remove_all(folder);
  }
};

/// Accepts `count` tasks with at most `window` under way, never more than `ahead` before what is finished; milliseconds
/// of each.
std::vector<double> submit(agent& to, int count, int window, int ahead, double per_second = 0) {
  caf::scoped_actor self{to.system};
  std::vector<double> latencies;
  auto spec = spec_of_true();
  auto base = to.counter->finished.load();
  int sent = 0, answered = 0;
  auto begun = steady::now();
  std::vector<steady::time_point> at(static_cast<std::size_t>(count));
  while (answered < count) {
    while (sent < count && sent - answered < window && (per_second == 0 || sent < seconds_since(begun) * per_second)
           && (ahead == 0 || sent - (to.counter->finished - base) < ahead)) {
      at[static_cast<std::size_t>(sent++)] = steady::now();
      self->send(to.one.addresses().store, accept_atom_v, spec, std::string{"bench"});
    }
    if (sent == answered) {
      std::this_thread::sleep_for(200us);
      continue;
    }
    self->receive([&](const task_receipt&) {},
                  [&](const caf::error& e) {
                    std::cerr << "bench: " << text_of(e) << '\n';
                    std::exit(1);
                  });
    latencies.push_back(
      std::chrono::duration<double, std::milli>(steady::now() - at[static_cast<std::size_t>(answered++)]).count());
  }
  return latencies;
}

void wait_finished(agent& of, int count) {
  while (of.counter->finished < count)
    std::this_thread::sleep_for(1ms);
  if (of.counter->bad != 0)
    std::cerr << "bench: " << of.counter->bad << " tasks did not succeed\n";
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
    one.one.engines_come();
    submit(one, tasks / 10, 64, 512); // warms up
    wait_finished(one, tasks / 10);
    auto begun = steady::now();
    auto cpu = cpu_seconds();
    submit(one, tasks, 256, 1024);
    wait_finished(one, tasks + tasks / 10);
    rate = tasks / seconds_since(begun);
    std::printf("tasks/s %.0f, CPU us per task %.0f\n", rate, (cpu_seconds() - cpu) * 1e6 / tasks);
    auto latencies = submit(one, static_cast<int>(rate), 100'000, 0, rate / 2);
    std::printf("accept at half that rate: p50 %.2f ms, p99 %.2f ms\n", quantile(latencies, 0.5),
                quantile(latencies, 0.99));
  }
  if (queued > 0) {
    agent one;
    submit(one, 1000, 256, 0);
    auto before = resident_kb();
    auto begun = steady::now();
    submit(one, queued, 1024, 0);
    std::printf("accepted while nothing runs: %.0f tasks/s, %.0f bytes of memory per queued task\n",
                queued / seconds_since(begun), (resident_kb() - before) * 1024 / queued);
    begun = steady::now();
    one.one.engines_come();
    wait_finished(one, std::min(queued, tasks));
    std::printf("%d of %d queued: %.0f tasks/s\n", std::min(queued, tasks), queued,
                std::min(queued, tasks) / seconds_since(begun));
  }
}
