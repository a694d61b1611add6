#include "actors/container_plan.hpp"
#include "actors/sandbox_keeper_state.hpp"
#include "actors/sandbox_stock.hpp"
#include "sandbox/message.hpp"
#include "sandbox/program.hpp"

namespace davit::keeper {

namespace {

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
  answer_if_drained(self);
  fill(self);
}

void not_made(self_pointer self, const std::string& kind_name, const caf::error& why) {
  auto& state = self->state;
  doubt_volume(state); // it may have been pruned
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
  answer_if_drained(self);
}

/// The image's own words, if they are not known, the init's volume, the container, and what image it is of: one after
/// the other.
void make(self_pointer self, const std::string& kind_name) {
  auto& state = self->state;
  auto& kind = state.kinds[kind_name];
  auto nonce = init::nonce_of(uuid::make_v4());
  auto plan = sandbox_plan(state.context->settings, kind.plan, nonce);
  if (kind.network)
    plan.name = std::string{network_prefix} + init::mark_of(nonce);
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
                  failed(make_failure(engine_errc::failed,
                                      "it ended at once, with exit code " + std::to_string(status.exit_code)));
                  return;
                }
                over();
                made(self, kind_name, {plan.name, container, nonce, status.image_id, image, named, {}});
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

} // namespace

namespace {

void fill_volume(self_pointer self, const std::string& image) {
  auto over = [self](const caf::error& e) {
    self->state.volume = e ? init_volume::unknown : init_volume::filled;
    if (e) // what it was carried by may be there still
      self->run_delayed(1s, [self] { clean_if_ready(self); });
    for (auto& one : std::exchange(self->state.until_installed, {}))
      one(e);
  };
  self->state.volume = init_volume::filling;
  self->request(engine_of(self), caf::infinite, init_atom_v, init::volume_name(), image)
    .then(
      [=] {
        if (self->state.volume == init_volume::doubted)
          fill_volume(self, image);
        else
          over({});
      },
      over);
}

} // namespace

void install_init(self_pointer self, const std::string& image, std::function<void(const caf::error&)> then) {
  auto& state = self->state;
  if (state.volume == init_volume::filled) {
    then({});
    return;
  }
  state.until_installed.push_back(std::move(then));
  if (!is_filling(state.volume))
    fill_volume(self, image);
}

void fill(self_pointer self) {
  auto& state = self->state;
  if (state.draining || state.engine.state != engine_state::ready || !engine_of(self))
    return;
  auto now = steady::now();
  std::vector<stock_kind> kinds;
  for (auto& [name, one] : state.kinds) {
    stock_kind kind{name,
                    one.network,
                    one.demand.last(),
                    one.demand.wanted(now, state.settings.sandbox_idle, state.settings.sandboxes),
                    {},
                    one.making,
                    static_cast<std::uint32_t>(one.waiting.size()),
                    one.not_before};
    for (const auto& ready : one.ready)
      kind.ready.push_back(ready.since);
    kinds.push_back(std::move(kind));
  }
  for (const auto& order :
       plan_stock(std::move(kinds), static_cast<std::uint32_t>(state.making.size()), state.settings.sandboxes, now))
    switch (order.what) {
      case stock_action::give_up: {
        auto& ready = state.kinds[order.kind].ready;
        remove(self, ready.front().container);
        ready.pop_front();
        break;
      }
      case stock_action::forget:
        state.kinds.erase(order.kind);
        break;
      case stock_action::make:
        make(self, order.kind);
        break;
    }
  tell(self);
}

} // namespace davit::keeper
