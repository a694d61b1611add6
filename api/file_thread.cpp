#include "api/file_thread.hpp"

#include "actors/metrics.hpp"

#include <caf/actor_system.hpp>

#include <spdlog/spdlog.h>

#include <future>

namespace davit::api {

namespace {

int status_of(files_errc e) {
  switch (e) {
    case files_errc::refused:
      return 422;
    case files_errc::missing:
      return 404;
    case files_errc::conflict:
      return 409;
    case files_errc::full:
      return 507;
    case files_errc::busy:
      return 429;
    default:
      return 503;
  }
}

} // namespace

server_response files_problem(const caf::error& e) {
  if (e.category() != caf::type_id_v<files_errc>)
    return problem_of(e, "the keeper of files");
  return problem(status_of(static_cast<files_errc>(e.code())), text_of(e));
}

bool keeps_files(self_pointer self, const exchange_ptr& client) {
  if (self->state.context->blobs)
    return true;
  respond(self, client, problem(501, "this agent keeps no files: its store is shared, and blobs.url is not set"));
  return false;
}

namespace {

/// Audited requests are written down before anything of the answer is seen.
void begin_answer(self_pointer self, const exchange_ptr& client, server_response response, std::function<void()> then) {
  auto& state = self->state;
  state.context->metrics->http_request(response.status);
  leave_turn(self, client);
  auto audited = state.audited.extract(client.get());
  if (audited.empty()) {
    client->begin(std::move(response));
    return then();
  }
  auto status = response.status;
  state.access->audit(audited.mapped(), client->request(), status, {},
                      [client, response = std::move(response), then = std::move(then)] {
                        client->begin(response);
                        then();
                      });
}

server_response head_of(int status, std::string type) {
  server_response response{status, std::move(type), {}, {}};
  response.headers = {{"Cache-Control", "no-store"},
                      // Whatever the bytes are, a browser is not to make a page of them.
                      {"X-Content-Type-Options", "nosniff"},
                      {"Content-Disposition", "attachment"}};
  return response;
}

} // namespace

void file_thread::answer(server_response response) const {
  resume(actor, [self = self, client = client, response = std::move(response)]() mutable {
    respond(self, client, std::move(response));
  });
}

void file_thread::fail(const blobs::error& e) const {
  answer(files_problem(to_caf(e)));
}

bool file_thread::begin(server_response response) const {
  auto begun = std::make_shared<std::promise<void>>();
  auto ready = begun->get_future();
  resume(actor, [self = self, client = client, response = std::move(response), begun]() mutable {
    begin_answer(self, client, std::move(response), [begun] { begun->set_value(); });
  });
  begun.reset(); // an actor that ends drops what it was given
  while (ready.wait_for(250ms) != std::future_status::ready)
    if (*context->ending || !actor.lock())
      return false;
  try {
    ready.get();
  } catch (const std::future_error&) {
    return false;
  }
  return true;
}

void file_thread::finish(const blobs::result<void>& sent, const waiting_writer& to) const {
  context->metrics->files_moved("download", to.bytes());
  if (sent)
    return client->finish();
  spdlog::error("files can't be read: {}", sent.error().message);
  client->cut();
}

void on_thread(self_pointer self, exchange_ptr client, const caller& who, const std::string& owner,
               std::function<void(const file_thread&)> work) {
  if (!keeps_files(self, client))
    return;
  if (auto refusal
      = over_limit(self, client, self->state.limits->transfers, who.owner, 1, "transfers", "transfers of files"))
    return respond(self, client, std::move(*refusal));
  leave_turn(self, client);
  auto store = self->state.addresses.store;
  self->spawn<caf::detached>([=, actor = weak(self), context = self->state.context](caf::blocking_actor* thread) {
    file_thread with{self, actor, context, client, owner, catalogue_of(thread, store)};
    try {
      work(with);
    } catch (const std::exception& e) { // out of memory, for instance
      spdlog::error("a transfer of files has failed: {}", e.what());
      client->cut();
    }
  });
}

void file_thread::send_file(const blobs::digest& content, std::uint64_t size) const {
  auto from = mine().source({content});
  if (!from)
    return fail(from.error());
  auto part = range_of(client->request().header("range"), size);
  if (part && part->first == part->end) {
    auto response = problem(416, "there are " + std::to_string(size) + " bytes");
    response.headers.emplace_back("Content-Range", "bytes */" + std::to_string(size));
    return answer(std::move(response));
  }
  auto head = head_of(part ? 206 : 200, "application/octet-stream");
  head.headers.emplace_back("Accept-Ranges", "bytes");
  head.headers.emplace_back("ETag", '"' + to_text(content) + '"');
  head.headers.emplace_back("Davit-Size", std::to_string(size));
  if (part)
    head.headers.emplace_back("Content-Range", "bytes " + std::to_string(part->first) + '-'
                                                 + std::to_string(part->end - 1) + '/' + std::to_string(size));
  if (auto there = (*from)->open(content); !there) // before it is said to come
    return fail(there.error());
  if (!begin(std::move(head)))
    return;
  waiting_writer to{client, context->ending};
  auto sent = part ? send_part(**from, content, *part, to) : send_blob(**from, content, to);
  finish(sent, to);
}

void file_thread::send_tree(const blobs::tree& all) const {
  auto from = mine().source(blobs::blobs_of(all));
  if (!from)
    return fail(from.error());
  if (!begin(head_of(200, "application/x-tar")))
    return;
  waiting_writer to{client, context->ending};
  auto sent = send_tar(**from, all, to);
  finish(sent, to);
}

} // namespace davit::api
