// How agents are started and ended.
#include "actors/agent_tree.hpp"
#include "actors/log_keeper.hpp"
#include "actors/metrics.hpp"
#include "actors/passing_store.hpp"
#include "actors/store_keeper.hpp"
#include "simulation/simulated_agent.hpp"
#include "simulation/world.hpp"
#include "transport/io_runtime.hpp"

#include <caf/event_based_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>

namespace davit::simulation {

using namespace std::chrono_literals;

namespace {

/// A database that others use too, whose commits fail, or whose answers get lost.
class unsure_store final : public test::passing_store {
public:
  unsure_store(std::unique_ptr<store::task_store> to, dice& chance, const double& refused, const double& doubted)
    : passing_store(std::move(to)), chance_(chance), refused_(refused), doubted_(doubted) {}

  bool shared() const override { return true; }

  store::result<void> batch(const std::function<void()>& work) override {
    if (chance_.chance(refused_))
      return store::error{store_errc::unavailable, "the database is away", true};
    auto doubted = chance_.chance(doubted_);
    if (doubted && chance_.chance(0.5))
      return lost();
    auto done = passing_store::batch(work);
    return doubted && done ? lost() : done;
  }

private:
  static store::error lost() { return {store_errc::unavailable, "the answer to COMMIT was lost", true, true}; }

  dice& chance_;
  const double& refused_;
  const double& doubted_;
};

transport::io_runtime& unused_io() {
  static transport::io_runtime io{0};
  return io;
}

api_actor::behavior_type silent_api(api_actor::pointer) {
  return {
    [](const task_event&) {},
    [](const continuation&) {},
    [](tick_atom) {},
    [](wire_atom, const api_handles&) {},
  };
}

uuid home_of(std::size_t number) {
  uuid home;
  home.bytes[0] = static_cast<std::uint8_t>(number + 1);
  return home;
}

} // namespace

void world::start(simulated_agent& one) {
  const auto& planned = plan_.agents[one.number];
  tell(planned.name + " starts");
  agent_settings settings;
  settings.name = planned.name;
  settings.data_dir = folder_ / planned.name;
  std::filesystem::create_directories(settings.data_dir);
  settings.store_url = "sqlite://" + (folder_ / "davit.db").string();
  settings.shared_store = true;
  settings.home = home_of(one.number);
  settings.lease = plan_.lease;
  settings.min_free_disk = byte_size{0};
  for (const auto& name : planned.engines) {
    engine_settings engine;
    engine.name = name;
    engine.endpoint = "unix:///" + name;
    engine.slots = planned.slots;
    engine.sandboxes = 0;
    engine.grace = 30s;
    settings.engines.push_back(engine);
  }
  std::string wrong;
  auto rules = policy::make(settings.policy, wrong);
  auto context = std::make_shared<agent_context>(
    agent_context{settings, unused_io(), rules, std::make_shared<metrics>(one.system), nullptr});
  context->one_thread = true;
  one.context = context;
  one.system.await_actors_before_shutdown(false);
  one.clock().advance_time(now());
  auto agent = &one;
  auto& system = one.system;
  auto open = [this](const std::string& url) -> store::result<std::unique_ptr<store::task_store>> {
    auto real = store::task_store::open(url);
    if (!real)
      return real.error();
    return std::make_unique<unsure_store>(std::move(*real), chance_, plan_.commits_refused, plan_.commits_doubted);
  };
  auto spawns = real_spawns(system, one.context, [](caf::actor_system& system, const context_ptr&, const api_handles&) {
    return system.spawn(silent_api);
  });
  auto remember = [agent](const std::string& name, auto actor) {
    agent->actors[name] = caf::actor_cast<caf::actor>(actor);
    return actor;
  };
  spawns.store = [=, &system] {
    return remember("store_keeper", agent->store = spawn_store_keeper(system, agent->context, open));
  };
  spawns.logs = [=, &system] { return remember("log_keeper", agent->logs = spawn_log_keeper(system, agent->context)); };
  spawns.engine = [=, this, &system](const engine_settings& engine, engine_handles handles) {
    auto& link = agent->links[engine.name];
    if (!link)
      link = std::make_shared<engine_link>();
    return remember(engine.name, spawn_model_connection(
                                   system, engine,
                                   {engines_.at(engine.name).get(), &chance_,
                                    [this](nanoseconds when, auto what) { at(when, std::move(what)); }, &faults_now_},
                                   link, std::move(handles)));
  };
  spawns.scheduler = [=, made = spawns.scheduler](scheduler_handles handles) {
    return remember("scheduler", made(std::move(handles)));
  };
  spawns.reaper
    = [=, made = spawns.reaper](reaper_handles handles) { return remember("reaper", made(std::move(handles))); };
  one.supervisor = spawn_supervisor(system, one.context, plan_agent(one.context, spawns));
  one.supervisor->attach_functor([agent] { agent->ended = true; });
  system.spawn([agent](caf::event_based_actor* self) {
    self->request(agent->supervisor, caf::infinite, start_atom_v)
      .then([] {}, [agent](const caf::error&) { agent->ended = true; });
  });
}

/// Nothing of it runs any more; what it has asked others for may happen all the same.
void world::kill(simulated_agent& one) {
  auto place = std::find_if(agents_.begin(), agents_.end(), [&](const auto& other) { return other.get() == &one; });
  dead_.push_back(std::move(*place));
  agents_.erase(place);
}

simulated_agent* world::living(std::size_t first) {
  for (auto& one : agents_)
    if (one->number == first && one->runs())
      return one.get();
  for (auto& one : agents_)
    if (one->runs())
      return one.get();
  return nullptr;
}

std::optional<std::vector<log_record>> world::read_log(const attempt_key& key) {
  std::vector<log_record> all;
  std::uint64_t offset = 0;
  auto limit = now() + 60s;
  while (true) {
    auto agent = living(0);
    if (!agent)
      return std::nullopt;
    auto answer = std::make_shared<std::optional<log_page>>();
    auto failed = std::make_shared<std::string>();
    log_query query;
    query.key = key;
    query.offset = offset;
    query.elsewhere = true;
    agent->system.spawn([=](caf::event_based_actor* self) {
      self->request(agent->logs, caf::infinite, read_atom_v, query)
        .then([=](log_page& page) { *answer = std::move(page); }, [=](const caf::error& e) { *failed = text_of(e); });
    });
    while (!*answer && failed->empty() && (step() || pass_time(limit)))
      ;
    if (*answer) {
      all.insert(all.end(), (*answer)->records.begin(), (*answer)->records.end());
      if ((*answer)->finished)
        return all;
      offset = (*answer)->next;
      if (!(*answer)->records.empty())
        continue;
    }
    // The agent's store keeper may be about to start again.
    tell("the log can't be read yet: " + *failed);
    auto later = now() + 1s;
    while (step() || pass_time(later))
      ;
    move_to(later);
    if (now() >= limit)
      return std::nullopt;
  }
}

} // namespace davit::simulation
