#include "actors/file_transfer.hpp"
#include "api/api_state.hpp"

#include "actors/agent_context.hpp"
#include "actors/container_plan.hpp"
#include "actors/metrics.hpp"
#include "api/request_text.hpp"
#include "json/read.hpp"
#include "policy/placement.hpp"
#include "secrets/secret_box.hpp"
#include "transport/registry_credentials.hpp"

#include <caf/actor_system.hpp>
#include <caf/sec.hpp>

#include <algorithm>
#include <charconv>

namespace davit::api {

namespace {

constexpr duration longest_wait = 1h;

/// What a cancel may give a task's end.
constexpr duration longest_end = 24h;

/// A cancel of another owner's task has ended it within 10 s, whatever stop_timeout it has: with the news of it on the
/// way to another agent, the kill, and the end of its log.
constexpr duration kill_of_another = 8s;

/// Of a tar that is passed on: it is held in memory.
constexpr std::uint64_t most_files = 64 << 20;

/// A page of a list ends with the task that makes it so long.
constexpr std::size_t most_listed = 4 << 20;

/// A task without its standard input, which may be megabytes: its size is there instead. Of tests there are only the
/// counts.
json::object brief(task one) {
  leave_counts(one);
  auto text = std::exchange(one.spec.stdin_text, std::nullopt);
  auto body = json::to_value(one).as_object();
  if (text)
    body["spec"].as_object()["stdin_bytes"] = text->size();
  return body;
}

/// A page of a list, as far as it is not too long.
std::string write_page(const task_page& page) {
  std::string tasks;
  auto next = page.next;
  for (std::size_t i = 0; i < page.tasks.size(); ++i) {
    if (tasks.size() >= most_listed) {
      next = page.tasks[i - 1].id;
      break;
    }
    tasks += (i == 0 ? "" : ",") + json::write(json::value(brief(page.tasks[i])));
  }
  return "{\"tasks\":[" + tasks + "],\"cursor\":" + json::write(json::to_value(next)) + "}\n";
}

bool is_traceparent(std::string_view text) {
  auto hex = [&](std::size_t from, std::size_t count) {
    auto part = text.substr(from, count);
    return part.find_first_not_of("0123456789abcdef") == std::string_view::npos
        && part.find_first_not_of('0') != std::string_view::npos;
  };
  return text.size() == 55 && text.starts_with("00-") && text[35] == '-' && text[52] == '-' && hex(3, 32) && hex(36, 16)
      && text.substr(53).find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// Judges a task, and puts it into the store.
void accept(self_pointer self, exchange_ptr client, task_spec spec, const caller& who) {
  if (who.profile)
    spec.profile = std::min(spec.profile.value_or(*who.profile), *who.profile);
  for (const auto& [name, value] : who.labels)
    if (spec.labels.try_emplace(name, value).first->second != value)
      return respond(self, client,
                     problem(403, "this token is for tasks with the label " + name + '=' + value, "labels." + name));
  const auto& settings = self->state.context->settings;
  auto judged = self->state.context->policy->judge(
    spec, widest_profile(settings.engines, settings.policy.profile, spec), who.limits);
  if (auto own = spec.secrets.find(registry_secret);
      own != spec.secrets.end() && !own->second.sealed
      && transport::registry_credentials::names_helpers(own->second.value))
    judged.violations.push_back({"secrets.registry", "secrets." + registry_secret,
                                 "credHelpers and credsStore are only for the agent's own file (agent.docker-config); "
                                 "write the credentials as auths"});
  if (!judged.violations.empty())
    return respond(self, client, policy_problem(judged.violations));
  if (self->state.draining)
    return respond(self, client, problem(503, "this agent is draining and takes no tasks"));
  keep_limits(spec, judged.effective, who.limits.ceilings);
  spec.cache_scope = judged.effective.cache_scope;
  if (!(spec.inputs.empty() && spec.outputs.empty() && spec.caches.empty()) && !keeps_files(self, client))
    return;
  for (const auto& [name, one] : spec.outputs)
    if (auto wrong = wrong_pattern(one.path); !wrong.empty())
      return respond(self, client, problem(400, "outputs." + name + ".path: " + wrong, "outputs." + name + ".path"));
  // From here on nobody sees them but the attempt's executor.
  for (auto& [name, hidden] : spec.secrets)
    if (!hidden.sealed)
      hidden = {self->state.context->secrets->seal(name, hidden.value), true};
  auto key = spec.dedupe_key;
  self->request(self->state.addresses.store, store_limit, accept_atom_v, std::move(spec), who.owner)
    .then(
      [=](const task_receipt& receipt) {
        auto id = to_string(receipt.id);
        server_response response{receipt.created ? 202 : 200,
                                 "application/json",
                                 json::write(json::value{{"id", id}, {"created", receipt.created}}) + "\n",
                                 {}};
        response.headers.emplace_back("Location", "/v1/tasks/" + id);
        respond(self, client, std::move(response));
      },
      [=, key = std::move(key)](const caf::error& e) {
        // The other task may have a label that this token may not see.
        if (e == store_errc::conflict && !who.labels.empty())
          return respond(self, client, problem(409, "the key \"" + key + "\" was used for another task of this owner"));
        respond(self, client, problem_of_accept(e));
      });
}

} // namespace

void submit(self_pointer self, exchange_ptr client, const caller& who) {
  const auto& request = client->request();
  auto spec = json::read<task_spec>(std::string_view{request.body}, json::unknown_fields::refuse);
  if (!spec)
    return respond(self, client, problem(400, spec.error().text(), spec.error().path));
  if (spec->image.empty())
    return respond(self, client, problem(400, "image: a task needs an image", "image"));
  if (auto wrong = first_not_text(*spec); !wrong.empty())
    return respond(self, client, problem(400, wrong + ": must not have a NUL", wrong));
  if (auto key = request.header("idempotency-key"); !key.empty()) {
    if (key.size() > 256)
      return respond(self, client, problem(400, "Idempotency-Key: 256 characters at most", "Idempotency-Key"));
    if (!spec->dedupe_key.empty() && spec->dedupe_key != key)
      return respond(
        self, client,
        problem(400, "dedupe_key: differs from the header Idempotency-Key; send one of them", "dedupe_key"));
    spec->dedupe_key = key;
  }
  if (!spec->traceparent.empty() && !is_traceparent(spec->traceparent))
    return respond(
      self, client,
      problem(
        400,
        "traceparent: must follow W3C Trace Context, such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "traceparent"));
  if (auto trace = request.header("traceparent");
      spec->traceparent.empty() && is_traceparent(trace)) // a malformed header is to be ignored
    spec->traceparent = trace;
  accept(self, client, std::move(*spec), who);
}

void if_visible(self_pointer self, exchange_ptr client, const caller& who, task_id id, api_scope others,
                std::function<void(bool)> then, duration limit) {
  auto judge = [=](auto asked) {
    std::move(asked).then(
      [=](const task& found) {
        auto labelled = has_labels(found.spec.labels, who.labels);
        if (labelled && found.owner == who.owner)
          then(false);
        else if (labelled && allows(who.scopes, others))
          audit_read(self, client, who, [then] { then(true); });
        else if (labelled && allows(who.scopes, api_scope::read_all))
          respond(self, client,
                  problem(403, "this task belongs to " + found.owner + "; this needs the scope " + to_string(others)));
        else
          // As if there were none.
          respond(self, client, problem_of(make_failure(store_errc::not_found, "there is no task " + to_string(id))));
      },
      refuse(self, client));
  };
  const auto& store = self->state.addresses.store;
  if (allows(who.scopes, others) || allows(who.scopes, api_scope::read_all))
    judge(self->request(store, limit, find_atom_v, id));
  else // another owner's is not found as if it were not there: it takes no longer
    judge(self->request(store, limit, find_atom_v, id, who.owner));
}

void list(self_pointer self, exchange_ptr client, const caller& who) {
  task_query query;
  auto sees_all = allows(who.scopes, api_scope::read_all);
  if (!sees_all)
    query.owner = who.owner;
  for (const auto& [name, value] : client->request().query) {
    if (name == "state") {
      task_state state{};
      if (!from_string(value, state))
        return respond(self, client, problem(400, "state: must be " + expected_text(state), "state"));
      query.state = state;
    } else if (name == "label") {
      auto equals = value.find('=');
      query.labels[value.substr(0, equals)] = equals == std::string::npos ? "" : value.substr(equals + 1);
    } else if (name == "name") {
      query.name = value;
    } else if (name == "owner") {
      if (!sees_all && value != who.owner)
        return respond(self, client, problem(403, "owner: the tasks of other owners need the scope read:all", "owner"));
      query.owner = value;
    } else if (name == "cursor") {
      uuid id;
      if (!from_string(value, id))
        return respond(self, client, problem(400, "cursor: must come from an earlier page", "cursor"));
      query.before = id;
    } else if (name == "limit") {
      auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), query.limit);
      if (code != std::errc{} || end != value.data() + value.size() || query.limit < 1 || query.limit > 1000)
        return respond(self, client, problem(400, "limit: must be from 1 to 1000", "limit"));
    } else {
      return respond(
        self, client,
        problem(400, name + ": unknown parameter; the parameters are state, label, name, owner, cursor, limit", name));
    }
  }
  for (const auto& [name, value] : who.labels)
    if (auto& wanted = query.labels[name]; wanted.empty() || wanted == value)
      wanted = value;
    else
      return respond(self, client, problem(403, "label: this token is for tasks with " + name + '=' + value, "label"));
  self->request(self->state.addresses.store, store_limit, list_atom_v, query)
    .then(
      [=](const task_page& page) {
        auto answer = [self, client, text = write_page(page)] {
          respond(self, client, {200, "application/json", text, {}});
        };
        auto own = [&](const task& one) { return one.owner == who.owner; };
        if (std::all_of(page.tasks.begin(), page.tasks.end(), own))
          answer();
        else
          audit_read(self, client, who, answer);
      },
      refuse(self, client));
}

namespace {

/// The answer about a task to which something is added. It may be megabytes, and there may be many: it is text from the
/// beginning, and counted.
using open_answer = std::shared_ptr<server_response>;

void respond_with(self_pointer self, const exchange_ptr& client, const open_answer& answer, std::string_view name,
                  const json::value& value) {
  answer->body.resize(answer->body.rfind('}'));
  answer->body += ",\"" + std::string{name} + "\":" + json::write(value) + "}\n";
  respond(self, client, std::move(*answer));
}

/// Answers a queued task with why it waits: the fleet's limits, and each engine of the fleet that does not take it,
/// with the reason.
void explain_wait(self_pointer self, exchange_ptr client, const open_answer& answer, task found) {
  struct reasons {
    json::array list;
    int open = 3;
  };
  auto all = std::make_shared<reasons>();
  auto add = [all](const std::string& agent, const std::string& engine, const std::string& why) {
    json::object one{{"engine", engine}, {"reason", why}};
    if (!agent.empty())
      one["agent"] = agent;
    all->list.push_back(std::move(one));
  };
  auto settle = [=] {
    if (--all->open != 0)
      return;
    auto is_of_all = [](const json::value& one) { return !one.as_object().contains("engine"); };
    auto held = std::any_of(all->list.begin(), all->list.end(), is_of_all);
    for (auto& one : all->list)
      if (auto& reason = one.as_object()["reason"]; reason.as_string().empty())
        reason = held ? "it can run the task then" : "it is about to run the task";
    respond_with(self, client, answer, "waiting", std::move(all->list));
  };
  auto settle_anyway = [settle](const caf::error&) { settle(); };
  found.spec.stdin_text.reset(); // nothing waits because of it
  if (found.not_before && *found.not_before > std::chrono::system_clock::now())
    all->list.push_back(json::object{{"reason", "the next attempt starts at " + format_timestamp(*found.not_before)}});
  auto spec = std::make_shared<const task_spec>(found.spec);
  const auto& addresses = self->state.addresses;
  self->request(addresses.scheduler, 5s, engines_atom_v)
    .then(
      [=](const std::vector<engine_status>& engines) {
        for (const auto& engine : engines)
          add("", engine.name, why_not(*spec, engine));
        settle();
      },
      settle_anyway);
  self->request(addresses.store, 5s, limits_atom_v, std::move(found))
    .then(
      [=](const std::vector<std::string>& limits) {
        for (const auto& limit : limits)
          all->list.insert(all->list.begin(), json::object{{"reason", limit}});
        settle();
      },
      settle_anyway);
  const auto& settings = self->state.context->settings;
  if (!settings.shared_store)
    return settle();
  self->request(addresses.store, 5s, agents_atom_v)
    .then(
      [=, own = settings.name](const std::vector<agent_status>& agents) {
        for (const auto& agent : agents)
          if (agent.name != own && agent.state != agent_state::gone)
            for (const auto& engine : agent.engines)
              add(agent.name, engine.name,
                  agent.state == agent_state::draining ? "its agent is draining" : why_not(*spec, engine));
        settle();
      },
      settle_anyway);
}

} // namespace

void show(self_pointer self, exchange_ptr client, task_id id) {
  self->request(self->state.addresses.store, store_limit, find_atom_v, id)
    .then(
      [=](task& found) {
        auto answer = std::make_shared<server_response>();
        answer->body = json::write(json::to_value(found)) + "\n";
        count_answer(self, client, *answer);
        if (answer->status != 200 || found.state == task_state::finished || !self->state.addresses.scheduler)
          return respond(self, client, std::move(*answer));
        if (found.state == task_state::queued)
          return explain_wait(self, client, answer, std::move(found));
        self->request(self->state.addresses.scheduler, 5s, progress_atom_v, id)
          .then(
            [=](const std::optional<attempt_status>& now) {
              respond_with(self, client, answer, "progress", json::to_value(now));
            },
            [=](const caf::error&) { respond(self, client, std::move(*answer)); });
      },
      refuse(self, client));
}

void cancel(self_pointer self, exchange_ptr client, const caller& who, task_id id) {
  std::optional<duration> within;
  for (const auto& [name, text] : client->request().query) {
    within = parse_duration(text);
    if (!within || *within > longest_end)
      return respond(self, client, problem(400, name + ": must be a duration of 24h at most, such as 10s", name));
  }
  if_visible(self, client, who, id, api_scope::cancel_all, [=](bool of_another) {
    auto answer
      = [=](const task& now) { respond_json(self, client, now.state == task_state::finished ? 200 : 202, brief(now)); };
    auto limit = of_another ? std::min(within.value_or(kill_of_another), kill_of_another) : within;
    const auto& store = self->state.addresses.store;
    if (limit)
      self->request(store, store_limit, cancel_atom_v, id, *limit).then(answer, refuse(self, client));
    else
      self->request(store, store_limit, cancel_atom_v, id).then(answer, refuse(self, client));
  });
}

void retry(self_pointer self, exchange_ptr client, task_id id, const caller& who) {
  self->request(self->state.addresses.store, store_limit, find_atom_v, id)
    .then(
      [=](const task& found) {
        auto spec = found.spec; // its secrets are sealed, and stay so
        spec.dedupe_key = client->request().header("idempotency-key");
        spec.traceparent.clear();
        accept(self, client, std::move(spec), who);
      },
      refuse(self, client));
}

void files(self_pointer self, exchange_ptr client, task_id id, const caller& who) {
  auto path = client->request().parameter("path");
  if (!path.starts_with('/') || path.size() > 4096)
    return respond(self, client, problem(400, "path: must be an absolute path in the container", "path"));
  // Not held by the request: if its client goes, the archive is in memory all the same until the engine has sent it.
  auto taken = self->state.archives.take(who.owner);
  if (!taken.part)
    return respond(self, client, beyond_limit(self, who.owner, taken.all_taken, "archives", "archives under way"));
  auto place = taken.part;
  self->request(self->state.addresses.store, store_limit, find_atom_v, id)
    .then(
      [=](const task& found) {
        if (found.attempts.empty() || found.state != task_state::running)
          return respond(
            self, client,
            problem(409, "the task is " + to_string(found.state) + ": its files can be read only while it runs"));
        leave_turn(self, client); // the archives have a limit of their own
        const auto& last = found.attempts.back();
        auto send = [=, container = last.container](const engine_actor& engine) {
          self->request(engine, caf::infinite, files_atom_v, container, path, most_files)
            .then(
              [=](std::string& tar) {
                self->state.large.push_back(client);
                respond(self, client, {200, "application/x-tar", std::move(tar), {}, place, archive_stalled});
              },
              [=](const caf::error& e) {
                auto code = engine_code(e);
                auto status = code == engine_errc::not_found ? 404
                            : code == engine_errc::protocol  ? 413
                            : is_connection_trouble(code)    ? 503
                                                             : 502;
                respond(self, client, problem(status, text_of(e)));
              });
        };
        // The engine has the attempt's id; its name may have been changed since.
        self->request(self->state.addresses.scheduler, 5s, engines_atom_v)
          .then(
            [=](const std::vector<engine_status>& engines) {
              auto same = [&](const engine_status& one) { return one.info.id == last.engine_id; };
              auto at = std::find_if(engines.begin(), engines.end(), same);
              auto engine = self->state.addresses.engines.find(at == engines.end() ? last.engine : at->name);
              if (engine == self->state.addresses.engines.end())
                return respond(self, client,
                               problem(409, "it runs on the engine " + last.engine + " of agent " + last.agent
                                              + ", which this agent does not reach"));
              send(engine->second);
            },
            refuse(self, client, "the scheduler"));
      },
      refuse(self, client));
}

duration patience_of(const exchange_ptr& wait) {
  auto timeout = parse_duration(wait->request().parameter("timeout")).value_or(store_limit);
  return std::clamp(timeout, last_look_limit, store_limit);
}

void wait(self_pointer self, exchange_ptr client, task_id id) {
  auto limit = duration{60'000};
  if (auto text = client->request().parameter("timeout"); !text.empty()) {
    auto parsed = parse_duration(text);
    if (!parsed || *parsed > longest_wait)
      return respond(self, client, problem(400, "timeout: must be a duration of 1h at most, such as 30s", "timeout"));
    limit = *parsed;
  }
  // First in the line, then the look: an end between the two is not missed.
  auto begun = steady::now();
  auto entry = self->state.waiting.emplace(id, waiting_client{client, begun, begun + limit});
  client->on_closed([actor = weak(self), self, client] {
    resume(actor,
           [=] { std::erase_if(self->state.waiting, [&](const auto& one) { return one.second.client == client; }); });
  });
  auto place = [=] {
    auto& waiting = self->state.waiting;
    auto [begin, end] = waiting.equal_range(id);
    auto found = std::find_if(begin, end, [&](const auto& one) { return one.second.client == client; });
    return found == end ? waiting.end() : found;
  };
  auto leave = [=] {
    auto found = place();
    if (found == self->state.waiting.end())
      return false;
    self->state.waiting.erase(found);
    return true;
  };
  (void)entry;
  self->request(self->state.addresses.store, store_limit, find_atom_v, id)
    .then(
      [=](const task& now) {
        if (now.state != task_state::finished) {
          if (auto found = place(); found != self->state.waiting.end())
            found->second.seen = true;
          leave_turn(self, client);
        } else if (leave()) {
          respond_json(self, client, 200, json::to_value(now));
        }
      },
      [=](const caf::error& e) {
        if (leave())
          respond(self, client, problem_of(e));
      });
}

void end_waits(self_pointer self) {
  auto& state = self->state;
  auto now = steady::now();
  for (auto one = state.waiting.begin(); one != state.waiting.end();) {
    auto [client, begun, until, seen] = one->second;
    // A store that has not answered the first look is not asked again.
    if (until > now || (!seen && begun + last_look_limit > now)) {
      ++one;
      continue;
    }
    auto id = one->first;
    one = state.waiting.erase(one);
    if (!seen) {
      respond(self, client, problem_of(caf::sec::request_timeout));
      continue;
    }
    state.turns.enter(client->caller(), client, now, [=, client = client] {
      self->request(self->state.addresses.store, last_look_limit, find_atom_v, id)
        .then(
          [=](const task& found) {
            respond_json(self, client, found.state == task_state::finished ? 200 : 202, json::to_value(found));
          },
          refuse(self, client));
    });
  }
}

} // namespace davit::api
