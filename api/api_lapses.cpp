#include "api/api_state.hpp"

#include <caf/actor_system.hpp>

#include <vector>

namespace davit::api {

namespace {

/// What a reader of Server-Sent Events is told in the end.
std::string farewell(const std::string& why) {
  return "event: unauthorized\ndata: " + json::write(json::value{{"detail", why}}) + "\n\n";
}

/// Someone who was let in, and would not be now.
struct lapse {
  const caller* who;
  std::string why;
};

std::optional<lapse> find_lapse(api_state& state, const exchange_ptr& client) {
  auto& last = state.standings[client];
  auto why = state.access->lapsed(client->request(), last);
  if (!why)
    return std::nullopt;
  // It was somebody's who was let in: its line is not left out among those of nobody.
  static const caller unknown{"", "a token that was revoked", {api_scope::read}, {}, {}, {}};
  return lapse{last.known ? &last.known->who : &unknown, *why};
}

void write_down(api_state& state, const lapse& found, const exchange_ptr& client) {
  state.access->audit(*found.who, client->request(), 401, "", [] {});
}

void end_events(api_state& state) {
  for (const auto& stream : state.events) {
    auto found = stream->over ? std::nullopt : find_lapse(state, stream->client);
    if (!found)
      continue;
    write_down(state, *found, stream->client);
    stream->over = true;
    stream->client->write(farewell(found->why), nullptr);
    stream->client->finish();
  }
}

/// A log that ends without a word would pass for whole.
void end_logs(api_state& state) {
  std::erase_if(state.logs, [&](const auto& stream) {
    auto found = stream->over ? std::nullopt : find_lapse(state, stream->client);
    if (!found)
      return false;
    write_down(state, *found, stream->client);
    stream->over = true;
    if (stream->format == log_format::events) {
      stream->client->write(farewell(found->why), nullptr);
      stream->client->finish();
    } else {
      stream->client->cut();
    }
    return true;
  });
}

/// What has gone out is gone; the rest is not for this reader.
void cut_answers(api_state& state) {
  std::erase_if(state.large, [&](const auto& one) {
    auto client = one.lock();
    if (!client)
      return true;
    auto found = find_lapse(state, client);
    if (!found)
      return false;
    write_down(state, *found, client);
    client->cut();
    return true;
  });
}

void end_waiting(self_pointer self) {
  auto& state = self->state;
  for (auto one = state.waiting.begin(); one != state.waiting.end();)
    if (refuse_lapsed(self, one->second.client))
      one = state.waiting.erase(one);
    else
      ++one;
}

} // namespace

bool refuse_lapsed(self_pointer self, exchange_ptr client) {
  auto& state = self->state;
  auto found = find_lapse(state, client);
  if (!found)
    return false;
  state.audited[client.get()] = *found->who;
  auto response = problem(401, found->why);
  response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"davit\"");
  respond(self, client, std::move(response));
  return true;
}

void end_lapsed(self_pointer self) {
  auto& state = self->state;
  state.access->tend();
  end_events(state);
  end_logs(state);
  end_waiting(self);
  cut_answers(state);
  std::erase_if(state.standings, [](const auto& one) { return one.first.expired(); });
}

} // namespace davit::api
