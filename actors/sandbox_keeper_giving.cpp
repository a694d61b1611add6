#include "actors/crash_point.hpp"
#include "actors/sandbox_keeper_state.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/message.hpp"
#include "sandbox/program.hpp"

namespace davit::keeper {

namespace {

/// Takes the one that has waited longest; until `given`, it is known by its own name.
ready_sandbox choose(self_pointer self, sandbox_kind_state& kind) {
  auto one = std::move(kind.ready.front());
  kind.ready.pop_front();
  self->state.giving.insert(one.name);
  return one;
}

/// It has a task's name, or goes.
void given(self_pointer self, const ready_sandbox& one) {
  self->state.giving.erase(one.name);
}

/// Under the task's name it is the task's.
void give(self_pointer self, const std::string& kind_name, const ready_sandbox& one, waiting_task task) {
  crash_point("sandbox chosen");
  self->request(engine_of(self), 60s, rename_atom_v, one.container, task.plan.name)
    .then(
      [=]() mutable {
        given(self, one);
        sandbox result;
        result.container = one.container;
        result.image_id = one.image_id;
        result.nonce = one.nonce;
        result.arguments = arguments_of(task.plan, one.image);
        result.why = task.waited ? "made for it: none of its kind waited" : "";
        task.promise.deliver(std::move(result));
      },
      [=](const caf::error& e) mutable {
        given(self, one);
        remove(self, one.container);
        if (engine_code(e) == engine_errc::not_found)
          serve(self, kind_name, task); // it had ended
        else
          task.promise.deliver(e);
      });
}

/// Gives the network that has waited longest: named after the task's container, and held for as long as that runs.
void give_network(self_pointer self, const std::string& kind_name, waiting_task task, std::string why) {
  auto& kind = self->state.kinds[kind_name];
  auto one = choose(self, kind);
  auto holds = init::hand_over_message({init::program_of(one.nonce), init::hold}, {}, {}, false);
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
    given(self, one);
    if (!both->trouble.empty()) { // it had ended, or its name is taken
      remove(self, one.container);
      answer(task, why);
      return;
    }
    crash_point("network taken");
    sandbox result;
    result.network = one.container;
    result.why = why;
    task.promise.deliver(std::move(result));
  };
  crash_point("network chosen");
  auto good = [heard]() mutable { heard({}); };
  auto bad = [heard](const caf::error& e) mutable { heard(text_of(e)); };
  self->request(engine_of(self), 60s, rename_atom_v, one.container, task.plan.name + std::string{network_suffix})
    .then(good, bad);
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

/// Nothing is given by one that drains, or without an engine.
bool away(self_pointer self, waiting_task& task) {
  auto& state = self->state;
  if (!state.draining && state.engine.state == engine_state::ready && engine_of(self))
    return false;
  answer(task, state.draining ? "the agent is draining" : "the engine is away");
  return true;
}

} // namespace

void serve(self_pointer self, const std::string& kind_name, waiting_task task) {
  auto& state = self->state;
  auto& kind = state.kinds[kind_name];
  if (kind.ready.empty()) {
    answer(task, kind.trouble.empty() ? "no sandbox of its kind waits" : "none could be made: " + kind.trouble);
    return;
  }
  auto one = choose(self, kind);
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
        given(self, one);
        remove(self, one.container);
        if (auto found = self->state.kinds.find(kind_name); found != self->state.kinds.end()) {
          empty(self, found->second);
          found->second.image = image;
        }
        answer(task, "the image's name now stands for another image");
      },
      [=](const caf::error& e) mutable {
        given(self, one);
        remove(self, one.container);
        answer(task, text_of(e));
      });
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

} // namespace davit::keeper
