#include "actors/engine_connection_state.hpp"
#include "transport/registry_credentials.hpp"

namespace davit::connection {

namespace {

/// Those whose time is over, or who have withdrawn, have their answer; a pull that nobody waits for is ended.
template <class Over>
void leave_pulls(self_pointer self, engine_errc code, const char* text, Over over) {
  auto& state = self->state;
  for (auto pull = state.pulls.begin(); pull != state.pulls.end();) {
    auto& all = pull->second.waiting;
    for (auto waiting = all.begin(); waiting != all.end();) {
      if (!over(*waiting)) {
        ++waiting;
        continue;
      }
      waiting->promise.deliver(make_failure(code, text));
      waiting = all.erase(waiting);
    }
    if (!all.empty()) {
      ++pull;
      continue;
    }
    if (auto call = state.calls.find(pull->second.call); call != state.calls.end())
      call->second.control->cancel();
    pull = state.pulls.erase(pull); // whoever wants it next begins anew
  }
}

/// Not all who hear of a pull may see the credentials that it was tried with.
std::string conceal(std::string words, const std::string& credentials) {
  return secrets::masked(std::move(words), transport::registry_credentials::secret_parts(credentials));
}

void expire_pulls(self_pointer self) {
  leave_pulls(self, engine_errc::timed_out, "the pull took too long",
              [now = std::chrono::steady_clock::now()](const waiting_pull& one) { return one.until <= now; });
}

} // namespace

caf::result<void> pull_image(self_pointer self, const attempt_key& key, const std::string& image, duration limit,
                             const secret& credentials) {
  auto& state = self->state;
  auto promise = self->make_response_promise<void>();
  auto name = image + '\0' + credentials.value;
  auto& shared = state.pulls[name];
  shared.waiting.push_back({key, promise, std::chrono::steady_clock::now() + limit});
  self->run_delayed(limit, [self] { expire_pulls(self); });
  if (shared.waiting.size() > 1 || shared.call != 0)
    return promise;
  auto id = shared.call = ++state.last_call;
  auto& entry = state.calls[id];
  auto progress = [actor = weak(self), self, name](const pull_progress& now) {
    resume(actor, [=] {
      auto found = self->state.pulls.find(name);
      if (found != self->state.pulls.end() && self->state.handles.scheduler)
        for (const auto& one : found->second.waiting)
          self->send(self->state.handles.scheduler, progress_atom_v, one.key, now);
    });
  };
  call_options options;
  options.control = entry.control;
  auto as_proof = state.context->images_guarded->load() || state.context->settings.policy.always_pull;
  auto begun = std::chrono::steady_clock::now();
  spawn_call<void>(self,
                   transport::pull_with(state.client, state.context->settings.docker_config, credentials.value, image,
                                        as_proof, progress, conceal, options),
                   [=](result<void> value) {
                     auto& state = self->state;
                     state.calls.erase(id);
                     std::vector<waiting_pull> waiting;
                     if (auto mine = state.pulls.find(name); mine != state.pulls.end() && mine->second.call == id) {
                       waiting = std::move(mine->second.waiting);
                       state.pulls.erase(mine);
                     }
                     state.context->metrics->engine_request(
                       state.settings.name, "pull",
                       std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
                     for (auto& one : waiting)
                       if (value)
                         one.promise.deliver();
                       else
                         one.promise.deliver(to_caf(value.error()));
                   });
  return promise;
}

void withdraw_pull(self_pointer self, const attempt_key& key) {
  leave_pulls(self, engine_errc::cancelled, "the pull was withdrawn",
              [&](const waiting_pull& one) { return one.key == key; });
}

} // namespace davit::connection
