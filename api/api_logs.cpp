#include "api/api_state.hpp"

#include "actors/metrics.hpp"

#include <caf/actor_system.hpp>

#include <spdlog/spdlog.h>

namespace davit::api {

constexpr std::uint32_t page_bytes = 256 * 1024;
constexpr int most_retries = 120; // of half a second: longer than a lease and what follows

void read_more(self_pointer self, const std::shared_ptr<log_stream_state>& stream);
void read_from_fleet(self_pointer self, const std::shared_ptr<log_stream_state>& stream, duration wait);
void break_off(self_pointer self, const std::shared_ptr<log_stream_state>& stream, const std::string& why);
void send_page(self_pointer self, const std::shared_ptr<log_stream_state>& stream, const log_page& page);

void send_page_if_open(self_pointer self, const std::shared_ptr<log_stream_state>& stream, const log_page& page) {
  stream->retries = 0;
  if (!stream->over)
    send_page(self, stream, page);
}

bool is_being_forgotten(self_pointer self, const task& one) {
  auto keep = self->state.context->settings.retention;
  return keep.count() > 0 && one.finished_at && std::chrono::system_clock::now() - *one.finished_at > keep;
}

/// The agent that has it may be gone: another will have the attempt before long, or the store its log.
void retry_or_break_off(self_pointer self, const std::shared_ptr<log_stream_state>& stream, bool ended,
                        const std::string& why) {
  if (stream->over)
    return;
  if ((!stream->follow && !ended) || ++stream->retries > (stream->follow ? most_retries : 10))
    return break_off(self, stream, why);
  self->run_delayed(500ms, [=] { read_more(self, stream); });
}

void end_log(self_pointer self, const std::shared_ptr<log_stream_state>& stream) {
  if (stream->over)
    return;
  stream->over = true;
  if (auto bytes = render_end(*stream); !bytes.empty())
    stream->client->write(std::move(bytes), nullptr);
  stream->client->finish();
  self->state.logs.remove(stream);
}

void find_source(log_stream_state& stream, const task& now) {
  auto number = static_cast<std::size_t>(stream.at.number);
  if (number > 0 && number <= now.attempts.size())
    stream.source = read_answer(now.attempts[number - 1].answer_of);
}

/// A log that has ended without any record may be an earlier attempt's, of which this one has nothing but the answer.
void look_for_source(self_pointer self, const std::shared_ptr<log_stream_state>& stream, const log_page& page) {
  stream->source_known = true;
  self->request(self->state.addresses.store, caf::infinite, find_atom_v, stream->at.task)
    .then(
      [=](const task& now) {
        find_source(*stream, now);
        if (stream->source)
          read_more(self, stream);
        else if (!stream->over)
          send_page(self, stream, page);
      },
      [=](const caf::error& e) { break_off(self, stream, text_for_client(e)); });
}

/// The attempt's log has ended: is there another attempt, or will there be one?
void next_attempt(self_pointer self, const std::shared_ptr<log_stream_state>& stream) {
  if (stream->one_attempt)
    return end_log(self, stream);
  self->request(self->state.addresses.store, caf::infinite, find_atom_v, stream->at.task)
    .then(
      [=](const task& now) {
        if (stream->over)
          return;
        if (static_cast<std::int32_t>(now.attempts.size()) > stream->at.number) {
          ++stream->at.number;
          stream->offset = 0;
          stream->shown = {};
          stream->cut.reset();
          stream->source.reset();
          stream->source_known = false;
          read_more(self, stream);
        } else if (now.state == task_state::finished || !stream->follow) {
          end_log(self, stream);
        } else {
          self->run_delayed(100ms, [=] { next_attempt(self, stream); }); // the outcome is being stored
        }
      },
      [=](const caf::error&) { end_log(self, stream); });
}

/// Looks at the next page for where the last lines begin. When all that is there has been seen, the log is sent from
/// that place on, like any log.
void look_for_tail(self_pointer self, const std::shared_ptr<log_stream_state>& stream, const log_page& page) {
  stream->tail->page(stream->offset);
  for (const auto& record : page.records)
    if (wanted(*stream, record))
      stream->tail->add(record);
  stream->offset = page.next;
  if (page.records.empty() || page.finished) {
    stream->cut = stream->tail->found(page.next);
    stream->offset = stream->cut->offset();
    stream->tail.reset();
    if (!stream->follow && !page.finished) // what comes meanwhile is behind the last lines
      stream->last = page.next;
  }
  read_more(self, stream);
}

/// There is no more of a log that has no end. If the task is being forgotten, its log may have been removed meanwhile.
void end_without_end(self_pointer self, const std::shared_ptr<log_stream_state>& stream) {
  self->request(self->state.addresses.store, caf::infinite, find_atom_v, stream->at.task)
    .then(
      [=](const task& now) {
        if (is_being_forgotten(self, now))
          break_off(self, stream, "the task is being forgotten, with its log");
        else
          end_log(self, stream);
      },
      [=](const caf::error& e) { break_off(self, stream, text_for_client(e)); });
}

void send_page(self_pointer self, const std::shared_ptr<log_stream_state>& stream, const log_page& page) {
  if (page.finished && page.records.empty() && page.next == 0 && !stream->source && !stream->source_known)
    return look_for_source(self, stream, page);
  if (stream->tail)
    return look_for_tail(self, stream, page);
  stream->offset = page.next;
  auto reached = stream->last && page.next >= *stream->last;
  std::string bytes;
  for (std::size_t i = 0; i < page.records.size(); ++i)
    if (!stream->last || page.ends[i] <= *stream->last)
      bytes += render(*stream, page.records[i], page.ends[i]);
  auto go_on = [=, finished = page.finished, empty = page.records.empty()] {
    if (stream->over)
      return;
    if (reached)
      end_log(self, stream);
    else if (empty && !finished && !stream->follow)
      end_without_end(self, stream);
    else if (finished)
      next_attempt(self, stream);
    else
      read_more(self, stream);
  };
  if (bytes.empty() && page.records.empty() && stream->follow && stream->format == log_format::events)
    bytes = ": keep-alive\n\n";
  if (bytes.empty())
    return go_on();
  // The next page is read when this one has gone out: a slow reader costs a page of memory, no more.
  stream->client->write(std::move(bytes), [actor = weak(self), go_on](bool good) {
    if (good)
      resume(actor, go_on);
  });
}

void read_more(self_pointer self, const std::shared_ptr<log_stream_state>& stream) {
  if (stream->over)
    return;
  const auto& settings = self->state.context->settings;
  auto wait = stream->follow && !stream->tail ? keep_alive_interval : duration{0};
  if (settings.shared_store)
    return read_from_fleet(self, stream, wait);
  self
    ->request(self->state.addresses.logs, caf::infinite, read_atom_v,
              log_query{stream->source.value_or(stream->at), stream->offset, page_bytes, wait})
    .then(
      [=](const log_page& page) {
        if (!stream->over)
          send_page(self, stream, page);
      },
      [=](const caf::error& e) { break_off(self, stream, text_for_client(e)); });
}

/// Ends a log that can't be read on, with a remark for those who see remarks.
void break_off(self_pointer self, const std::shared_ptr<log_stream_state>& stream, const std::string& why) {
  if (stream->over)
    return;
  spdlog::error("the log of task {} can't be read: {}", to_string(stream->at.task), why);
  stream->cut.reset();
  if (auto bytes
      = render(*stream,
               {log_stream::note, std::chrono::system_clock::now(), "the rest of the log can't be read: " + why + "\n"},
               stream->offset);
      !bytes.empty())
    stream->client->write(std::move(bytes), nullptr);
  end_log(self, stream);
}

/// In a fleet a log is with the agent that has the attempt, and in the store when it has ended. Where that is may
/// change under way.
void read_from_fleet(self_pointer self, const std::shared_ptr<log_stream_state>& stream, duration wait) {
  auto from = stream->source.value_or(stream->at);
  self->request(self->state.addresses.store, caf::infinite, find_atom_v, from.task)
    .then(
      [=](const task& now) {
        if (stream->over)
          return;
        auto number = static_cast<std::size_t>(from.number);
        if (number > now.attempts.size()) { // it has not begun
          if (now.state == task_state::finished || !stream->follow)
            return end_log(self, stream);
          self->run_delayed(250ms, [=] { read_more(self, stream); });
          return;
        }
        const auto& attempt = now.attempts[number - 1];
        auto here = attempt.agent == self->state.context->settings.name;
        // One that has ended may have come into the store; one that runs elsewhere has not.
        log_query query{from, stream->offset, page_bytes, here ? wait : duration{0}, !here};
        auto ask_peer = [=, agent = attempt.agent, ended = attempt.outcome.has_value()] {
          if (!self->state.addresses.fleet)
            return retry_or_break_off(
              self, stream, ended, "agent " + agent + " has it, and this agent has no peers (set davit.fleet.listen)");
          auto there = query;
          there.wait = wait;
          there.elsewhere = false;
          self->request(self->state.addresses.fleet, caf::infinite, read_atom_v, agent, there)
            .then([=](const log_page& page) { send_page_if_open(self, stream, page); },
                  [=](const caf::error& e) { retry_or_break_off(self, stream, ended, text_for_client(e)); });
        };
        if (!here && !attempt.outcome)
          return ask_peer();
        self->request(self->state.addresses.logs, caf::infinite, read_atom_v, query)
          .then(
            [=](const log_page& page) {
              if (here || page.finished || !page.records.empty())
                send_page_if_open(self, stream, page);
              else
                ask_peer();
            },
            [=](const caf::error& e) { break_off(self, stream, text_for_client(e)); });
      },
      [=](const caf::error& e) { break_off(self, stream, text_for_client(e)); });
}

void logs(self_pointer self, exchange_ptr client, task_id id, const caller& who) {
  auto stream = std::make_shared<log_stream_state>();
  stream->client = client;
  stream->at = {id, 0};
  std::string field, why;
  if (!read_log_request(client->request(), *stream, field, why))
    return respond(self, client, problem(400, field + ": " + why, field));
  if (stream->follow)
    if (auto refusal = over_limit(self, client, self->state.limits->streams, who.owner, 1, "streams", "open streams"))
      return respond(self, client, std::move(*refusal));
  self->request(self->state.addresses.store, store_limit, find_atom_v, id)
    .then(
      [=](const task& now) {
        // The attempt that comes next can be followed before it has begun.
        auto coming = stream->follow && now.state != task_state::finished ? 1 : 0;
        if (stream->at.number > static_cast<std::int32_t>(now.attempts.size()) + coming)
          return respond(self, client,
                         problem(404, "the task has no attempt " + std::to_string(stream->at.number), "attempt"));
        if (stream->at.number == 0) // the last attempt, or the first to come
          stream->at.number = std::max<std::int32_t>(1, static_cast<std::int32_t>(now.attempts.size()));
        find_source(*stream, now);
        auto& all = self->state.logs;
        all.push_back(stream);
        client->on_closed([actor = weak(self), self, stream] {
          resume(actor, [=] {
            stream->over = true;
            self->state.logs.remove(stream);
          });
        });
        server_response response;
        response.content_type = content_type(stream->format);
        response.headers.emplace_back("Cache-Control", "no-store");
        self->state.context->metrics->http_request(200);
        client->begin(std::move(response));
        leave_turn(self, client);
        if (now.attempts.empty() && (now.state == task_state::finished || !stream->follow))
          end_log(self, stream);
        else
          read_more(self, stream);
      },
      refuse(self, client));
}

} // namespace davit::api
