#include "actors/sandbox_keeper.hpp"

#include "actors/container_plan.hpp"
#include "actors/crash_point.hpp"
#include "actors/metrics.hpp"
#include "actors/sandbox_demand.hpp"
#include "actors/sandbox_plan.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/message.hpp"
#include "sandbox/program.hpp"

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <set>

namespace davit {

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

constexpr duration look_interval = 1000ms;

/// Making one ahead is work for a whole processor: tasks that run shall feel little of it.
constexpr std::uint32_t made_at_once = 1;

/// How long a task waits for one to be made for it.
constexpr duration patience = 60s;

struct ready_sandbox {
  std::string container;
  std::string nonce;
  std::string image_id;
  image_info image;
  steady::time_point named; ///< When the image's name stood for it.
  steady::time_point since;
};

/// A task that one is being made for.
struct waiting_task {
  container_plan plan;
  caf::typed_response_promise<sandbox> promise;
  steady::time_point until;
  bool waited = false;

  steady::time_point came() const { return until - patience; }
};

struct sandbox_kind_state {
  bool network = false; ///< They wait for containers that join their network, and not for tasks.
  container_plan plan; ///< Of the first task that wanted it; what differs between tasks is not looked at.
  sandbox_demand demand;
  std::deque<ready_sandbox> ready;
  std::deque<waiting_task> waiting;
  std::uint32_t making = 0;
  duration backoff{0};
  steady::time_point not_before{};
  std::string trouble; ///< Why the last one could not be made.
  std::optional<image_info> image; ///< What the image's name stood for last. The next one is made of the name, and looked at.
};

struct sandbox_keeper_state {
  static inline const char* name = "sandbox_keeper";
  context_ptr context;
  engine_settings settings;
  sandbox_handles handles;
  engine_status engine;
  std::map<std::string, sandbox_kind_state> kinds;
  std::set<std::string> making; ///< By their names.
  std::uint32_t removing = 0;
  std::string volume; ///< That has the init by now; empty: none is known to.
  bool installing = false; ///< The init is being put there: nobody else may write to it meanwhile, nor start from it.
  std::vector<std::function<void(const caf::error&)>> until_installed; ///< Who wants to; no error: it is there.
  bool draining = false, ticking = false;
  std::vector<caf::typed_response_promise<void>> drained;
};

using self_pointer = sandbox_actor::stateful_pointer<sandbox_keeper_state>;

void clean(self_pointer self);
void clean_if_ready(self_pointer self);
void fill(self_pointer self);
void serve(self_pointer self, const std::string& kind, waiting_task task);

std::uint32_t ready_count(const sandbox_keeper_state& state) {
  std::uint32_t count = 0;
  for (const auto& [name, kind] : state.kinds)
    count += kind.network ? 0 : static_cast<std::uint32_t>(kind.ready.size());
  return count;
}

/// That wait or are being made, of sandboxes or of networks: each may be so many.
std::uint32_t kept_count(const sandbox_keeper_state& state, bool networks) {
  std::uint32_t count = 0;
  for (const auto& [name, kind] : state.kinds)
    count += kind.network == networks ? static_cast<std::uint32_t>(kind.ready.size()) + kind.making : 0;
  return count;
}

engine_actor engine_of(self_pointer self) {
  return self->state.handles.engine;
}

void tell(self_pointer self) {
  self->state.context->metrics->sandboxes(self->state.settings.name, ready_count(self->state));
}

void settle_drain(self_pointer self) {
  auto& state = self->state;
  if (!state.draining || state.removing != 0 || !state.making.empty())
    return;
  for (auto& promise : std::exchange(state.drained, {}))
    promise.deliver();
}

/// By its id or name. What can't be removed now is seen to a little later, or when the engine is ready again.
void remove(self_pointer self, const std::string& container) {
  auto engine = engine_of(self);
  if (!engine)
    return;
  ++self->state.removing;
  auto done = [self] {
    --self->state.removing;
    settle_drain(self);
  };
  self->request(engine, caf::infinite, remove_atom_v, container)
    .then(done, [self, done, container](const caf::error& e) {
      spdlog::debug("the sandbox {} was not removed: {}", container, text_of(e));
      done();
      self->run_delayed(10s, [self] { clean_if_ready(self); });
    });
}

void clean_if_ready(self_pointer self) {
  if (self->state.engine.state == engine_state::ready && !self->state.draining)
    clean(self);
}

void answer(waiting_task& task, std::string why) {
  sandbox none;
  none.why = std::move(why);
  task.promise.deliver(std::move(none));
}

void empty(self_pointer self, sandbox_kind_state& kind) {
  for (auto& one : std::exchange(kind.ready, {}))
    remove(self, one.container);
}

void empty_all(self_pointer self) {
  for (auto& [name, kind] : self->state.kinds)
    empty(self, kind);
  tell(self);
}

// -- making ------------------------------------------------------------------------------------------------------------

void made(self_pointer self, const std::string& kind_name, ready_sandbox one) {
  auto& state = self->state;
  auto found = state.kinds.find(kind_name);
  auto another = one.image.id != one.image_id; // the image's name was given to another meanwhile
  if (another && found != state.kinds.end())
    found->second.image.reset();
  if (state.draining || found == state.kinds.end() || another) {
    remove(self, one.container);
  } else {
    auto& kind = found->second;
    kind.backoff = duration{0};
    kind.trouble.clear();
    one.since = steady::now();
    kind.ready.push_back(std::move(one));
    if (!kind.waiting.empty()) {
      auto next = std::move(kind.waiting.front());
      kind.waiting.pop_front();
      serve(self, kind_name, std::move(next));
    }
  }
  tell(self);
  settle_drain(self);
  fill(self);
}

void not_made(self_pointer self, const std::string& kind_name, const caf::error& why) {
  auto& state = self->state;
  state.volume.clear(); // it may have been pruned
  if (auto found = state.kinds.find(kind_name); found != state.kinds.end()) {
    auto& kind = found->second;
    kind.backoff = std::clamp<duration>(kind.backoff * 2, 1000ms, 60'000ms);
    kind.not_before = steady::now() + kind.backoff;
    kind.trouble = text_of(why);
    kind.image.reset();
    spdlog::debug("engine {}: no sandbox could be made of {}: {}", state.settings.name, kind.plan.image, kind.trouble);
    for (auto& one : std::exchange(kind.waiting, {}))
      answer(one, "none could be made: " + kind.trouble);
  }
  settle_drain(self);
}

/// Calls `then` when the init is in its volume, or could not be put there: once for all who want it. A program that is being written can't be started.
void install_init(self_pointer self, const std::string& image, std::function<void(const caf::error&)> then) {
  auto& state = self->state;
  auto volume = init::volume_name();
  if (state.volume == volume) {
    then({});
    return;
  }
  state.until_installed.push_back(std::move(then));
  if (std::exchange(state.installing, true))
    return;
  auto over = [self](const caf::error& e) {
    self->state.installing = false;
    if (e) // what it was carried by may be there still
      self->run_delayed(1s, [self] { clean_if_ready(self); });
    for (auto& one : std::exchange(self->state.until_installed, {}))
      one(e);
  };
  self->request(engine_of(self), caf::infinite, init_atom_v, volume, image)
    .then(
      [self, volume, over] {
        self->state.volume = volume;
        over({});
      },
      over);
}

/// The image's own words, if they are not known, the init's volume, the container, and what image it is of: one after the other.
void make(self_pointer self, const std::string& kind_name) {
  auto& state = self->state;
  auto& kind = state.kinds[kind_name];
  auto nonce = to_string(uuid::make_v4());
  auto plan = sandbox_plan(state.context->settings, kind.plan, nonce);
  if (kind.network)
    plan.name = std::string{network_prefix} + nonce;
  ++kind.making;
  state.making.insert(plan.name);
  auto over = [self, kind_name, name = plan.name] {
    self->state.making.erase(name);
    if (auto found = self->state.kinds.find(kind_name); found != self->state.kinds.end())
      --found->second.making;
  };
  auto failed = [=](const caf::error& e) {
    over();
    not_made(self, kind_name, e);
  };
  auto create = [=](image_info image) {
    auto named = steady::now();
    self->request(engine_of(self), caf::infinite, init_atom_v, plan, sandbox_files(plan, image))
      .then(
        [=](const std::string& container) {
          self->request(engine_of(self), caf::infinite, inspect_atom_v, container)
            .then(
              [=](const container_status& status) {
                if (status.ended()) {
                  remove(self, container);
                  failed(make_failure(engine_errc::failed, "it ended at once, with exit code " + std::to_string(status.exit_code)));
                  return;
                }
                over();
                made(self, kind_name, {container, nonce, status.image_id, image, named, {}});
              },
              [=](const caf::error& e) {
                remove(self, container);
                failed(e);
              });
        },
        failed);
  };
  auto install = [=](const image_info& image) {
    install_init(self, plan.image, [=](const caf::error& e) {
      if (e)
        failed(e);
      else
        create(image);
    });
  };
  if (kind.image) {
    install(*kind.image);
    return;
  }
  self->request(engine_of(self), caf::infinite, find_atom_v, plan.image)
    .then(
      [=](const image_info& image) {
        if (auto found = self->state.kinds.find(kind_name); found != self->state.kinds.end())
          found->second.image = image;
        install(image);
      },
      failed);
}

/// Makes what is wanted and not there, the kind that was asked for last first; and gives up what nobody has asked for.
void fill(self_pointer self) {
  auto& state = self->state;
  if (state.draining || state.engine.state != engine_state::ready || !engine_of(self))
    return;
  auto now = steady::now();
  std::vector<std::pair<steady::time_point, std::string>> order;
  for (auto kind = state.kinds.begin(); kind != state.kinds.end();) {
    auto& one = kind->second;
    auto wanted = one.demand.wanted(now, state.settings.sandbox_idle, state.settings.sandboxes);
    while (one.ready.size() > wanted || (!one.ready.empty() && now - one.ready.front().since > sandbox_patience / 2)) {
      remove(self, one.ready.front().container);
      one.ready.pop_front();
    }
    if (wanted == 0 && one.making == 0 && one.waiting.empty()) {
      kind = state.kinds.erase(kind);
      continue;
    }
    order.emplace_back(one.demand.last(), kind->first);
    ++kind;
  }
  std::sort(order.rbegin(), order.rend());
  for (auto next = order.begin(); next != order.end(); ++next) {
    auto& one = state.kinds[next->second];
    while (one.making < one.waiting.size() && now >= one.not_before) // a task is there: it has its slot
      make(self, next->second);
    auto wanted = one.demand.wanted(now, state.settings.sandbox_idle, state.settings.sandboxes);
    while (one.ready.size() + one.making < wanted && state.making.size() < made_at_once && now >= one.not_before) {
      if (kept_count(state, one.network) >= state.settings.sandboxes) {
        // Room is taken from the kind that nobody has wanted for longest, if it is not this one.
        auto victim = std::find_if(order.rbegin(), order.rend(), [&](const auto& other) {
          const auto& theirs = state.kinds[other.second];
          return theirs.network == one.network && !theirs.ready.empty();
        });
        if (victim == order.rend() || victim->first >= next->first)
          break;
        auto& theirs = state.kinds[victim->second].ready;
        remove(self, theirs.front().container);
        theirs.pop_front();
      }
      make(self, next->second);
    }
  }
  tell(self);
}

// -- giving ------------------------------------------------------------------------------------------------------------

/// Under the task's name it is the task's.
void give(self_pointer self, const std::string& kind_name, const ready_sandbox& one, waiting_task task) {
  crash_point("sandbox chosen");
  self->request(engine_of(self), 60s, rename_atom_v, one.container, task.plan.name)
    .then(
      [=]() mutable {
        sandbox given;
        given.container = one.container;
        given.image_id = one.image_id;
        given.nonce = one.nonce;
        given.arguments = arguments_of(task.plan, one.image);
        given.why = task.waited ? "made for it: none of its kind waited" : "";
        task.promise.deliver(std::move(given));
      },
      [=](const caf::error& e) mutable {
        remove(self, one.container);
        if (engine_code(e) == engine_errc::not_found)
          serve(self, kind_name, task); // it had ended
        else
          task.promise.deliver(e);
      });
}

/// Gives the kind's oldest sandbox, if its image is what the name stands for now that there is a task.
void serve(self_pointer self, const std::string& kind_name, waiting_task task) {
  auto& state = self->state;
  auto& kind = state.kinds[kind_name];
  if (kind.ready.empty()) {
    answer(task, kind.trouble.empty() ? "no sandbox of its kind waits" : "none could be made: " + kind.trouble);
    return;
  }
  auto one = std::move(kind.ready.front());
  kind.ready.pop_front();
  tell(self);
  if (one.named >= task.came()) {
    give(self, kind_name, one, std::move(task));
    return;
  }
  self->request(engine_of(self), 10s, find_atom_v, task.plan.image)
    .then(
      [=](const image_info& image) mutable {
        if (image.id == one.image_id) {
          give(self, kind_name, one, std::move(task));
          return;
        }
        remove(self, one.container);
        if (auto found = self->state.kinds.find(kind_name); found != self->state.kinds.end()) {
          empty(self, found->second);
          found->second.image = image;
        }
        answer(task, "the image's name stands for another image by now");
      },
      [=](const caf::error& e) mutable {
        remove(self, one.container);
        answer(task, text_of(e));
      });
}

/// Gives the network that has waited longest: named after the task's container, and held for as long as that runs.
void give_network(self_pointer self, const std::string& kind_name, waiting_task task, std::string why) {
  auto& kind = self->state.kinds[kind_name];
  auto one = std::move(kind.ready.front());
  kind.ready.pop_front();
  auto holds = init::hand_over_message({init::program, init::hold}, {}, {}, false);
  struct answers {
    int missing = 2;
    std::string trouble;
  };
  auto both = std::make_shared<answers>();
  auto heard = [=](const std::string& trouble) mutable {
    if (!trouble.empty())
      both->trouble = trouble;
    if (--both->missing != 0)
      return;
    if (!both->trouble.empty()) { // it had ended, or its name is taken
      remove(self, one.container);
      answer(task, why);
      return;
    }
    crash_point("network taken");
    sandbox given;
    given.network = one.container;
    given.why = why;
    task.promise.deliver(std::move(given));
  };
  crash_point("network chosen");
  auto good = [heard]() mutable { heard({}); };
  auto bad = [heard](const caf::error& e) mutable { heard(text_of(e)); };
  self->request(engine_of(self), 60s, rename_atom_v, one.container, task.plan.name + std::string{network_suffix}).then(good, bad);
  self->request(engine_of(self), 60s, init_atom_v, one.container, *holds, false).then(good, bad);
}

/// Whether there is one to be given. It was wanted, in any case.
std::optional<std::string> network_for(self_pointer self, const container_plan& plan) {
  if (self->state.settings.sandboxes == 0 || !can_join(plan))
    return std::nullopt;
  auto wanted = network_plan(plan);
  auto of_any_image = wanted;
  of_any_image.image.clear();
  auto name = "network " + sandbox_kind(of_any_image);
  auto& kind = self->state.kinds[name];
  kind.network = true;
  kind.plan = wanted; // of an image that is there
  kind.demand.ask(steady::now());
  return kind.ready.empty() ? std::nullopt : std::optional{name};
}

void keep_looking(self_pointer self) {
  fill(self);
  if (!std::exchange(self->state.ticking, true))
    self->delayed_send(self, look_interval, tick_atom_v);
}

/// Nothing is given by one that drains, or without an engine.
bool away(self_pointer self, waiting_task& task) {
  auto& state = self->state;
  if (!state.draining && state.engine.state == engine_state::ready && engine_of(self))
    return false;
  answer(task, state.draining ? "the agent is draining" : "the engine is away");
  return true;
}

caf::result<sandbox> take_network(self_pointer self, const container_plan& plan) {
  waiting_task task{plan, self->make_response_promise<sandbox>(), steady::now() + patience};
  auto promise = task.promise;
  if (away(self, task))
    return promise;
  if (auto name = network_for(self, plan))
    give_network(self, *name, std::move(task), {});
  else
    answer(task, {});
  keep_looking(self);
  return promise;
}

caf::result<sandbox> take(self_pointer self, const container_plan& plan, bool insists) {
  auto& state = self->state;
  waiting_task task{plan, self->make_response_promise<sandbox>(), steady::now() + patience};
  auto promise = task.promise;
  if (away(self, task))
    return promise;
  auto name = sandbox_kind(plan);
  auto [entry, added] = state.kinds.try_emplace(name);
  if (added)
    entry->second.plan = plan;
  entry->second.demand.ask(steady::now());
  std::optional<std::string> network;
  if (entry->second.ready.empty() && !insists)
    network = network_for(self, plan);
  if (network)
    give_network(self, *network, std::move(task), "no sandbox of its kind waited");
  else if (entry->second.ready.empty() && (insists || steady::now() >= entry->second.not_before)) {
    task.waited = true;
    entry->second.not_before = insists ? steady::time_point{} : entry->second.not_before;
    entry->second.waiting.push_back(std::move(task));
  } else
    serve(self, name, std::move(task));
  keep_looking(self);
  return promise;
}

// -- order -------------------------------------------------------------------------------------------------------------

/// Removes what an earlier process has left. By name: what was given to a task meanwhile has another one.
void clean(self_pointer self) {
  auto& state = self->state;
  if (!engine_of(self))
    return;
  const auto& settings = state.context->settings;
  ++state.removing; // until it is known what there is to remove
  self->request(engine_of(self), 30s, list_atom_v, std::vector<std::string>{"davit.sandbox", "davit.fleet=" + settings.fleet})
    .then(
      [self](const std::vector<container_summary>& containers) {
        auto& state = self->state;
        --state.removing;
        std::set<std::string> known = state.making;
        for (const auto& [name, kind] : state.kinds)
          for (const auto& one : kind.ready)
            known.insert(std::string{kind.network ? network_prefix : sandbox_prefix} + one.nonce);
        for (const auto& one : containers) {
          auto waits = one.name.starts_with(sandbox_prefix) || one.name.starts_with(network_prefix);
          if ((!waits && !one.name.starts_with(carrier_prefix)) || known.contains(one.name))
            continue;
          // Another agent's may be in use; when it has gone, they end by themselves.
          auto agent = one.labels.find("davit.agent");
          auto own = agent != one.labels.end() && agent->second == state.context->settings.name && (waits || !state.installing);
          if (own || one.state == "exited" || one.state == "dead")
            remove(self, one.name);
        }
        settle_drain(self);
      },
      [self](const caf::error& e) {
        spdlog::debug("sandboxes that were left can't be listed: {}", text_of(e));
        --self->state.removing;
        settle_drain(self);
      });
}

void engine_changed(self_pointer self, const engine_status& now) {
  auto& state = self->state;
  auto before = std::exchange(state.engine, now);
  auto was_ready = before.state == engine_state::ready;
  auto another = before.epoch != now.epoch || before.info.id != now.info.id;
  if (another) {
    // Whoever started again has ended them, or at least our lines to them.
    empty_all(self);
    state.volume.clear();
  }
  if (now.state == engine_state::ready && (!was_ready || another)) {
    clean(self);
    fill(self);
  }
}

sandbox_actor::behavior_type sandbox_keeper(self_pointer self, context_ptr context, engine_settings settings, sandbox_handles handles) {
  auto& state = self->state;
  state.context = std::move(context);
  state.settings = std::move(settings);
  state.handles = std::move(handles);
  tell(self);
  return {
    [=](take_atom, const container_plan& plan, bool insists) { return take(self, plan, insists); },
    [=](take_atom, network_atom, const container_plan& plan) { return take_network(self, plan); },
    [=](init_atom, const std::string& image) -> caf::result<void> {
      auto promise = self->make_response_promise<void>();
      if (!engine_of(self)) {
        promise.deliver(make_failure(engine_errc::lost, "the engine's connection is being restarted"));
        return promise;
      }
      install_init(self, image, [promise](const caf::error& e) mutable {
        if (e)
          promise.deliver(e);
        else
          promise.deliver();
      });
      return promise;
    },
    [=](const engine_status& now) { engine_changed(self, now); },
    [=](ended_atom) { self->state.volume.clear(); },
    [=](count_atom) { return ready_count(self->state); },
    [=](drain_atom) -> caf::result<void> {
      auto& state = self->state;
      state.draining = true;
      for (auto& [name, kind] : state.kinds)
        for (auto& one : std::exchange(kind.waiting, {}))
          answer(one, "the agent is draining");
      empty_all(self);
      if (state.engine.state == engine_state::ready)
        clean(self); // an engine may have made one for the process before this one, after it was looked at last
      auto promise = self->make_response_promise<void>();
      state.drained.push_back(promise);
      settle_drain(self);
      return promise;
    },
    [=](tick_atom) {
      auto& state = self->state;
      auto now = steady::now();
      for (auto& [name, kind] : state.kinds)
        while (!kind.waiting.empty() && kind.waiting.front().until <= now) {
          answer(kind.waiting.front(), "none was made in time");
          kind.waiting.pop_front();
        }
      fill(self);
      state.ticking = !state.kinds.empty() && !state.draining;
      if (state.ticking)
        self->delayed_send(self, look_interval, tick_atom_v);
    },
    [=](wire_atom, const sandbox_handles& now) { self->state.handles = now; },
  };
}

} // namespace

sandbox_actor spawn_sandbox_keeper(caf::actor_system& system, context_ptr context, engine_settings settings, sandbox_handles handles) {
  return system.spawn(sandbox_keeper, std::move(context), std::move(settings), std::move(handles));
}

} // namespace davit
