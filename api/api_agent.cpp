#include "actors/metrics.hpp"
#include "api/api_state.hpp"
#include "api/metrics_text.hpp"

#include <caf/actor_system.hpp>

#include <algorithm>

namespace davit::api {

namespace {

/// That the metrics name; the others are counted together.
constexpr std::uint32_t most_owners = 50;

} // namespace

void engines(self_pointer self, exchange_ptr client) {
  self->request(self->state.addresses.scheduler, 5s, engines_atom_v)
    .then(
      [=](const std::vector<engine_status>& list) {
        respond_json(self, client, 200, {{"engines", json::to_value(list)}});
      },
      refuse(self, client, "the scheduler"));
}

void agents(self_pointer self, exchange_ptr client) {
  const auto& settings = self->state.context->settings;
  if (settings.shared_store) {
    self->request(self->state.addresses.store, 5s, agents_atom_v)
      .then(
        [=](const std::vector<agent_status>& list) {
          json::array agents;
          for (const auto& one : list) {
            auto body = json::to_value(one).as_object();
            std::uint32_t slots = 0, busy = 0;
            for (const auto& engine : one.engines) {
              slots += engine.slots;
              busy += engine.busy;
            }
            body["slots"] = slots;
            body["busy"] = busy;
            agents.push_back(std::move(body));
          }
          respond_json(self, client, 200, {{"agents", std::move(agents)}});
        },
        refuse(self, client));
    return;
  }
  self->request(self->state.addresses.scheduler, 5s, engines_atom_v)
    .then(
      [=](const std::vector<engine_status>& list) {
        std::uint32_t slots = 0, busy = 0;
        json::array engines;
        for (const auto& one : list) {
          slots += one.slots;
          busy += one.busy;
          engines.push_back(json::to_value(agent_engine{one.name, one.info.id, one.state, one.slots, one.busy,
                                                        one.labels, one.profile, one.message, one.blocked}));
        }
        json::object agent{{"name", self->state.context->settings.name},
                           {"state", self->state.draining ? "draining" : "ready"},
                           {"version", DAVIT_VERSION},
                           {"engines", std::move(engines)},
                           {"slots", slots},
                           {"busy", busy}};
        respond_json(self, client, 200, {{"agents", json::array{std::move(agent)}}});
      },
      refuse(self, client, "the scheduler"));
}

void sinks(self_pointer self, exchange_ptr client, const caller& who) {
  // A service's words may repeat what it was sent: tasks, owners and names of others.
  auto told = [all = allows(who.scopes, api_scope::read_all)](std::string why) {
    return all || why.empty() ? std::move(why)
                              : std::string{"it can't be reached, or refuses logs; the scope read:all shows why"};
  };
  const auto& all = self->state.addresses.sinks;
  if (all.empty())
    return respond_json(self, client, 200, {{"sinks", json::array{}}});
  auto list = std::make_shared<std::map<std::string, json::value>>();
  auto left = std::make_shared<std::size_t>(all.size());
  auto settle = [=] {
    if (--*left != 0)
      return;
    json::array sinks;
    for (auto& [name, one] : *list)
      sinks.push_back(std::move(one));
    respond_json(self, client, 200, {{"sinks", std::move(sinks)}});
  };
  for (const auto& [name, sink] : all)
    self->request(sink, 5s, ping_atom_v)
      .then(
        [=, name = name](const sink_status& status) {
          auto shown = status;
          shown.message = told(std::move(shown.message));
          list->emplace(name, json::to_value(shown));
          settle();
        },
        [=, name = name](const caf::error& e) {
          const auto& suspended = self->state.addresses.suspended;
          auto why = suspended.find("sink " + name);
          auto words = why == suspended.end() ? text_for_client(e, "the sink " + name) : why->second;
          list->emplace(name, json::object{{"name", name}, {"message", told(std::move(words))}});
          settle();
        });
}

void drain(self_pointer self, exchange_ptr client, const std::string& asked) {
  auto name = asked == "-" ? self->state.context->settings.name : asked; // this one, whatever it is called
  if (name != self->state.context->settings.name && self->state.addresses.fleet) {
    self->request(self->state.addresses.fleet, caf::infinite, drain_atom_v, name)
      .then(
        [=] {
          respond_json(self, client, 202, {{"name", name}, {"state", "draining"}});
        },
        [=](const caf::error& e) { respond(self, client, problem(404, text_for_client(e, "the agent " + name))); });
    return;
  }
  if (name != self->state.context->settings.name)
    return respond(
      self, client,
      problem(404, "this agent is " + self->state.context->settings.name + "; it does not know an agent " + name));
  self->state.draining = true;
  // Answered at once: the end of it can be seen in the agent's slots.
  self->send(self->state.addresses.supervisor, drain_atom_v);
  respond_json(self, client, 202, {{"name", name}, {"state", "draining"}});
}

void ready(self_pointer self, exchange_ptr client, bool in_detail) {
  auto answer = [=](std::vector<std::string> missing, const std::optional<std::vector<engine_status>>& known) {
    std::vector<std::string> in_short; // for those who need not know what there is
    if (!missing.empty())
      in_short.push_back("the store or the scheduler does not work");
    const auto& engines = known ? *known : std::vector<engine_status>{};
    json::array list;
    bool one_ready = !known; // nothing is said of what is not known
    bool held = false;
    for (const auto& engine : engines) {
      one_ready |= engine.state == engine_state::ready;
      if (!engine.blocked.empty() && !self->state.draining
          && std::find(missing.begin(), missing.end(), engine.blocked) == missing.end()) {
        missing.push_back(engine.blocked);
        if (!std::exchange(held, true))
          in_short.push_back("new tasks are held back");
      }
      list.push_back(
        json::object{{"name", engine.name}, {"state", to_string(engine.state)}, {"message", engine.message}});
    }
    if (!one_ready)
      in_short.push_back("no engine is ready");
    if (!one_ready && engines.empty())
      missing.push_back("no engine is configured");
    else if (!one_ready)
      for (const auto& engine : engines)
        missing.push_back("engine " + engine.name + " is " + to_string(engine.state)
                          + (engine.message.empty() ? "" : ": " + engine.message));
    if (self->state.draining)
      for (auto* reasons : {&missing, &in_short})
        reasons->push_back("the agent is draining");
    const auto& said = in_detail ? missing : in_short;
    json::object body{{"ready", said.empty()}, {"missing", json::to_value(said)}};
    if (in_detail)
      body["engines"] = std::move(list);
    if (!said.empty()) {
      std::string all;
      for (const auto& one : said)
        all += (all.empty() ? "not ready: " : "; ") + one;
      body["detail"] = all;
    }
    respond_json(self, client, said.empty() ? 200 : 503, body);
  };
  // The engines are the scheduler's: they are told of whatever the store does.
  auto with_engines = [=](std::vector<std::string> missing) {
    self->request(self->state.addresses.scheduler, 5s, engines_atom_v)
      .then([=](const std::vector<engine_status>& engines) { answer(missing, engines); },
            [=](const caf::error& e) {
              auto all = missing;
              all.push_back(text_for_client(e, "the scheduler"));
              answer(std::move(all), std::nullopt);
            });
  };
  self->request(self->state.addresses.store, 5s, ping_atom_v)
    .then([=] { with_engines({}); }, [=](const caf::error& e) { with_engines({text_for_client(e)}); });
}

void metrics_page(self_pointer self, exchange_ptr client, const caller& who) {
  auto respond_text = [=](std::string text) {
    respond(self, client, {200, "text/plain; version=0.0.4; charset=utf-8", std::move(text), {}});
  };
  const auto& store = self->state.addresses.store;
  auto open = who.scopes.empty(); // let in without a look at who it is
  if (!open && !allows(who.scopes, api_scope::metrics)) {
    self->request(store, 5s, count_atom_v, who.owner)
      .then(
        [=, owner = who.owner](const task_counts& tasks) {
          respond_text(metrics_of_owner(tasks, self->state.context->metrics->of_owner(owner)));
        },
        refuse(self, client));
    return;
  }
  auto answer = [=](const std::string& by_owner) {
    auto text = self->state.collector.collect_from(self->system().metrics());
    respond_text(std::string{text.begin(), text.end()} + by_owner);
  };
  // The gauges of tasks are taken from the store, so that they hold whoever has changed them.
  self->request(store, 5s, count_atom_v)
    .then(
      [=](const task_counts&) {
        if (open) // it would name the owners to everyone
          return answer({});
        self->request(self->state.addresses.store, 5s, count_atom_v, most_owners)
          .then([=](const std::vector<owner_counts>& owners) { answer(metrics_by_owner(owners)); },
                [=](const caf::error&) { answer({}); });
      },
      [=](const caf::error&) { answer({}); });
}

} // namespace davit::api
