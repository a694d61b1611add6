#include "actors/engine_health.hpp"

#include <algorithm>

namespace davit {

namespace {

/// An engine whose event stream ends at once, again and again, is not asked without a pause.
constexpr duration too_short{1000};

struct machine {
  health_step step;
  const health_settings& settings;
  double chance;

  engine_health& now() { return step.next; }
  void act(health_action what) { step.actions.push_back(what); }

  void come_into(engine_state state, std::string message) {
    if (now().state == state && now().message == message)
      return;
    now().state = state;
    now().message = std::move(message);
    act(health_action::announce);
  }

  void ask(health_action what) {
    now().checking = true;
    act(what);
  }

  void back_off() {
    auto& backoff = now().backoff;
    backoff = std::clamp(backoff * 2, settings.least_backoff, settings.most_backoff);
    step.tick = backoff - duration{static_cast<duration::rep>(static_cast<double>(backoff.count()) / 2 * chance)};
  }

  void be_ready() {
    now().checking = false;
    now().misses = 0;
    come_into(engine_state::ready, ""); // whether it stays so is known at the next ping: until then the backoff is kept
    step.tick = settings.ping_interval;
  }

  void operator()(const heard::beginning&) { ask(health_action::connect); }

  void operator()(const heard::identity& who) {
    now().checking = false;
    if (!now().has_events) {
      now().has_events = true;
      ask(health_action::open_events);
    } else if (who.in_doubt) {
      ask(health_action::prove);
    } else {
      be_ready();
    }
  }

  void operator()(const heard::events_open&) { ask(health_action::prove); }

  void operator()(const heard::proof&) {
    if (now().has_events)
      return be_ready();
    // The stream has ended meanwhile: what is proven was true when the engine was asked.
    now().checking = false;
    act(health_action::doubt);
    back_off();
  }

  void operator()(const heard::answer&) {
    now().checking = false;
    now().misses = 0;
    now().backoff = duration{0};
    if (now().state == engine_state::degraded)
      come_into(engine_state::ready, "");
    step.tick = settings.ping_interval;
  }

  void operator()(const heard::failure& what) {
    now().checking = false;
    ++now().misses;
    if (!what.certain && now().misses < settings.misses_until_down) {
      come_into(now().state == engine_state::connecting ? engine_state::connecting : engine_state::degraded,
                what.message);
      step.tick = settings.ping_interval;
      return;
    }
    if (what.certain
        && now().state != engine_state::down) // another process may be behind the address when it comes back
      act(health_action::doubt);
    come_into(engine_state::down, what.message);
    act(health_action::drop_calls);
    back_off();
  }

  void operator()(const heard::events_refused& why) {
    now().has_events = false;
    (*this)(heard::failure{why.message, true});
  }

  void operator()(const heard::events_ended& stream) {
    now().has_events = false;
    act(health_action::doubt);
    act(health_action::announce);
    if (now().state != engine_state::ready && now().state != engine_state::degraded)
      return;
    // Asked at once instead of at the next ping.
    come_into(engine_state::connecting, "its event stream has ended");
    if (stream.lasted < too_short) {
      back_off();
      return;
    }
    now().backoff = duration{0};
    if (!now().checking)
      ask(health_action::connect);
  }

  void operator()(const heard::tick&) {
    if (!now().checking)
      ask(now().state == engine_state::ready || now().state == engine_state::degraded ? health_action::ping
                                                                                      : health_action::connect);
  }
};

} // namespace

health_step next_health(engine_health now, const health_event& event, const health_settings& settings, double chance) {
  machine made{{std::move(now), {}, std::nullopt}, settings, chance};
  std::visit(made, event);
  return std::move(made.step);
}

bool is_certain(engine_errc code) {
  return code != engine_errc::timed_out && code != engine_errc::cancelled && code != engine_errc::lost;
}

} // namespace davit
