// The part of sql_blobs about caches.
#include "store/sql_blobs.hpp"

namespace davit::store {

namespace {

const std::string columns = "name, scope, digest, files, bytes, task, created_at, used_at";
using cache_row = std::tuple<std::string, std::string, std::string, number, number, std::string, number, number>;

kept_cache cache_of(cache_row& row) {
  auto& [key, scope, tree, files, bytes, task, created, used] = row;
  kept_cache one;
  one.key = std::move(key);
  one.scope = std::move(scope);
  one.tree = "sha256:" + tree;
  one.files = static_cast<std::uint64_t>(files);
  one.bytes = static_cast<std::uint64_t>(bytes);
  one.task = std::move(task);
  one.created_at = read_time(created);
  one.used_at = read_time(used);
  return one;
}

/// 64 hexadecimal digits, without `sha256:`.
std::string hex_of(const std::string& tree) {
  auto colon = tree.find(':');
  return colon == std::string::npos ? tree : tree.substr(colon + 1);
}

template <class... In>
std::vector<cache_row> cache_rows(statements& kept, const std::string& rest, const In&... in) {
  return [&]<class... Out>(std::tuple<Out...>*) {
    return kept.rows<Out...>("SELECT " + columns + " FROM blob_cache WHERE owner = :owner " + rest, in...);
  }(static_cast<cache_row*>(nullptr));
}

} // namespace

/// Keys and scopes are of ASCII's printable characters, so that what begins so is a range.
result<std::optional<kept_cache>> sql_blobs::find_cache(const std::string& owner,
                                                        const std::vector<std::string>& scopes, const std::string& key,
                                                        const std::vector<std::string>& prefixes) {
  return session_.transaction<std::optional<kept_cache>>([&]() -> result<std::optional<kept_cache>> {
    auto& kept = session_.kept();
    auto by = text_of(owner);
    lock(by);
    auto used = [&](std::vector<cache_row>& rows) {
      auto found = cache_of(rows.front());
      kept.run("UPDATE blob_cache SET used_at = :now WHERE owner = :owner AND scope = :scope AND name = :name", clock(),
               by, found.scope, found.key);
      kept.run("UPDATE blob_tree SET cached_at = :now WHERE owner = :owner AND digest = :digest", clock(), by,
               hex_of(found.tree));
      return std::optional{std::move(found)};
    };
    for (const auto& scope : scopes)
      if (auto rows = cache_rows(kept, "AND scope = :scope AND name = :name", by, scope, key); !rows.empty())
        return used(rows);
    for (const auto& prefix : prefixes)
      for (const auto& scope : scopes)
        if (auto rows = cache_rows(kept,
                                   "AND scope = :scope AND name >= :from AND name < :to"
                                   " ORDER BY created_at DESC, name DESC LIMIT 1",
                                   by, scope, prefix, prefix + '\x7f');
            !rows.empty())
          return used(rows);
    return std::optional<kept_cache>{};
  });
}

result<bool> sql_blobs::keep_cache(const std::string& owner, const kept_cache& made, std::uint64_t limit) {
  return session_.transaction<bool>([&]() -> result<bool> {
    auto& kept = session_.kept();
    auto by = text_of(owner);
    lock(by);
    if (made.bytes > limit)
      return error{errc::over_quota, "it has " + std::to_string(made.bytes) + " bytes; all caches of " + owner
                                       + " together may have " + std::to_string(limit)};
    if (auto rows = cache_rows(kept, "AND scope = :scope AND name = :name", by, made.scope, made.key); !rows.empty())
      return cache_of(rows.front()).tree == made.tree;
    if (kept.run("UPDATE blob_tree SET cached_at = :now WHERE owner = :owner AND digest = :digest", clock(), by,
                 hex_of(made.tree))
        == 0)
      return false;
    auto all = std::get<0>(
      kept.row<number>("SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM blob_cache WHERE owner = :owner", by)
        .value());
    auto room = static_cast<number>(limit - made.bytes);
    while (all > room) {
      auto rows = cache_rows(kept, "ORDER BY used_at, scope, name LIMIT 100", by);
      for (auto& row : rows) {
        auto oldest = cache_of(row);
        kept.run("DELETE FROM blob_cache WHERE owner = :owner AND scope = :scope AND name = :name", by, oldest.scope,
                 oldest.key);
        all -= static_cast<number>(oldest.bytes);
        if (all <= room)
          break;
      }
      if (rows.empty())
        break;
    }
    kept.run("INSERT INTO blob_cache (owner, scope, name, digest, files, bytes, task, created_at, used_at)"
             " VALUES (:owner, :scope, :name, :digest, :files, :bytes, :task, :created, :used)",
             by, made.scope, made.key, hex_of(made.tree), static_cast<number>(made.files),
             static_cast<number>(made.bytes), made.task, clock(), clock());
    return true;
  });
}

result<std::vector<kept_cache>> sql_blobs::caches(const std::string& owner, const std::string& in_scope,
                                                  const std::optional<kept_cache>& after, std::uint32_t limit) {
  return session_.guarded<std::vector<kept_cache>>([&]() -> result<std::vector<kept_cache>> {
    auto rows = cache_rows(session_.kept(),
                           "AND (:any = '' OR scope = :scope OR (scope >= :from AND scope < :to))"
                           " AND (scope > :behind OR (scope = :same AND name > :name))"
                           " ORDER BY scope, name LIMIT :most",
                           text_of(owner), in_scope, in_scope, in_scope + '/', in_scope + '0',
                           after ? after->scope : std::string{}, after ? after->scope : std::string{},
                           after ? after->key : std::string{}, number{limit});
    std::vector<kept_cache> all;
    all.reserve(rows.size());
    for (auto& row : rows)
      all.push_back(cache_of(row));
    return all;
  });
}

result<bool> sql_blobs::drop_cache(const std::string& owner, const std::string& scope, const std::string& key,
                                   const std::string& tree) {
  return session_.transaction<bool>([&]() -> result<bool> {
    auto only = tree.empty() ? std::string{} : hex_of(tree);
    return session_.kept().run("DELETE FROM blob_cache WHERE owner = :owner AND scope = :scope AND name = :name"
                               " AND (:any = '' OR digest = :digest)",
                               text_of(owner), scope, key, only, only)
        != 0;
  });
}

result<std::uint64_t> sql_blobs::drop_caches(timestamp before) {
  return session_.transaction<std::uint64_t>([&]() -> result<std::uint64_t> {
    return static_cast<std::uint64_t>(
      session_.kept().run("DELETE FROM blob_cache WHERE used_at < :before", number_of(before)));
  });
}

} // namespace davit::store
