// Files that come in: blobs, uploads and trees.
#include "api/file_thread.hpp"
#include "blobs/manifest.hpp"
#include "json/read.hpp"

#include <charconv>

namespace davit {

namespace {

/// A question about blobs.
struct digest_list {
  std::vector<std::string> digests;
};

template <class Inspector>
bool inspect(Inspector& f, digest_list& x) {
  return f.object(x).fields(f.field("digests", x.digests));
}

struct tree_name {
  std::string tree;
};

template <class Inspector>
bool inspect(Inspector& f, tree_name& x) {
  return f.object(x).fields(f.field("tree", x.tree));
}

} // namespace

namespace api {

namespace {

constexpr std::size_t most_digests = 50'000;
constexpr std::size_t most_missing = 50'000; ///< In an answer.

/// What a file keeper is given for a piece of an upload: a disk may be slow, and threads have their turns.
constexpr duration upload_limit = 300s;

auto refuse_files(self_pointer self, exchange_ptr client) {
  return [=](const caf::error& e) { respond(self, client, files_problem(e)); };
}

/// An answer to be told with how far an upload has come.
json::value progress_of(const uuid& id, std::uint64_t offset) {
  return json::object{{"id", to_string(id)}, {"offset", offset}};
}

auto tell_summary(self_pointer self, exchange_ptr client) {
  return [=](const upload_summary& done) {
    respond_json(self, client, 201, json::object{{"blobs", done.blobs}, {"bytes", done.bytes}});
  };
}

std::optional<blobs::digest>
digest_in(self_pointer self, const exchange_ptr& client, const std::string& text, const std::string& field) {
  auto name = blobs::parse_digest(text);
  if (!name)
    respond(self, client,
            problem(400,
                    field + ": \"" + text + "\" is not a digest; write sha256: and 64 hexadecimal digits in lower case",
                    field));
  return name;
}

// -- blobs -----------------------------------------------------------------------------------------------------------

void missing_blobs(self_pointer self, exchange_ptr client, const caller& who) {
  if (!keeps_files(self, client))
    return;
  auto asked = json::read<digest_list>(std::string_view{client->request().body}, json::unknown_fields::refuse);
  if (!asked)
    return respond(self, client, problem(400, asked.error().text(), asked.error().path));
  if (asked->digests.size() > most_digests)
    return respond(self, client,
                   problem(422, "digests: " + std::to_string(most_digests) + " at most in one request", "digests"));
  std::vector<blobs::digest> wanted;
  wanted.reserve(asked->digests.size());
  for (std::size_t i = 0; i < asked->digests.size(); ++i) {
    auto one = digest_in(self, client, asked->digests[i], "digests[" + std::to_string(i) + ']');
    if (!one)
      return;
    wanted.push_back(*one);
  }
  auto answer = std::make_shared<store::result<std::vector<blobs::digest>>>(
    store::error{store::errc::unavailable, "the store did not say"});
  self
    ->request(self->state.addresses.store, store_limit,
              catalogue_work{[answer, owner = who.owner, wanted = std::move(wanted)](store::blob_catalogue& all) {
                *answer = all.missing(owner, wanted);
              }})
    .then(
      [=] {
        if (!*answer)
          return respond(self, client, problem_of(make_failure(answer->error().code, answer->error().message)));
        json::array missing;
        for (const auto& one : **answer)
          missing.push_back(json::to_value(to_text(one)));
        respond_json(self, client, 200, json::object{{"missing", std::move(missing)}});
      },
      refuse(self, client));
}

void put_blobs(self_pointer self, exchange_ptr client, const caller& who) {
  if (!keeps_files(self, client))
    return;
  self->request(self->state.addresses.files, upload_limit, upload_atom_v, who.owner, client->request().body)
    .then(tell_summary(self, client), refuse_files(self, client));
}

void get_blob(self_pointer self, exchange_ptr client, const std::string& name, const caller& who) {
  auto content = digest_in(self, client, name, "digest");
  if (!content)
    return;
  on_thread(self, client, who, who.owner, [content = *content](const file_thread& with) {
    auto from = with.mine().source({content});
    if (!from)
      return with.fail(from.error());
    auto size = (*from)->size(content);
    if (!size)
      return with.fail(size.error());
    with.send_file(content, *size);
  });
}

// -- uploads ---------------------------------------------------------------------------------------------------------

void open_upload(self_pointer self, exchange_ptr client, const caller& who) {
  if (!keeps_files(self, client))
    return;
  self->request(self->state.addresses.files, store_limit, upload_atom_v, open_atom_v, who.owner)
    .then(
      [=](const uuid& id) {
        server_response response{201, "application/json", json::write(progress_of(id, 0)) + "\n", {}};
        response.headers.emplace_back("Location", "/v1/uploads/" + to_string(id));
        respond(self, client, std::move(response));
      },
      refuse_files(self, client));
}

void append_upload(self_pointer self, exchange_ptr client, const uuid& id, const caller& who) {
  auto text = client->request().parameter("offset");
  std::uint64_t offset = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), offset);
  if (text.empty() || code != std::errc{} || end != text.data() + text.size())
    return respond(self, client, problem(400, "offset: must say where these bytes begin, as ?offset=0", "offset"));
  const auto& files = self->state.addresses.files;
  self->request(files, upload_limit, upload_atom_v, who.owner, id, offset, client->request().body)
    .then([=](std::uint64_t now) { respond_json(self, client, 200, progress_of(id, now)); },
          [=](const caf::error& e) {
            if (e != files_errc::conflict)
              return respond(self, client, files_problem(e));
            self->request(self->state.addresses.files, store_limit, upload_atom_v, find_atom_v, who.owner, id)
              .then([=, text = text_of(e)](
                      std::uint64_t now) { respond(self, client, problem_with(409, text, "offset", now)); },
                    refuse_files(self, client));
          });
}

void show_upload(self_pointer self, exchange_ptr client, const uuid& id, const caller& who) {
  self->request(self->state.addresses.files, store_limit, upload_atom_v, find_atom_v, who.owner, id)
    .then([=](std::uint64_t now) { respond_json(self, client, 200, progress_of(id, now)); },
          refuse_files(self, client));
}

void commit_upload(self_pointer self, exchange_ptr client, const uuid& id, const caller& who) {
  self->request(self->state.addresses.files, upload_limit, upload_atom_v, close_atom_v, who.owner, id)
    .then(tell_summary(self, client), refuse_files(self, client));
}

void forget_upload(self_pointer self, exchange_ptr client, const uuid& id, const caller& who) {
  self->request(self->state.addresses.files, upload_limit, upload_atom_v, forget_atom_v, who.owner, id)
    .then(
      [=] {
        respond(self, client, {204, {}, {}, {}});
      },
      refuse_files(self, client));
}

// -- trees -----------------------------------------------------------------------------------------------------------

void keep_tree(self_pointer self, exchange_ptr client, const caller& who) {
  auto asked = json::read<tree_name>(std::string_view{client->request().body}, json::unknown_fields::refuse);
  if (!asked)
    return respond(self, client, problem(400, asked.error().text(), asked.error().path));
  auto name = digest_in(self, client, asked->tree, "tree");
  if (!name)
    return;
  on_thread(self, client, who, who.owner, [name = *name](const file_thread& with) {
    const auto& settings = with.context->settings.files;
    auto mine = with.mine();
    auto tree = mine.tree(name, limits_for(settings, settings.most_input.bytes));
    if (!tree && tree.error().code == blobs::errc::missing)
      return with.answer(problem_with(409, "the manifest is missing", "missing", json::array{to_text(name)}));
    if (!tree && tree.error().code == blobs::errc::damaged)
      return with.answer(problem(422, "the blob " + to_text(name) + " is not a manifest: " + tree.error().message));
    if (!tree)
      return with.fail(tree.error());
    auto lacking = mine.keep(name, *tree);
    if (!lacking)
      return with.fail(lacking.error());
    if (!lacking->empty()) {
      json::array missing;
      for (const auto& one : *lacking)
        if (missing.size() < most_missing)
          missing.push_back(json::to_value(to_text(one)));
      return with.answer(problem_with(409, std::to_string(lacking->size()) + " blobs of the tree are missing",
                                      "missing", std::move(missing)));
    }
    auto files = std::count_if(tree->entries.begin(), tree->entries.end(),
                               [](const auto& one) { return one.kind == blobs::entry_kind::file; });
    with.answer({201,
                 "application/json",
                 json::write(json::object{{"tree", to_text(name)},
                                          {"entries", tree->entries.size()},
                                          {"files", files},
                                          {"bytes", blobs::total_bytes(*tree)}})
                   + "\n",
                 {}});
  });
}

void get_tree(self_pointer self, exchange_ptr client, const std::string& text, const caller& who) {
  auto name = digest_in(self, client, text, "tree");
  if (!name)
    return;
  on_thread(self, client, who, who.owner, [name = *name](const file_thread& with) {
    auto tree = with.mine().tree(name);
    if (!tree)
      return with.fail(tree.error());
    with.send_tree(*tree);
  });
}

} // namespace

bool route_files(self_pointer self, const exchange_ptr& client, const caller& who) {
  const auto& request = client->request();
  const auto& path = request.segments;
  auto is = [&](const char* method) {
    return request.method == method || (request.method == "HEAD" && std::string_view{method} == "GET");
  };
  auto only = [&](const char* method, auto then) {
    if (is(method))
      then();
    else
      refuse_method(self, client, std::string_view{method} == "GET" ? "GET, HEAD" : method);
    return true;
  };
  if (path[1] == "blobs" && path.size() == 2)
    return only("POST", [&] { put_blobs(self, client, who); });
  if (path[1] == "blobs" && path.size() == 3 && path[2] == "missing")
    return only("POST", [&] { missing_blobs(self, client, who); });
  if (path[1] == "blobs" && path.size() == 3)
    return only("GET", [&] { get_blob(self, client, path[2], who); });
  if (path[1] == "trees" && path.size() == 2)
    return only("POST", [&] { keep_tree(self, client, who); });
  if (path[1] == "trees" && path.size() == 3)
    return only("GET", [&] { get_tree(self, client, path[2], who); });
  if (path[1] != "uploads" || path.size() > 4)
    return false;
  if (path.size() == 2)
    return only("POST", [&] { open_upload(self, client, who); });
  uuid id;
  if (!from_string(path[2], id)) {
    respond(self, client, problem(404, "\"" + path[2] + "\" is not a valid upload; write " + expected_text(id)));
    return true;
  }
  if (path.size() == 4)
    return path[3] == "commit" && only("POST", [&] { commit_upload(self, client, id, who); });
  if (is("GET"))
    show_upload(self, client, id, who);
  else if (is("PATCH"))
    append_upload(self, client, id, who);
  else if (is("DELETE"))
    forget_upload(self, client, id, who);
  else
    refuse_method(self, client, "GET, HEAD, PATCH, DELETE");
  return true;
}

} // namespace api

} // namespace davit
