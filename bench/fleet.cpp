// Many whole agents in one process, on one PostgreSQL, with engines that are actors; each engine is reached by two
// agents. davit_bench_fleet URL AGENTS TASKS: how fast the tasks are through, how long one takes from its submission at
// one agent to its container at another; then a quarter of the agents is killed while tasks run, and every task must
// end all the same, with no attempt's container made twice.
#include "instant_agent.hpp"

#include "actors/metrics.hpp"
#include "configuration/configuration.hpp"

#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <soci/postgresql/soci-postgresql.h>
#include <soci/soci.h>

#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <mutex>
#include <set>
#include <thread>

using namespace davit;
using namespace davit::bench;
using namespace std::chrono_literals;

namespace {

using steady = std::chrono::steady_clock;

/// What the engines have seen, and what the store has told.
struct ledger {
  std::mutex mutex;
  std::map<std::string, int> containers;             ///< By name: how often one was made.
  std::map<std::string, steady::time_point> made_at; ///< By task, the first.
  std::map<std::string, outcome> finished;
  std::atomic<int> finished_count{0};

  void make(const container_plan& plan) {
    std::lock_guard lock{mutex};
    ++containers[plan.name];
    made_at.emplace(plan.labels.at("davit.task"), steady::now());
  }
};

event_listener::behavior_type listen(std::reference_wrapper<ledger> all) {
  return {[book = &all.get()](const task_event& event) {
    if (event.kind != "finished")
      return;
    std::lock_guard lock{book->mutex};
    if (book->finished.emplace(to_string(event.task), event.outcome.value_or(outcome::failed)).second)
      ++book->finished_count;
  }};
}

/// Stands for the mesh of peers: whoever commits tells all others.
struct mesh_state {
  std::vector<store_actor> stores;
};

fleet_actor::behavior_type mesh(fleet_actor::stateful_pointer<mesh_state> self, std::vector<store_actor> others) {
  self->state.stores = std::move(others);
  return {
    [=](news_atom) {
      for (const auto& one : self->state.stores)
        self->send(one, news_atom_v);
    },
    [](hello_atom, const peer_hello&, const caf::strong_actor_ptr&) {},
    [](read_atom, const std::string&, const log_query&) { return log_page{}; },
    [](drain_atom, const std::string&) {},
    [](list_atom) { return std::vector<std::string>{}; },
    [](find_atom, const std::string&, const std::vector<std::string>&) {},
    [](tick_atom) {},
    [](wire_atom, const fleet_handles&) {},
  };
}

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "bench: " << what << '\n';
  std::exit(1);
}

/// What the database has committed by now, of all sessions.
double commits(const std::string& url) {
  soci::session sql{soci::postgresql, url + "?application_name=bench"};
  long long count = 0;
  sql << "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()", soci::into(count);
  return static_cast<double>(count);
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 4)
    fail("davit_bench_fleet URL AGENTS TASKS");
  std::string url = argv[1];
  auto count = std::atoi(argv[2]), tasks = std::atoi(argv[3]);
  if (!std::getenv("BENCH_LOG"))
    spdlog::set_default_logger(spdlog::null_logger_mt("none"));
  auto folder = make_folder();
  caf_configuration config;
  transport::io_runtime io;
  caf::actor_system system{config};
  auto counters = std::make_shared<metrics>(system);
  ledger book;
  std::vector<engine_actor> engines;
  engines.reserve(static_cast<std::size_t>(count + 1) / 2);
  for (int i = 0; i < (count + 1) / 2; ++i)
    engines.push_back(spawn_instant_engine(system, 100ms, [&](const container_plan& plan) { book.make(plan); }));
  std::vector<std::unique_ptr<instant_agent>> agents;
  for (int i = 0; i < count; ++i) {
    agent_settings settings;
    settings.name = "agent-" + std::to_string(i);
    settings.home = uuid::make_v4();
    settings.data_dir = folder + "/" + settings.name;
    std::filesystem::create_directories(settings.data_dir);
    settings.store_url = url;
    settings.shared_store = true;
    settings.lease = 20s;
    settings.min_free_disk = byte_size{0};
    engine_settings engine;
    engine.name = "e";
    engine.endpoint = "engine-" + std::to_string(i / 2);
    engine.slots = 16;
    settings.engines.push_back(engine);
    agents.push_back(std::make_unique<instant_agent>(system, io, counters, settings,
                                                     std::vector{engines[static_cast<std::size_t>(i / 2)]},
                                                     i == 0 ? system.spawn(listen, std::ref(book)) : event_listener{}));
  }
  for (std::size_t i = 0; i < agents.size(); ++i) {
    std::vector<store_actor> others;
    for (std::size_t j = 0; j < agents.size(); ++j)
      if (j != i)
        others.push_back(agents[j]->addresses().store);
    agents[i]->join(system.spawn(mesh, others));
    agents[i]->engines_come();
  }
  caf::scoped_actor self{system};
  std::map<std::string, steady::time_point> submitted;
  int accepted = 0;
  auto submit = [&](std::size_t where) {
    auto spec = spec_of_true();
    spec.retry.attempts = 3;
    auto at = steady::now();
    self->request(agents[where]->addresses().store, 60s, accept_atom_v, spec, "owner-" + std::to_string(accepted % 7))
      .receive([&](const task_receipt& receipt) { submitted[to_string(receipt.id)] = at; },
               [](const caf::error& e) { fail(text_of(e)); });
    ++accepted;
  };
  auto await = [&](int wanted, duration limit, const char* what) {
    auto begun = steady::now();
    while (book.finished_count < wanted) {
      if (steady::now() - begun > limit)
        fail(std::string{what} + ": only " + std::to_string(book.finished_count) + " of " + std::to_string(wanted)
             + " tasks have ended");
      std::this_thread::sleep_for(5ms);
    }
  };
  auto index = [&] { return static_cast<std::size_t>(accepted) % agents.size(); };
  submit(0); // everybody has a lease and its engines before long
  await(1, 60s, "the first");
  std::this_thread::sleep_for(4s);

  // At rest.
  auto before = commits(url);
  std::this_thread::sleep_for(3s);
  auto idle = (commits(url) - before) / 3;

  // One at a time, each at another agent.
  std::vector<double> waits;
  for (int i = 0; i < 100; ++i) {
    submit(index());
    await(accepted, 60s, "one at a time");
  }
  {
    std::lock_guard lock{book.mutex};
    for (const auto& [task, at] : submitted)
      waits.push_back(std::chrono::duration<double, std::milli>(book.made_at.at(task) - at).count());
  }

  // Many: submitted in bulk through four agents, run by all.
  auto many = [&](int how_many) {
    int answered = 0;
    for (int sent = 0; sent < how_many || answered < how_many;) {
      if (sent < how_many && sent - answered < 256) {
        auto spec = spec_of_true();
        spec.retry.attempts = 3;
        self->send(agents[static_cast<std::size_t>(sent) % std::min<std::size_t>(4, agents.size())]->addresses().store,
                   accept_atom_v, spec, "owner-" + std::to_string(sent % 7));
        ++sent;
        continue;
      }
      self->receive([&](const task_receipt&) { ++answered; }, [](const caf::error& e) { fail(text_of(e)); });
    }
    accepted += how_many;
  };
  auto begun = steady::now();
  many(tasks);
  await(accepted, 600s, "many");
  auto rate = tasks / seconds_since(begun);

  // A quarter of them dies while tasks run: of one half of these each takes its engine's other agent along, of the rest
  // none does.
  many(tasks);
  auto dead = agents.size() / 4, pairs = dead / 4 * 2;
  for (std::size_t i = 0; i < dead; ++i)
    agents[agents.size() - 1 - (i < pairs ? i : pairs + 2 * (i - pairs))]->kill();
  begun = steady::now();
  await(accepted, 300s, "after the deaths");
  auto recovered = seconds_since(begun);
  int twice = 0, bad = 0;
  {
    std::lock_guard lock{book.mutex};
    for (const auto& [name, times] : book.containers)
      twice += times > 1;
    for (const auto& [task, how] : book.finished)
      bad += how != outcome::succeeded;
  }
  std::printf("| %d | %.0f | %.1f | %.1f | %.0f | %zu | %.0f | %d | %d |\n", count, rate, quantile(waits, 0.5),
              quantile(waits, 0.99), idle, dead, recovered, bad, twice);
  std::fflush(stdout);
  std::filesystem::remove_all(folder);
  std::_Exit(twice == 0 && bad == 0 ? 0 : 1); // hundreds of sessions need not be closed one by one
}
