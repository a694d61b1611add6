#include "simulation/plan.hpp"

#include <algorithm>
#include <array>

namespace davit::simulation {

using namespace std::chrono_literals;

std::string to_string(planned_fault::kind kind) {
  static constexpr std::array names{"engine killed", "engine stopped", "engine frozen", "link cut",
                                    "agent killed",  "agent frozen",   "actor killed"};
  return names[static_cast<std::size_t>(kind)];
}

namespace {

task_spec spec_of(dice& chance, const script& does, std::size_t number) {
  task_spec spec;
  spec.image = "busybox:test";
  spec.command = words_of(does);
  spec.init = false;
  spec.network = "none";
  spec.start = start_mode::cold;
  spec.name = "t" + std::to_string(number);
  spec.at_most_once = chance.chance(0.2);
  spec.retry.attempts = static_cast<std::int32_t>(1 + chance.pick(4));
  if (chance.chance(0.15))
    spec.timeout = std::chrono::duration_cast<duration>(chance.between(500ms, 20s));
  if (chance.chance(0.3))
    spec.stop_timeout = std::chrono::duration_cast<duration>(chance.between(0s, 5s));
  spec.priority = static_cast<std::int32_t>(chance.pick(3));
  return spec;
}

} // namespace

plan draw_plan(std::uint64_t seed) {
  dice chance{seed};
  plan all;
  all.seed = seed;
  auto engines = 1 + chance.pick(3), agents = 1 + chance.pick(3);
  for (std::size_t i = 0; i < engines; ++i)
    all.engines.push_back({"engine" + std::to_string(i), chance.chance(0.5)});
  for (std::size_t i = 0; i < agents; ++i) {
    planned_agent one{"agent" + std::to_string(i), {}, static_cast<std::uint32_t>(1 + chance.pick(4))};
    for (const auto& engine : all.engines)
      if (chance.chance(0.7))
        one.engines.push_back(engine.name);
    if (one.engines.empty())
      one.engines.push_back(all.engines[chance.pick(engines)].name);
    all.agents.push_back(std::move(one));
  }
  all.chaos_ends = chance.between(20s, 180s);
  auto tasks = 3 + chance.pick(18);
  for (std::size_t i = 0; i < tasks; ++i) {
    planned_task one;
    one.at = chance.between(0s, all.chaos_ends);
    one.agent = chance.pick(agents);
    one.does.code = chance.chance(0.7) ? 0 : static_cast<std::int64_t>(1 + chance.pick(100));
    one.does.takes = chance.chance(0.1) ? 0ms : chance.between(1ms, chance.chance(0.3) ? 60s : 5s);
    one.does.lines = static_cast<std::uint32_t>(chance.pick(chance.chance(0.2) ? 40 : 6));
    one.does.obeys = chance.chance(0.7);
    one.does.tag = "t" + std::to_string(i);
    one.spec = spec_of(chance, one.does, i);
    if (chance.chance(0.12))
      one.cancelled_after = chance.between(0s, 20s);
    all.tasks.push_back(std::move(one));
  }
  auto is_there = [&] { return chance.chance(0.45); };
  if (is_there())
    all.calls.lost_before = chance.chance(0.5) ? 0.01 : 0.1;
  if (is_there())
    all.calls.lost_after = chance.chance(0.5) ? 0.01 : 0.1;
  if (is_there())
    all.calls.most_delay = chance.between(1ms, 2s);
  if (is_there())
    all.commits_refused = chance.chance(0.5) ? 0.01 : 0.1;
  if (is_there())
    all.commits_doubted = chance.chance(0.5) ? 0.01 : 0.1;
  for (int kind = 0; kind <= static_cast<int>(planned_fault::kind::actor_killed); ++kind)
    if (is_there())
      for (auto left = 1 + chance.pick(4); left > 0; --left)
        all.faults.push_back({static_cast<planned_fault::kind>(kind), chance.between(1s, all.chaos_ends),
                              chance.between(10ms, chance.chance(0.7) ? 8s : 60s), chance.pick(agents),
                              chance.pick(engines), chance.pick(1'000'000)});
  std::stable_sort(all.faults.begin(), all.faults.end(), [](const auto& a, const auto& b) { return a.at < b.at; });
  return all;
}

std::string describe(const plan& all) {
  std::string text = "seed " + std::to_string(all.seed) + ": " + std::to_string(all.agents.size()) + " agents, "
                   + std::to_string(all.engines.size()) + " engines, " + std::to_string(all.tasks.size()) + " tasks, "
                   + std::to_string(all.faults.size()) + " faults\n";
  for (const auto& one : all.agents) {
    text += "  " + one.name + ", " + std::to_string(one.slots) + " slots on each of";
    for (const auto& engine : one.engines)
      text += ' ' + engine;
    text += '\n';
  }
  for (const auto& one : all.engines)
    text += "  " + one.name + (one.live_restore ? " has live-restore\n" : "\n");
  auto share = [&](const char* what, double value) {
    if (value > 0)
      text += std::string{"  "} + what + ": " + std::to_string(value) + '\n';
  };
  share("calls lost before", all.calls.lost_before);
  share("calls lost after", all.calls.lost_after);
  share("commits refused", all.commits_refused);
  share("commits in doubt", all.commits_doubted);
  return text;
}

} // namespace davit::simulation
