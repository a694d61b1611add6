#include "api/api_state.hpp"

#include "actors/metrics.hpp"

#include <caf/actor_system.hpp>

#include <algorithm>
#include <charconv>

namespace davit::api {

namespace {

constexpr std::size_t longest_backlog = 10'000; ///< Events that a slow reader may be behind.

} // namespace

json::value event_json(const task_event& event) {
  return json::to_value(event);
}

void write_event(self_pointer self, const std::shared_ptr<event_stream_state>& stream, const task_event& event) {
  stream->last = event.sequence;
  stream->last_written = steady::now();
  auto& unsent = stream->unsent;
  ++unsent;
  auto bytes = "event: " + event.kind + "\nid: " + std::to_string(event.sequence)
             + "\ndata: " + json::write(event_json(event)) + "\n\n";
  auto ends = !stream->only.nil() && event.kind == "finished";
  if (ends)
    bytes += "event: end\ndata: {}\n\n";
  stream->client->write(std::move(bytes),
                        [actor = weak(self), stream](bool) { resume(actor, [stream] { --stream->unsent; }); });
  if (ends || unsent > longest_backlog) { // the reader comes again with Last-Event-ID
    stream->over = true;
    stream->client->finish();
  }
}

void catch_up(self_pointer self, const std::shared_ptr<event_stream_state>& stream) {
  self
    ->request(self->state.addresses.store, caf::infinite, events_atom_v, stream->last, stream->only, stream->owner,
              std::uint32_t{1000})
    .then(
      [=, told = stream->told](const std::vector<task_event>& events) {
        for (const auto& event : events)
          if (!stream->over)
            write_event(self, stream, event);
        if (events.empty())
          stream->last = std::max(stream->last, told);
        if (events.empty() && stream->last >= stream->told)
          stream->caught_up = true;
        else if (!stream->over)
          catch_up(self, stream);
      },
      [=](const caf::error&) {
        stream->over = true;
        stream->client->finish();
      });
}

void events(self_pointer self, exchange_ptr client, task_id only, const caller& who) {
  const auto& request = client->request();
  // Whoever asks for one task was let in to it.
  auto owner = only.nil() && !allows(who.scopes, api_scope::read_all) ? who.owner : std::string{};
  std::int64_t after = 0;
  auto from = request.header("last-event-id");
  if (auto text = request.parameter("after"); !text.empty())
    from = text;
  if (!from.empty()) {
    auto [end, code] = std::from_chars(from.data(), from.data() + from.size(), after);
    if (code != std::errc{} || end != from.data() + from.size() || after < 0)
      return respond(self, client, problem(400, "after: must be the sequence number of an event", "after"));
  }
  if (request.header("accept").find("text/event-stream") == std::string::npos) {
    self->request(self->state.addresses.store, store_limit, events_atom_v, after, only, owner, std::uint32_t{1000})
      .then(
        [=](const std::vector<task_event>& list) {
          respond_json(self, client, 200, {{"events", json::to_value(list)}});
        },
        refuse(self, client));
    return;
  }
  if (auto refusal = over_limit(self, client, self->state.limits->streams, who.owner, 1, "streams", "open streams"))
    return respond(self, client, std::move(*refusal));
  auto stream = std::make_shared<event_stream_state>();
  stream->client = client;
  stream->only = only;
  stream->owner = owner;
  stream->last = after;
  self->state.events.push_back(stream);
  client->on_closed([actor = weak(self), stream] { resume(actor, [stream] { stream->over = true; }); });
  server_response response;
  response.content_type = "text/event-stream";
  response.headers.emplace_back("Cache-Control", "no-store");
  self->state.context->metrics->http_request(200);
  client->begin(std::move(response));
  leave_turn(self, client);
  catch_up(self, stream);
}

void on_event(self_pointer self, const task_event& event) {
  auto& state = self->state;
  for (const auto& stream : state.events) {
    if (stream->over || event.sequence <= stream->last)
      continue;
    if (!stream->owner.empty()) { // whose task it is, the store knows
      stream->told = std::max(stream->told, event.sequence);
      if (std::exchange(stream->caught_up, false))
        catch_up(self, stream);
    } else if (stream->caught_up && (stream->only.nil() || stream->only == event.task)) {
      write_event(self, stream, event);
    }
  }
  std::erase_if(state.events, [](const auto& stream) { return stream->over; });
  if (event.kind != "finished")
    return;
  auto has_reader
    = std::any_of(state.logs.begin(), state.logs.end(), [&](const auto& one) { return one->at.task == event.task; });
  if (!state.waiting.contains(event.task) && !has_reader)
    return;
  self->request(state.addresses.store, caf::infinite, find_atom_v, event.task)
    .then(
      [=](const task& now) {
        auto& state = self->state;
        auto [begin, end] = state.waiting.equal_range(now.id);
        for (auto one = begin; one != end; ++one)
          respond_json(self, one->second.client, 200, json::to_value(now));
        state.waiting.erase(begin, end);
        // A task that ends without a further attempt leaves no log to wait for.
        auto readers = state.logs;
        for (const auto& stream : readers)
          if (stream->at.task == now.id && stream->at.number > static_cast<std::int32_t>(now.attempts.size()))
            end_log(self, stream);
      },
      [](const caf::error&) {});
}

void keep_streams_alive(self_pointer self) {
  auto now = steady::now();
  for (const auto& stream : self->state.events)
    if (!stream->over && now - stream->last_written >= keep_alive_interval) {
      stream->last_written = now;
      stream->client->write(": keep-alive\n\n", nullptr);
    }
}

} // namespace davit::api
