#include "actors/image_fetcher.hpp"

#include "actors/container_plan.hpp"
#include "actors/metrics.hpp"

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <deque>

namespace davit {

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

constexpr duration look_interval = 1000ms;

/// What was seen on an engine, or could not be pulled, is not asked for again within this time.
constexpr duration remembered_for = 60s;

struct engine_images {
  bool at_work = false;
  /// Images that are there, or not to be had, and since when that is known.
  std::map<std::string, steady::time_point> looked_up;
};

struct image_fetcher_state {
  static inline const char* name = "image_fetcher";
  context_ptr context;
  fetcher_handles handles;
  std::map<std::string, engine_images> engines;
};

using self_pointer = fetcher_actor::stateful_pointer<image_fetcher_state>;

/// The images of these tasks that may be pulled here with the agent's own credentials, in the tasks' order.
std::deque<std::string>
wanted_images(const image_fetcher_state& state, const std::vector<task>& tasks, policy_profile profile) {
  std::deque<std::string> images;
  for (const auto& one : tasks) {
    if (one.spec.pull == pull_policy::never || one.spec.secrets.contains(registry_secret))
      continue;
    auto judged = state.context->policy->judge(one.spec, profile);
    const auto& image = judged.effective.image;
    if (judged.violations.empty() && !is_image_id(image)
        && std::find(images.begin(), images.end(), image) == images.end())
      images.push_back(image);
  }
  return images;
}

/// One image after the other.
void fetch(self_pointer self, const engine_status& engine, std::deque<std::string> images) {
  auto& state = self->state;
  auto& mine = state.engines[engine.name];
  auto now = steady::now();
  std::erase_if(mine.looked_up, [&](const auto& one) { return now - one.second > remembered_for; });
  while (!images.empty() && mine.looked_up.contains(images.front()))
    images.pop_front();
  auto address = state.handles.engines.find(engine.name);
  if (images.empty() || address == state.handles.engines.end()) {
    mine.at_work = false;
    return;
  }
  auto image = images.front();
  images.pop_front();
  auto next = [=] {
    self->state.engines[engine.name].looked_up[image] = steady::now();
    fetch(self, engine, images);
  };
  auto pulled = [=] {
    self->state.context->metrics->image_pulled(true);
    // Known to be davit's from now on, so that it may be removed some day.
    self->request(self->state.handles.store, caf::infinite, pull_atom_v, engine.info.id, image)
      .then([] {}, [](const caf::error&) {});
    spdlog::info("engine {}: the image {} was pulled for tasks that wait", engine.name, image);
    next();
  };
  auto not_pulled = [=](const caf::error& e) { // its task will say so, if it still can't be had then
    spdlog::debug("engine {}: the image {} was not pulled ahead: {}", engine.name, image, text_of(e));
    next();
  };
  auto missing = [=, pull = state.context->settings.pull_timeout](const caf::error& e) {
    auto address = self->state.handles.engines.find(engine.name);
    if (engine_code(e) != engine_errc::not_found || address == self->state.handles.engines.end())
      not_pulled(e);
    else
      self->request(address->second, caf::infinite, pull_atom_v, attempt_key{}, image, pull, secret{})
        .then(pulled, not_pulled);
  };
  self->request(address->second, 30s, find_atom_v, image).then([next](const image_info&) { next(); }, missing);
}

/// Where there is a free slot, the next task has it, and pulls what it needs itself.
void look(self_pointer self) {
  auto& state = self->state;
  if (!state.handles.scheduler || !state.handles.store)
    return;
  self->request(state.handles.scheduler, 10s, engines_atom_v)
    .then(
      [self](const std::vector<engine_status>& engines) {
        auto& state = self->state;
        for (const auto& engine : engines) {
          const auto& all = state.context->settings.engines;
          auto settings
            = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.name == engine.name; });
          auto& mine = state.engines[engine.name];
          if (settings == all.end() || settings->images_ahead == 0 || engine.state != engine_state::ready
              || !engine.blocked.empty() || engine.busy < engine.slots || mine.at_work)
            continue;
          mine.at_work = true;
          auto labels = labels_of(engine.profile);
          labels.insert(labels.end(), engine.labels.begin(), engine.labels.end());
          self->request(state.handles.store, 30s, list_atom_v, std::move(labels), settings->images_ahead)
            .then(
              [self, engine](const task_page& next) {
                fetch(self, engine, wanted_images(self->state, next.tasks, engine.profile));
              },
              [self, name = engine.name](const caf::error&) { self->state.engines[name].at_work = false; });
        }
      },
      [](const caf::error&) {});
}

fetcher_actor::behavior_type image_fetcher(self_pointer self, context_ptr context, fetcher_handles handles) {
  self->state.context = std::move(context);
  self->state.handles = std::move(handles);
  const auto& engines = self->state.context->settings.engines;
  if (std::any_of(engines.begin(), engines.end(), [](const auto& one) { return one.images_ahead > 0; }))
    self->delayed_send(self, look_interval, tick_atom_v);
  return {
    [=](tick_atom) {
      self->delayed_send(self, look_interval, tick_atom_v);
      look(self);
    },
    [=](wire_atom, const fetcher_handles& now) { self->state.handles = now; },
  };
}

} // namespace

fetcher_actor spawn_image_fetcher(caf::actor_system& system, context_ptr context, fetcher_handles handles) {
  return system.spawn(image_fetcher, std::move(context), std::move(handles));
}

} // namespace davit
