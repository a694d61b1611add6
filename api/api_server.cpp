#include "api/api_server.hpp"

#include "actors/metrics.hpp"
#include "api/api_state.hpp"
#include "api/certificate_watch.hpp"
#include "api/page.hpp"
#include "api/request_scope.hpp"
#include "api/request_text.hpp"
#include "transport/io_runtime.hpp"

#include <caf/actor_system.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>

namespace davit {

namespace api {

void resume(const caf::weak_actor_ptr& actor, std::function<void()> work) {
  if (auto strong = actor.lock())
    caf::anon_send(caf::actor_cast<api_actor>(strong), continuation{std::move(work)});
}

caf::weak_actor_ptr weak(self_pointer self) {
  return caf::actor_cast<caf::weak_actor_ptr>(api_actor{self});
}

void count_answer(self_pointer self, const exchange_ptr& client, server_response& response) {
  if (response.body.size() <= small_answer || response.held || client->request().method != "GET")
    return;
  auto who = client->caller();
  auto [part, all_taken] = self->state.answers.take(who, std::min(response.body.size(), answer_bytes_each));
  if (part) {
    response.held = std::move(part);
    self->state.large.push_back(client);
  } else
    response = beyond_limit(self, who, all_taken, "answers", "bytes of answers that wait for their readers");
}

void leave_turn(self_pointer self, const exchange_ptr& client) {
  self->state.turns.leave(client);
}

namespace {

/// Who has an answer finds its line in the audit log.
void send(self_pointer self, const exchange_ptr& client, server_response response) {
  auto& state = self->state;
  state.context->metrics->http_request(response.status);
  auto audited = state.audited.find(client.get());
  if (audited == state.audited.end())
    return client->respond(std::move(response));
  auto location = std::find_if(response.headers.begin(), response.headers.end(),
                               [](const auto& one) { return one.first == "Location"; });
  auto where = location == response.headers.end() ? std::string{} : location->second;
  auto who = std::move(audited->second);
  state.audited.erase(audited);
  auto status = response.status;
  state.access->audit(who, client->request(), status, where,
                      [client, response = std::move(response)] { client->respond(response); });
}

} // namespace

void respond(self_pointer self, const exchange_ptr& client, server_response response) {
  count_answer(self, client, response);
  send(self, client, std::move(response));
  leave_turn(self, client);
}

namespace {

/// Runs the work among the actor's messages; answers the client if the actor has gone.
void resume_or_refuse(const caf::weak_actor_ptr& actor, const context_ptr& context, const exchange_ptr& client,
                      std::function<void()> work) {
  if (context->ending->load()) // whatever is stuck among the actors
    return client->respond(problem(503, "the agent is ending"));
  if (!actor.lock())
    return client->respond(problem(503, "the API is being restarted"));
  resume(actor, std::move(work));
}

} // namespace

void audit_read(self_pointer self, const exchange_ptr& client, const caller& who, std::function<void()> then) {
  auto& state = self->state;
  const auto& method = client->request().method;
  if ((method != "GET" && method != "HEAD") || state.audited.contains(client.get())) // it is written down as it ends
    return then();
  leave_turn(self, client); // a disk that blocks keeps nobody else waiting
  state.access->audit(who, client->request(), 200, {},
                      [actor = weak(self), context = state.context, client, then = std::move(then)] {
                        resume_or_refuse(actor, context, client, then);
                      });
}

void refuse_method(self_pointer self, const exchange_ptr& client, const std::string& allowed) {
  auto response = problem(405, client->request().method + " is not allowed here; use " + allowed, "");
  response.headers.emplace_back("Allow", allowed);
  respond(self, client, std::move(response));
}

void respond_json(self_pointer self, const exchange_ptr& client, int status, const json::value& body) {
  respond(self, client, {status, "application/json", json::write(body) + "\n", {}});
}

std::optional<server_response> over_limit(self_pointer self, const exchange_ptr& client, fair_limit& from,
                                          const std::string& caller, std::size_t amount, std::string_view limit,
                                          const std::string& what) {
  auto [part, all_taken] = from.take(caller, amount);
  if (!part)
    return beyond_limit(self, caller, all_taken, limit, what);
  client->hold(std::move(part));
  return std::nullopt;
}

server_response beyond_limit(self_pointer self, const std::string& caller, bool all_taken, std::string_view limit,
                             const std::string& what) {
  self->state.context->metrics->http_limited(limit);
  return all_taken
         ? problem(503, "this agent has as many " + what + " as it can hold; try again later")
         : problem(429, caller + " has as many " + what + " as one caller may have; end some, or try again later");
}

namespace {

void route(self_pointer self, exchange_ptr client, const caller& who);

/// Lets in who may come in, and turns others away; that is written down. None: this one was turned away.
std::optional<caller> admit(self_pointer self, const exchange_ptr& client) {
  auto& state = self->state;
  if (state.context->ending->load()) { // while it waited among the actor's messages
    respond(self, client, problem(503, "the agent is ending"));
    return std::nullopt;
  }
  const auto& request = client->request();
  auto scope = scope_of(request, state.context->settings.access);
  if (!scope) {
    if (request.segments != std::vector<std::string>{"readyz"})
      return caller{};
    auto [who, refusal] = state.access->admit(request); // everybody's; who is known hears more
    return refusal ? caller{} : std::move(who);
  }
  auto [who, refusal] = state.access->admit(request);
  // To who may read its own tasks alone, the metrics are about those.
  auto own_metrics = scope == api_scope::metrics && allows(who.scopes, api_scope::read);
  if (!refusal && !allows(who.scopes, *scope) && !own_metrics) {
    std::string has;
    for (auto one : who.scopes)
      has += (has.empty() ? "" : ", ") + to_string(one);
    refusal = problem(403, "this needs the scope " + to_string(*scope) + "; " + who.name + " has "
                             + (has.empty() ? "none" : has));
  }
  if (refusal && refusal->status == 429)
    state.context->metrics->http_limited("rate");
  if (!refusal && !who.labels.empty() && scope == api_scope::metrics)
    refusal = problem(403, "this token is bound to a label; metrics count all of an owner's tasks");
  if (!refusal && !who.labels.empty() && brings_files(request) && reads_files(request))
    refusal = problem(403, "this token is bound to a label; it reads the outputs of a task: /v1/tasks/ID/outputs");
  if (!refusal && !who.labels.empty() && request.segments == std::vector<std::string>{"v1", "caches"})
    refusal = problem(403, "this token is bound to a label; caches are those of all of an owner's tasks");
  if (!refusal && !who.labels.empty() && request.segments == std::vector<std::string>{"v1", "events"})
    refusal = problem(403, "this token is bound to a label; it reads the events of a task: /v1/tasks/ID/events");
  if (!refusal) {
    client->trust(who.owner);
    refusal = over_limit(self, client, state.limits->requests, who.owner, 1, "requests", "requests under way");
  }
  if (refusal) {
    state.audited[client.get()] = std::move(who);
    respond(self, client, std::move(*refusal));
    return std::nullopt;
  }
  return std::move(who);
}

/// Does what somebody asks for who was let in.
void serve(self_pointer self, const exchange_ptr& client, const caller& who) {
  // Who needs no scope changes nothing. What lies in a container may be anything: who reads it is written down too.
  const auto& request = client->request();
  auto changes = request.method != "GET" && request.method != "HEAD";
  if ((changes || reads_files(request)) && scope_of(request, self->state.context->settings.access))
    self->state.audited[client.get()] = who;
  if (client->caller().empty()) // everybody's: it asks for little
    return route(self, client, who);
  // However its request ends, it leaves.
  client->hold({client.get(), [actor = weak(self), self, gone = std::weak_ptr{client}](const void*) {
                  if (auto request = gone.lock())
                    resume(actor, [self, request] {
                      if (self->state.turns.leave(request)) // nothing was done, and nobody is to be answered
                        self->state.audited.erase(request.get());
                    });
                }});
  self->state.turns.enter(who.owner, client, steady::now(), [=] { route(self, client, who); });
}

/// Answers those whose turn did not come: the store is slow, or their owner asks for too much.
void end_turns(self_pointer self) {
  auto& state = self->state;
  for (const auto& client : state.turns.give_up(steady::now() - store_limit)) {
    state.context->metrics->http_limited("turns");
    respond(self, client,
            problem(503, std::to_string(turns_each) + " requests of " + client->caller()
                           + " are being answered, and this one has waited too long for its turn; try again later"));
  }
}

/// What its body may take, by its header.
std::size_t body_bytes(const transport::server_request& request) {
  constexpr auto most = transport::server_limits{}.body_bytes; // a longer one is refused
  std::size_t bytes = most;
  auto length = request.header("content-length");
  std::from_chars(length.data(), length.data() + length.size(), bytes);
  return std::min(bytes, most);
}

/// How long a body may take to come before its sender is judged again: a moment, as for all else that lasts.
constexpr duration body_patience{1000};

/// A request's header has come. Nobody's body is read who may not come in, or where none is expected.
void on_header(self_pointer self, const exchange_ptr& client) {
  auto who = admit(self, client);
  if (!who)
    return;
  const auto& request = client->request();
  if (!request.has_body || !scope_of(request, self->state.context->settings.access))
    return serve(self, client, *who);
  if (auto refusal = over_limit(self, client, self->state.limits->bodies, who->owner, body_bytes(request), "bodies",
                                "bytes of bodies under way")) {
    self->state.audited[client.get()] = std::move(*who);
    return respond(self, client, std::move(*refusal));
  }
  client->read_body(
    [actor = weak(self), context = self->state.context, self, client, who = std::move(*who), begun = steady::now()] {
      resume_or_refuse(actor, context, client, [=] {
        if (steady::now() - begun < body_patience || !refuse_lapsed(self, client))
          serve(self, client, who);
      });
    });
}

void route(self_pointer self, exchange_ptr client, const caller& who) {
  const auto& request = client->request();
  const auto& path = request.segments;
  if (auto twice = repeated_parameter(request))
    return respond(self, client, problem(400, *twice + ": is given more than once", *twice));
  if (auto wrong = first_not_text(request); !wrong.empty())
    return respond(self, client, problem(400, wrong + ": must be UTF-8 text without NUL", wrong));
  auto is = [&](const char* method) {
    return request.method == method || (request.method == "HEAD" && std::string_view{method} == "GET");
  };
  auto only = [&](const char* method, auto then) {
    if (is(method))
      then();
    else
      refuse_method(self, client, std::string_view{method} == "GET" ? "GET, HEAD" : method);
  };
  if (auto asset = page_asset(request.path); !asset.bytes.empty())
    return only("GET", [&] {
      // Nothing from elsewhere, nothing inline, no frame around it.
      server_response response{200, std::string{asset.type}, std::string{asset.bytes}, {}};
      response.headers = {{"Content-Security-Policy",
                           "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
                           "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
                          {"Referrer-Policy", "no-referrer"},
                          {"Cache-Control", "no-cache"}};
      respond(self, client, std::move(response));
    });
  if (path.size() == 1 && path[0] == "healthz")
    return only("GET", [&] { respond(self, client, {200, "text/plain", "ok\n", {}}); });
  if (path.size() == 1 && path[0] == "readyz")
    return only("GET", [&] { ready(self, client, !who.owner.empty()); });
  if (path.size() == 1 && path[0] == "metrics")
    return only("GET", [&] { metrics_page(self, client, who); });
  if (path.size() == 1 && path[0] == "openapi.json")
    return only("GET", [&] { respond(self, client, {200, "application/json", std::string{openapi_document()}, {}}); });
  if (path.size() >= 2 && path[0] == "v1") {
    if (auto unknown = unknown_parameter(request); !unknown.empty())
      return respond(self, client,
                     problem(400, unknown + ": unknown parameter; /openapi.json lists what there is", unknown));
    if (path.size() == 2 && path[1] == "tasks") {
      if (is("GET"))
        return list(self, client, who);
      if (is("POST"))
        return submit(self, client, who);
      return refuse_method(self, client, "GET, HEAD, POST");
    }
    if (path.size() >= 3 && path[1] == "tasks") {
      uuid id;
      if (!from_string(path[2], id))
        return respond(self, client,
                       problem(404, "\"" + path[2] + "\" is not a valid task id; write " + expected_text(id)));
      auto task = [&](const char* method, api_scope others, auto then, duration limit = store_limit) {
        only(method, [&] {
          if_visible(
            self, client, who, id, others, [=](bool) { then(self, client, id); }, limit);
        });
      };
      if (path.size() == 3)
        return task("GET", api_scope::read_all, show);
      if (path.size() == 4 && path[3] == "cancel")
        return only("POST", [&] { cancel(self, client, who, id); });
      if (path.size() == 4 && path[3] == "retry")
        return task("POST", api_scope::admin, [who](auto self, auto client, auto id) { retry(self, client, id, who); });
      if (path.size() == 4 && path[3] == "wait")
        return task("GET", api_scope::read_all, wait, patience_of(client));
      if (path.size() == 4 && path[3] == "logs")
        return task("GET", api_scope::read_all,
                    [who](auto self, auto client, auto id) { logs(self, client, id, who); });
      if (path.size() == 4 && path[3] == "files")
        return task("GET", api_scope::admin, [who](auto self, auto client, auto id) { files(self, client, id, who); });
      if (path.size() == 4 && path[3] == "outputs")
        return task("GET", api_scope::read_all,
                    [who](auto self, auto client, auto id) { outputs(self, client, id, who); });
      if (path.size() > 4 && path[3] == "outputs")
        return task("GET", api_scope::admin,
                    [who](auto self, auto client, auto id) { outputs(self, client, id, who); });
      if (path.size() == 4 && path[3] == "attestation")
        return task("GET", api_scope::read_all,
                    [who](auto self, auto client, auto id) { attestation(self, client, id, who); });
      if (path.size() == 4 && path[3] == "events")
        return task("GET", api_scope::read_all,
                    [who](auto self, auto client, auto id) { events(self, client, id, who); });
    }
    if (brings_files(request) && route_files(self, client, who))
      return;
    if (path.size() == 2 && path[1] == "caches") {
      if (request.method == "DELETE" || request.method == "GET" || request.method == "HEAD")
        return caches(self, client, who);
      return refuse_method(self, client, "GET, HEAD, DELETE");
    }
    if (path.size() == 2 && path[1] == "events")
      return only("GET", [&] {
        auto read = [=] { events(self, client, {}, who); };
        if (allows(who.scopes, api_scope::read_all))
          audit_read(self, client, who, read);
        else
          read();
      });
    if (path.size() == 2 && path[1] == "engines")
      return only("GET", [&] { engines(self, client); });
    if (path.size() == 2 && path[1] == "sinks")
      return only("GET", [&] { sinks(self, client, who); });
    if (path.size() == 2 && path[1] == "signing-key")
      return only("GET", [&] { signing_key(self, client); });
    if (path.size() == 2 && path[1] == "agents")
      return only("GET", [&] { agents(self, client); });
    if (path.size() == 4 && path[1] == "agents" && path[3] == "drain")
      return only("POST", [&] { drain(self, client, path[2]); });
  }
  respond(self, client, problem(404, "there is nothing at " + request.path + "; /openapi.json lists what exists"));
}

/// At one more address; the reason if it can't be.
std::optional<transport::error> listen(self_pointer self, const std::string& address) {
  auto& state = self->state;
  const auto& access = state.context->settings.access;
  auto where = transport::parse_listen_address(address);
  if (!where)
    return where.error();
  if (!access.tls_certificate.empty())
    where->tls = transport::tls_settings{access.tls_client_ca, access.tls_certificate, access.tls_key};
  auto server = transport::http_server::listen(
    state.context->io, *where, {},
    [actor = weak(self), context = state.context, self](const exchange_ptr& client) {
      resume_or_refuse(actor, context, client, [=] { on_header(self, client); });
    },
    state.servers.empty() ? nullptr : state.servers.front()->connections());
  if (!server)
    return server.error();
  state.servers.push_back(*server);
  spdlog::info("the API listens on {}", to_string((*server)->where()));
  return std::nullopt;
}

void count_connections(self_pointer self) {
  auto& state = self->state;
  const auto& all = *state.servers.front()->connections();
  auto now = all.so_far();
  state.context->metrics->http_connections(all.size(), now.closed - state.counted.closed,
                                           now.turned_away - state.counted.turned_away);
  state.counted = now;
}

api_actor::behavior_type api_server(self_pointer self, context_ptr context, api_handles addresses) {
  auto& state = self->state;
  state.context = context;
  state.addresses = std::move(addresses);
  state.draining = state.addresses.draining;
  state.collector.min_scrape_interval(caf::timespan{0});
  state.access = std::make_unique<access_control>(context->settings.access, context->settings.data_dir,
                                                  context->io.context().get_executor());
  auto certificates = std::make_shared<certificate_watch>(context->settings, self->system().metrics());
  for (const auto& address : context->settings.api_listen)
    if (auto wrong = listen(self, address)) {
      self->quit(make_failure(wrong->code, wrong->message));
      return api_actor::behavior_type::make_empty_behavior();
    }
  state.limits.emplace(state.servers.front()->connections()->most());
  self->delayed_send(self, 250ms, tick_atom_v);
  return {
    [=](const task_event& event) { on_event(self, event); },
    [](const continuation& work) { work.run(); },
    [=](tick_atom) {
      self->delayed_send(self, 250ms, tick_atom_v);
      end_lapsed(self);
      end_waits(self);
      end_turns(self);
      keep_streams_alive(self);
      count_connections(self);
      certificates->look(steady::now());
    },
    [=](wire_atom, const api_handles& now) {
      self->state.addresses = now;
      self->state.draining |= now.draining;
    },
  };
}

} // namespace

} // namespace api

api_actor spawn_api(caf::actor_system& system, context_ptr context, api_handles addresses) {
  return system.spawn(api::api_server, std::move(context), std::move(addresses));
}

} // namespace davit
