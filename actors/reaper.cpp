#include "actors/reaper.hpp"

#include "actors/container_plan.hpp"
#include "actors/metrics.hpp"
#include "actors/sandbox_plan.hpp"
#include "actors/volume_reaping.hpp"
#include "policy/image_reference.hpp"
#include "policy/recovery.hpp"

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <charconv>
#include <map>

namespace davit {

namespace {

using namespace std::chrono_literals;

constexpr duration look_interval = 30s;
constexpr std::uint32_t forgotten_at_once = 200;
constexpr duration least_image_age = 10min;

/// Looks at a sandbox that has ended, and whose name is neither davit's nor an attempt's, before it is removed: its
/// executor may still read its log. The second number: if nothing runs on its engine.
constexpr int looks_at_renamed = 20, looks_at_rest = 2;

/// One look at all engines. Whoever holds it keeps the promise open.
struct round {
  caf::typed_response_promise<std::uint32_t> promise;
  std::uint32_t removed = 0;
  ~round() { promise.deliver(removed); }
};

using round_ptr = std::shared_ptr<round>;

struct reaper_state {
  static inline const char* name = "reaper";
  context_ptr context;
  reaper_handles handles;
  std::map<std::string, int> renamed; ///< How often such a sandbox was seen, by its id.
  std::optional<volume_reaping> volumes;
};

using self_pointer = reaper_actor::stateful_pointer<reaper_state>;

/// The attempt that a container's labels name; none if they name none.
std::optional<attempt_key> key_of(const container_summary& container) {
  auto task = container.labels.find("davit.task"), number = container.labels.find("davit.attempt");
  attempt_key key;
  if (container.labels.contains("davit.sandbox")) { // it was made before its task was known: its name tells
    std::string_view of_task = container.name;
    if (of_task.ends_with(network_suffix))
      of_task.remove_suffix(network_suffix.size());
    return key_of_name(of_task);
  }
  if (task == container.labels.end() || number == container.labels.end() || !from_string(task->second, key.task))
    return std::nullopt;
  const auto& text = number->second;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), key.number);
  if (code != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  return key;
}

/// Somebody has given it another name, so that it can't be known whose it was; it has ended.
bool is_renamed_sandbox(const container_summary& container) {
  auto of_davit = [&](std::string_view prefix) { return container.name.starts_with(prefix); };
  return container.labels.contains("davit.sandbox") && (container.state == "exited" || container.state == "dead")
      && !of_davit(sandbox_prefix) && !of_davit(network_prefix);
}

void remove(self_pointer self, const engine_actor& engine, const std::string& engine_name,
            const container_summary& container, const char* why, round_ptr count) {
  spdlog::info("removing the container {} on engine {}: {}", container.name, engine_name, why);
  self->request(engine, caf::infinite, remove_atom_v, container.id)
    .then(
      [self, count] {
        ++count->removed;
        self->state.context->metrics->orphan_removed();
      },
      [container, engine_name](const caf::error& e) {
        // Its executor may have been quicker.
        if (engine_code(e) != engine_errc::not_found && engine_code(e) != engine_errc::conflict)
          spdlog::warn("the container {} on engine {} could not be removed: {}", container.name, engine_name,
                       text_of(e));
      });
}

void judge(self_pointer self, const engine_actor& engine, const std::string& engine_name, container_summary container,
           attempt_key key, round_ptr count) {
  self->request(self->state.handles.store, 30s, find_atom_v, key.task)
    .then(
      [=](const task& known) {
        recovery_facts facts;
        facts.container = container_state_of(container.state);
        auto attempt = std::find_if(known.attempts.begin(), known.attempts.end(),
                                    [&](const auto& one) { return one.number == key.number; });
        facts.row = attempt == known.attempts.end() ? row_state::none
                  : attempt->outcome                ? row_state::ended
                                                    : row_state::announced;
        if (decide_recovery(facts) == recovery_action::remove)
          remove(self, engine, engine_name, container,
                 facts.row == row_state::ended ? "its attempt has ended" : "no attempt owns it", count);
      },
      [=](const caf::error& e) {
        // A store that does not answer has not said that there is no such task.
        if (e == store_errc::not_found)
          remove(self, engine, engine_name, container, "the store knows no such task", count);
      });
}

void reap(self_pointer self, round_ptr count) {
  auto& state = self->state;
  if (!state.handles.scheduler || !state.handles.store)
    return;
  self->request(state.handles.scheduler, 10s, engines_atom_v)
    .then(
      [self, count](const std::vector<engine_status>& engines) {
        auto& state = self->state;
        const auto& settings = state.context->settings;
        for (const auto& status : engines) {
          auto engine = state.handles.engines.find(status.name);
          if (status.state != engine_state::ready || engine == state.handles.engines.end())
            continue;
          // Its own alone: what another agent's containers are for, that agent's store knows.
          std::vector<std::string> labels{"davit.fleet=" + settings.fleet, "davit.agent=" + settings.name};
          self->request(engine->second, 60s, list_atom_v, labels)
            .then(
              [self, count, actor = engine->second, name = status.name,
               looks = status.busy == 0 ? looks_at_rest
                                        : looks_at_renamed](const std::vector<container_summary>& containers) {
                for (const auto& one : containers)
                  if (auto key = key_of(one))
                    judge(self, actor, name, one, *key, count);
                  else if (is_renamed_sandbox(one) && ++self->state.renamed[one.id] >= looks) {
                    self->state.renamed.erase(one.id);
                    remove(self, actor, name, one, "a sandbox that has ended, under a name that is not davit's", count);
                  }
              },
              [name = status.name](const caf::error& e) {
                spdlog::debug("engine {} does not list its containers: {}", name, text_of(e));
              });
        }
      },
      [](const caf::error&) {});
}

/// One image less on an engine that is short of disk. Time is the lease: what was pulled or used lately stays, and what
/// a container uses, the engine itself does not give away.
void collect_image(self_pointer self, const engine_actor& engine, const std::string& engine_id,
                   std::vector<std::string> unused) {
  if (unused.empty())
    return;
  auto image = unused.front();
  unused.erase(unused.begin());
  if (normalise_image(image) != image) { // an engine could take it for another image's id
    self->request(self->state.handles.store, caf::infinite, forget_atom_v, engine_id, image)
      .then([] {}, [](const caf::error&) {});
    return collect_image(self, engine, engine_id, std::move(unused));
  }
  self->request(engine, caf::infinite, images_atom_v, remove_atom_v, image)
    .then(
      [=](bool removed) {
        if (removed) {
          spdlog::info("removed the image {}: its engine is short of disk, and it was not used for long", image);
          self->state.context->metrics->image_removed();
        }
        self->request(self->state.handles.store, caf::infinite, forget_atom_v, engine_id, image)
          .then([] {}, [](const caf::error&) {});
      },
      [=](const caf::error& e) {
        if (engine_code(e) == engine_errc::conflict) // in use after all: the next one may do
          collect_image(self, engine, engine_id, unused);
      });
}

void collect_images(self_pointer self) {
  auto& state = self->state;
  if (!state.handles.scheduler || !state.handles.store)
    return;
  self->request(state.handles.scheduler, 10s, engines_atom_v)
    .then(
      [self](const std::vector<engine_status>& engines) {
        auto& state = self->state;
        for (const auto& settings : state.context->settings.engines) {
          auto status
            = std::find_if(engines.begin(), engines.end(), [&](const auto& one) { return one.name == settings.name; });
          auto engine = state.handles.engines.find(settings.name);
          if (settings.image_gc_below.bytes == 0 || status == engines.end() || engine == state.handles.engines.end()
              || status->state != engine_state::ready || !status->disk_free
              || *status->disk_free >= settings.image_gc_below.bytes)
            continue;
          auto age = std::max({settings.image_gc_age, least_image_age, 2 * settings.grace});
          auto before = std::chrono::time_point_cast<timestamp::duration>(std::chrono::system_clock::now() - age);
          self->request(state.handles.store, 30s, images_atom_v, status->info.id, before)
            .then([self, actor = engine->second, id = status->info.id](
                    const std::vector<std::string>& unused) { collect_image(self, actor, id, unused); },
                  [](const caf::error&) {});
        }
      },
      [](const caf::error&) {});
}

void collect_volumes(self_pointer self) {
  auto& state = self->state;
  if (state.handles.scheduler)
    self->request(state.handles.scheduler, 10s, engines_atom_v)
      .then([&state](const std::vector<engine_status>& engines) { state.volumes->look(engines); },
            [](const caf::error&) {});
}

/// Finished tasks are kept for so long; their logs go first, so that none is left without its task.
void forget(self_pointer self) {
  auto& state = self->state;
  auto keep = state.context->settings.retention;
  if (keep.count() == 0 || !state.handles.store || !state.handles.logs)
    return;
  self
    ->request(state.handles.store, 30s, list_atom_v,
              std::chrono::time_point_cast<timestamp::duration>(std::chrono::system_clock::now() - keep),
              forgotten_at_once)
    .then(
      [self](const std::vector<task_id>& tasks) {
        if (tasks.empty())
          return;
        auto left = std::make_shared<std::size_t>(tasks.size());
        auto gone = std::make_shared<std::vector<task_id>>();
        auto one_less = [self, left, gone, whole = tasks.size()] {
          if (--*left != 0)
            return;
          self->request(self->state.handles.store, 60s, forget_atom_v, *gone)
            .then(
              [self, whole, gone] {
                if (gone->size() == whole && whole == forgotten_at_once)
                  forget(self); // there may be more
              },
              [](const caf::error& e) { spdlog::warn("old tasks were not forgotten: {}", text_of(e)); });
        };
        for (auto task : tasks)
          self->request(self->state.handles.logs, 60s, remove_atom_v, task)
            .then(
              [=] {
                gone->push_back(task);
                one_less();
              },
              [=](const caf::error& e) {
                spdlog::warn("the logs of task {} can't be removed: {}", to_string(task), text_of(e));
                one_less();
              });
      },
      [](const caf::error&) {});
}

reaper_actor::behavior_type reaper(self_pointer self, context_ptr context, reaper_handles handles) {
  self->state.context = std::move(context);
  self->state.handles = std::move(handles);
  self->state.volumes.emplace(self, self->state.context, self->state.handles);
  self->delayed_send(self, 5s, tick_atom_v); // by then the engines have answered and what was left is taken over
  return {
    [=](reap_atom) {
      auto promise = self->make_response_promise<std::uint32_t>();
      auto count = std::make_shared<round>();
      count->promise = promise;
      reap(self, count);
      return promise;
    },
    [=](tick_atom) {
      self->delayed_send(self, look_interval, tick_atom_v);
      self->request(reaper_actor{self}, caf::infinite, reap_atom_v)
        .then([](std::uint32_t) {}, [](const caf::error&) {});
      forget(self);
      collect_images(self);
      collect_volumes(self);
    },
    [=](wire_atom, const reaper_handles& now) { self->state.handles = now; },
  };
}

} // namespace

reaper_actor spawn_reaper(caf::actor_system& system, context_ptr context, reaper_handles handles) {
  return system.spawn(reaper, std::move(context), std::move(handles));
}

} // namespace davit
