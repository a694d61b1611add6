// What the agent says about finished tasks, signed with its key.
#include "actors/metrics.hpp"
#include "api/api_state.hpp"
#include "attestation/envelope.hpp"
#include "attestation/statement.hpp"

#include <caf/actor_system.hpp>

#include <spdlog/spdlog.h>

namespace davit::api {

namespace {

constexpr std::uint32_t page_bytes = 256 * 1024;
constexpr int most_retries = 10; ///< Of half a second each: an agent that has the log may be about to restart.

/// A log of a finished task may still be open, while the agent that had it writes its end.
constexpr duration end_limit = 2s;

/// One request, while the log is read.
struct signing {
  exchange_ptr client;
  task about;
  attempt_key from;  ///< Whose log is read: the last attempt, or the one whose answer it is.
  std::string agent; ///< That has made this.
  std::uint64_t offset = 0;
  int retries = 0;
  bool over = false; ///< The client has gone.
  attestation::log_digest digest;
};
using signing_ptr = std::shared_ptr<signing>;

void read_on(self_pointer self, const signing_ptr& work);

/// 501 if this agent has no key.
const attestation::signing_key* key_of(self_pointer self, const exchange_ptr& client) {
  if (const auto& key = self->state.context->signer)
    return key.get();
  respond(self, client, problem(501, "this agent has no key to sign with"));
  return nullptr;
}

void sign(self_pointer self, const signing_ptr& work, attestation::log_state state) {
  if (work->over)
    return;
  const auto& settings = self->state.context->settings;
  const auto& key = *self->state.context->signer;
  auto log = work->digest.finish(state);
  if (!work->about.attempts.empty())
    log.attempt = work->about.attempts.back().number;
  auto text
    = attestation::write_statement(work->about, log, {settings.fleet, settings.name, DAVIT_VERSION, key.shown().id()});
  respond(self, work->client, {200, "application/json", attestation::seal(key, text) + "\n", {}});
}

/// A statement without the log would say less than it seems to say.
void give_up(self_pointer self, const signing_ptr& work, const std::string& why) {
  if (work->over)
    return;
  spdlog::warn("the log of task {} can't be read for its attestation: {}", to_string(work->about.id), why);
  auto response = problem(503, "the task's log can't be read now, so nothing was signed: " + why);
  response.headers.emplace_back("Retry-After", "5");
  respond(self, work->client, std::move(response));
}

void take(self_pointer self, const signing_ptr& work, const log_page& page) {
  if (work->over)
    return;
  work->retries = 0;
  for (const auto& record : page.records)
    work->digest.add(record);
  work->offset = page.next;
  using attestation::log_state;
  if (!page.finished && page.records.empty() && is_being_forgotten(self, work->about))
    return give_up(self, work, "the task is being forgotten, with its log");
  if (page.finished)
    sign(self, work, log_state::whole);
  else if (page.records.empty())
    sign(self, work, work->offset == 0 ? log_state::gone : log_state::unfinished);
  else
    read_on(self, work);
}

/// The log is with the agent that had the attempt.
void ask_peer(self_pointer self, const signing_ptr& work, const std::string& agent, log_query query) {
  const auto& fleet = self->state.addresses.fleet;
  if (!fleet)
    return give_up(self, work,
                   "agent " + agent + " has it, and this agent has no peers (set davit.fleet.listen); ask that agent");
  query.elsewhere = false;
  query.wait = end_limit;
  self->request(fleet, caf::infinite, read_atom_v, agent, query)
    .then([=](const log_page& page) { take(self, work, page); },
          [=](const caf::error& e) {
            if (++work->retries > most_retries)
              return give_up(self, work, text_for_client(e, "agent " + agent));
            self->run_delayed(500ms, [=] { read_on(self, work); });
          });
}

/// Asks for the next page; the one before has been taken, so that one page is in memory.
void read_on(self_pointer self, const signing_ptr& work) {
  if (work->over)
    return;
  const auto& settings = self->state.context->settings;
  auto here = !settings.shared_store || work->agent == settings.name;
  log_query query{work->from, work->offset, page_bytes, here ? end_limit : duration{0}, !here};
  self->request(self->state.addresses.logs, caf::infinite, read_atom_v, query)
    .then(
      [=, agent = work->agent](const log_page& page) {
        if (here || page.finished || !page.records.empty())
          take(self, work, page);
        else if (!work->over)
          ask_peer(self, work, agent, query);
      },
      [=](const caf::error& e) { give_up(self, work, text_for_client(e, "the keeper of logs")); });
}

void begin(self_pointer self, exchange_ptr client, task found, const caller& who) {
  if (found.state != task_state::finished)
    return respond(self, client,
                   problem(409, "the task is " + to_string(found.state)
                                  + "; there is something to sign when it has finished (davit wait waits for that)"));
  if (auto refusal
      = over_limit(self, client, self->state.limits->transfers, who.owner, 1, "transfers", "transfers of files"))
    return respond(self, client, std::move(*refusal));
  leave_turn(self, client); // a log may be long
  auto work = std::make_shared<signing>();
  work->client = client;
  work->about = std::move(found);
  if (work->about.attempts.empty())
    return sign(self, work, attestation::log_state::none);
  client->on_closed([actor = weak(self), work] { resume(actor, [work] { work->over = true; }); });
  // The log that davit logs shows: of the last attempt.
  const auto& last = work->about.attempts.back();
  work->from = {work->about.id, last.number};
  work->agent = last.agent;
  auto source = read_answer(last.answer_of);
  if (!source && last.container.empty())
    return sign(self, work, attestation::log_state::none);
  if (!source)
    return read_on(self, work);
  work->from = *source;
  self->request(self->state.addresses.store, store_limit, find_atom_v, source->task)
    .then(
      [=](const task& earlier) {
        auto number = static_cast<std::size_t>(work->from.number);
        if (number == 0 || number > earlier.attempts.size())
          return give_up(self, work, "the attempt " + work->about.attempts.back().answer_of + " is not there");
        work->agent = earlier.attempts[number - 1].agent;
        read_on(self, work);
      },
      [=](const caf::error& e) { give_up(self, work, text_for_client(e, "the store")); });
}

} // namespace

void attestation(self_pointer self, exchange_ptr client, task_id id, const caller& who) {
  if (!key_of(self, client))
    return;
  self->request(self->state.addresses.store, store_limit, find_atom_v, id)
    .then([=](task& found) { begin(self, client, std::move(found), who); }, refuse(self, client));
}

void signing_key(self_pointer self, exchange_ptr client) {
  if (const auto* key = key_of(self, client))
    respond_json(self, client, 200,
                 json::object{{"agent", self->state.context->settings.name},
                              {"id", key->shown().id()},
                              {"algorithm", "Ed25519"},
                              {"public_key", key->shown().pem()}});
}

} // namespace davit::api
