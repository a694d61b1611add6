// Caches of an owner: listed and removed.
#include "actors/file_transfer.hpp"
#include "api/api_state.hpp"
#include "policy/cache_keys.hpp"
#include "store/blob_catalogue.hpp"

namespace davit::api {

namespace {

constexpr std::uint32_t page_rows = 500;

template <class T>
using shared_answer = std::shared_ptr<store::result<T>>;

template <class T>
shared_answer<T> unanswered() {
  return std::make_shared<store::result<T>>(store::error{store::errc::unavailable, "the store did not say"});
}

server_response store_problem(const store::error& e) {
  return problem_of(make_failure(e.code, e.message));
}

/// `pr/7:npm-1`: no scope has a colon.
std::optional<kept_cache> read_cursor(const std::string& text) {
  auto colon = text.find(':');
  if (colon == std::string::npos)
    return std::nullopt;
  kept_cache behind;
  behind.scope = text.substr(0, colon);
  behind.key = text.substr(colon + 1);
  return behind;
}

void list_caches(self_pointer self, exchange_ptr client, const caller& who) {
  auto scope = client->request().parameter("scope"), cursor = client->request().parameter("after");
  auto after = read_cursor(cursor);
  if (!cursor.empty() && !after)
    return respond(self, client, problem(400, "after: must be the `next` of an earlier answer", "after"));
  auto answer = unanswered<std::vector<kept_cache>>();
  self
    ->request(self->state.addresses.store, store_limit,
              catalogue_work{[=, owner = who.owner](store::blob_catalogue& all) {
                *answer = all.caches(owner, scope, after, page_rows);
              }})
    .then(
      [=] {
        if (!*answer)
          return respond(self, client, store_problem(answer->error()));
        json::array list;
        for (const auto& one : **answer)
          list.push_back(json::to_value(one));
        json::object body{{"caches", std::move(list)}};
        if ((*answer)->size() == page_rows)
          body["next"] = (*answer)->back().scope + ':' + (*answer)->back().key;
        respond_json(self, client, 200, body);
      },
      refuse(self, client));
}

/// All of the owner's in the scope whose keys begin so.
store::result<std::uint64_t>
drop_all(store::blob_catalogue& all, const std::string& owner, const std::string& scope, const std::string& prefix) {
  std::uint64_t dropped = 0;
  std::optional<kept_cache> after;
  while (true) {
    auto page = all.caches(owner, scope, after, page_rows);
    if (!page)
      return page.error();
    for (const auto& one : *page)
      if (one.key.starts_with(prefix)) {
        auto gone = all.drop_cache(owner, one.scope, one.key, {});
        if (!gone)
          return gone.error();
        dropped += *gone ? 1 : 0;
      }
    if (page->size() < page_rows)
      return dropped;
    after = page->back();
  }
}

void remove_caches(self_pointer self, exchange_ptr client, const caller& who) {
  const auto& request = client->request();
  auto has = [&](const char* name) {
    return std::any_of(request.query.begin(), request.query.end(), [&](const auto& one) { return one.first == name; });
  };
  auto key = request.parameter("key"), prefix = request.parameter("prefix"), scope = request.parameter("scope");
  if (has("key") == has("prefix") || (has("key") && key.empty()))
    return respond(
      self, client,
      problem(400, "say which: ?key=KEY for one, ?prefix=PREFIX for all whose keys begin so (empty: all)"));
  // A caller that is kept to a scope removes nothing that is trusted more.
  const auto& own = who.limits.cache_scope;
  if (!is_in_scope(scope, own))
    return respond(self, client,
                   problem(403,
                           who.limits.whose + " has the cache scope \"" + own + "\"; it removes caches in it and "
                             + "below it: ?scope=" + own,
                           "scope"));
  auto answer = unanswered<std::uint64_t>();
  self
    ->request(self->state.addresses.store, store_limit,
              catalogue_work{[=, owner = who.owner, all_of = has("prefix")](store::blob_catalogue& all) {
                if (all_of) {
                  *answer = drop_all(all, owner, scope, prefix);
                  return;
                }
                auto gone = all.drop_cache(owner, scope, key, {});
                *answer
                  = gone ? store::result<std::uint64_t>{*gone ? 1 : 0} : store::result<std::uint64_t>{gone.error()};
              }})
    .then(
      [=, one = has("key")] {
        if (!*answer)
          return respond(self, client, store_problem(answer->error()));
        if (one && **answer == 0)
          return respond(self, client, problem(404, "there is no cache of this key in this scope"));
        respond_json(self, client, 200, json::object{{"removed", **answer}});
      },
      refuse(self, client));
}

} // namespace

void caches(self_pointer self, exchange_ptr client, const caller& who) {
  if (client->request().method == "DELETE")
    remove_caches(self, std::move(client), who);
  else
    list_caches(self, std::move(client), who);
}

} // namespace davit::api
