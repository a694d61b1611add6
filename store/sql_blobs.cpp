#include "store/sql_blobs.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <span>

namespace davit::store {

namespace {

/// Rows that one statement names.
constexpr std::size_t most_at_once = 500;

/// Rows that one transaction of a sweep looks at.
constexpr std::size_t sweep_rows = 1000;

/// A digest in the database: 64 hexadecimal digits.
std::string hex(const digest& value) {
  return to_text(value).substr(sizeof "sha256:" - 1);
}

digest read_digest(const std::string& text) {
  auto value = blobs::parse_digest("sha256:" + text);
  if (!value)
    throw std::runtime_error("the database holds \"" + text + "\", which is not a SHA-256");
  return *value;
}

std::vector<digest> each_once(std::vector<digest> all) {
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

/// Calls `each` for pieces of what is there, with the SQL of their list: `('...', '...')`.
template <class Each>
void in_pieces(const std::vector<digest>& all, Each each) {
  for (std::size_t at = 0; at < all.size(); at += most_at_once) {
    std::span piece{all.data() + at, std::min(most_at_once, all.size() - at)};
    std::string list;
    for (const auto& one : piece)
      list += (list.empty() ? "('" : "', '") + hex(one);
    each(piece, list + "')");
  }
}

const std::string of_owner = " WHERE owner = :owner AND digest IN ";

/// The column that says when something was used so.
std::string used_for(blob_purpose purpose) {
  return purpose == blob_purpose::cache ? "cached_at" : "used_at";
}

} // namespace

/// The database's own: the clocks of agents differ.
number sql_blobs::clock() {
  return std::get<0>(session_.kept().row<number>("SELECT " + session_.how().clock()).value());
}

/// Until the transaction's end nobody else uses the owner's blobs, adds or removes any, or asks for its trees. A time
/// of use that was taken before its transaction ended would count for less than it says.
void sql_blobs::lock(const std::string& owner) {
  session_.how().lock(session_.sql(), "blobs of " + owner);
}

/// Whether a pack of the owner is doubted.
bool sql_blobs::has_doubts(const std::string& owner) {
  return session_.kept()
    .row<std::string>("SELECT id FROM blob_pack WHERE owner = :owner AND state = 'doubted' LIMIT 1", text_of(owner))
    .has_value();
}

/// Those that the owner has are used now; answers the others, each once. What lies in a doubted pack is one of these.
std::vector<digest> sql_blobs::touch(const std::string& owner, std::vector<digest> wanted, blob_purpose purpose) {
  std::vector<digest> lacking;
  auto by = text_of(owner);
  lock(by);
  auto use = "UPDATE blob SET " + used_for(purpose) + " = " + std::to_string(clock()) + of_owner;
  auto sound = has_doubts(by)
               ? " AND pack NOT IN (SELECT id FROM blob_pack WHERE owner = " + literal(by) + " AND state = 'doubted')"
               : std::string{};
  in_pieces(each_once(std::move(wanted)), [&](std::span<const digest> piece, const std::string& list) {
    soci::statement update = (session_.sql().prepare << use + list + sound, soci::use(by));
    update.execute(true);
    if (update.get_affected_rows() == static_cast<long long>(piece.size()))
      return;
    std::set<std::string> there;
    for (auto& [text] : session_.kept().rows_once<std::string>("SELECT digest FROM blob" + of_owner + list + sound, by))
      there.insert(std::move(text));
    std::copy_if(piece.begin(), piece.end(), std::back_inserter(lacking),
                 [&](const digest& one) { return !there.contains(hex(one)); });
  });
  return lacking;
}

result<std::vector<digest>>
sql_blobs::missing(const std::string& owner, const std::vector<digest>& wanted, blob_purpose purpose) {
  return session_.transaction<std::vector<digest>>(
    [&]() -> result<std::vector<digest>> { return touch(owner, wanted, purpose); });
}

result<std::vector<blob_place>> sql_blobs::find(const std::string& owner, const std::vector<digest>& wanted) {
  return session_.guarded<std::vector<blob_place>>([&]() -> result<std::vector<blob_place>> {
    std::vector<blob_place> found;
    in_pieces(each_once(wanted), [&](std::span<const digest>, const std::string& list) {
      for (auto& [content, pack, place, size] : session_.kept().rows_once<std::string, std::string, number, number>(
             "SELECT digest, pack, place, size FROM blob" + of_owner + list + " ORDER BY digest", text_of(owner)))
        found.push_back(
          {read_digest(content), std::move(pack), static_cast<std::uint64_t>(place), static_cast<std::uint64_t>(size)});
    });
    return found;
  });
}

// -- packs -----------------------------------------------------------------------------------------------------------

result<void> sql_blobs::begin_pack(const new_pack& pack) {
  return session_.transaction<void>([&]() -> result<void> {
    session_.kept().run("INSERT INTO blob_pack (id, owner, agent, incarnation, state, blobs, begun_at)"
                        " VALUES (:id, :owner, :agent, :incarnation, 'writing', 0, :now) ON CONFLICT (id) DO NOTHING",
                        pack.key, text_of(pack.owner), pack.agent, to_string(pack.incarnation), clock());
    return {};
  });
}

void sql_blobs::insert(const std::string& owner, const std::string& key, const std::vector<blob_place>& content,
                       blob_purpose purpose) {
  const auto now = std::to_string(clock());
  const auto by = "(" + literal(owner) + ", '", in = "', " + literal(key) + ", ",
             used = purpose == blob_purpose::cache ? ", 0, " + now + ")" : ", " + now + ", 0)";
  for (std::size_t at = 0; at < content.size(); at += most_at_once) {
    std::string rows;
    for (auto i = at; i < std::min(at + most_at_once, content.size()); ++i)
      rows += (rows.empty() ? "" : ", ") + by + hex(content[i].content) + in + std::to_string(content[i].offset) + ", "
            + std::to_string(content[i].size) + used;
    session_.sql() << "INSERT INTO blob (owner, digest, pack, place, size, used_at, cached_at) VALUES " + rows;
  }
}

/// So many of each one's blobs are gone.
void sql_blobs::take_from_packs(const std::map<std::string, number>& counts) {
  for (const auto& [pack, count] : counts)
    session_.kept().run("UPDATE blob_pack SET blobs = blobs - :count WHERE id = :id", count, pack);
}

result<void> sql_blobs::end_pack(const std::string& key, const std::vector<blob_place>& content, std::uint64_t quota,
                                 blob_purpose purpose) {
  return session_.transaction<void>([&]() -> result<void> {
    auto& kept = session_.kept();
    auto pack = kept.row<std::string, std::string>("SELECT owner, state FROM blob_pack WHERE id = :id", key);
    if (pack && (std::get<1>(*pack) == "there" || std::get<1>(*pack) == "doubted")) // its answer was lost
      return {};
    if (!pack || std::get<1>(*pack) != "writing")
      return error{errc::conflict, "the upload was given up meanwhile; begin it again"};
    const auto& owner = std::get<0>(*pack);
    std::map<digest, blob_place> given;
    std::vector<digest> names;
    for (const auto& one : content)
      if (given.emplace(one.content, one).second)
        names.push_back(one.content);
    std::vector<blob_place> added;
    number bytes = 0;
    auto lacking = touch(owner, std::move(names), purpose);
    for (const auto& one : lacking) {
      added.push_back(given.at(one));
      bytes += static_cast<number>(added.back().size);
    }
    auto count = static_cast<number>(added.size());
    std::map<std::string, number> replaced; // of each doubted pack
    if (has_doubts(owner))
      in_pieces(lacking, [&](std::span<const digest>, const std::string& list) {
        for (auto& [from, size] :
             kept.rows_once<std::string, number>("SELECT pack, size FROM blob" + of_owner + list, owner)) {
          ++replaced[from];
          bytes -= size;
          --count;
        }
      });
    auto before = kept.row<number>("SELECT bytes FROM blob_owner WHERE name = :name", owner);
    auto all = static_cast<std::uint64_t>(bytes + (before ? std::get<0>(*before) : 0));
    if (bytes > 0 && all > quota)
      return error{errc::over_quota, "with these files " + owner + " would have " + std::to_string(all) + " bytes of "
                                       + std::to_string(quota) + " that it may have"};
    if (!replaced.empty())
      in_pieces(lacking, [&](std::span<const digest>, const std::string& list) {
        session_.sql() << "DELETE FROM blob WHERE owner = " + literal(owner) + " AND digest IN " + list;
      });
    take_from_packs(replaced);
    insert(owner, key, added, purpose);
    auto own = static_cast<number>(added.size());
    if (kept.run("UPDATE blob_pack SET state = 'there', blobs = :blobs WHERE id = :id AND state = 'writing'", own, key)
        == 0)
      throw std::runtime_error("the upload was given up meanwhile; begin it again");
    kept.run("INSERT INTO blob_owner (name, bytes, blobs) VALUES (:name, :bytes, :blobs) ON CONFLICT (name)"
             " DO UPDATE SET bytes = blob_owner.bytes + excluded.bytes, blobs = blob_owner.blobs + excluded.blobs",
             owner, bytes, count);
    return {};
  });
}

result<void> sql_blobs::doubt_pack(const std::string& key) {
  return session_.transaction<void>([&]() -> result<void> {
    auto& kept = session_.kept();
    auto pack = kept.row<std::string>("SELECT owner FROM blob_pack WHERE id = :id AND state = 'there'", key);
    if (!pack)
      return {};
    lock(std::get<0>(*pack)); // whoever was told that its blobs are there has been told before this
    kept.run("UPDATE blob_pack SET state = 'doubted' WHERE id = :id AND state = 'there' AND blobs > 0", key);
    return {};
  });
}

result<void> sql_blobs::abandon_pack(const std::string& key) {
  return session_.transaction<void>([&]() -> result<void> {
    session_.kept().run("UPDATE blob_pack SET state = 'removing' WHERE id = :id AND state = 'writing'", key);
    return {};
  });
}

result<void> sql_blobs::abandon_packs_of(const std::string& agent, uuid incarnation, timestamp before) {
  return session_.transaction<void>([&]() -> result<void> {
    session_.kept().run("UPDATE blob_pack SET state = 'removing' WHERE state = 'writing' AND ((agent = :agent"
                        " AND incarnation <> :incarnation) OR begun_at < :before)",
                        agent, to_string(incarnation), number_of(before));
    return {};
  });
}

// -- trees -----------------------------------------------------------------------------------------------------------

result<std::vector<digest>> sql_blobs::keep_tree(const std::string& owner, const digest& tree,
                                                 const std::vector<digest>& content, blob_purpose purpose) {
  return session_.transaction<std::vector<digest>>([&]() -> result<std::vector<digest>> {
    auto& kept = session_.kept();
    auto by = text_of(owner), used = used_for(purpose);
    // What a tree names is there as long as the tree is; whether it can be read is another question.
    if (!has_doubts(by)
        && kept.run("UPDATE blob_tree SET " + used + " = :now WHERE owner = :owner AND digest = :digest AND lost = 0",
                    clock(), by, hex(tree))
             != 0)
      return std::vector<digest>{};
    auto all = content;
    all.push_back(tree);
    auto lacking = touch(by, std::move(all), purpose); // the sweeper leaves them alone now, whatever it has seen
    if (lacking.empty())
      kept.run("INSERT INTO blob_tree (owner, digest, used_at, cached_at) VALUES (:owner, :digest, :used, :cached)"
               " ON CONFLICT (owner, digest) DO UPDATE SET lost = 0, "
                 + used + " = excluded." + used,
               by, hex(tree), purpose == blob_purpose::task ? clock() : 0,
               purpose == blob_purpose::cache ? clock() : 0);
    return lacking;
  });
}

result<bool> sql_blobs::use_tree(const std::string& owner, const digest& tree, task_id task) {
  return session_.transaction<bool>([&]() -> result<bool> { return use(owner, tree, task); });
}

bool sql_blobs::use(const std::string& owner, const digest& tree, task_id task) {
  auto& kept = session_.kept();
  if (kept.run("UPDATE blob_tree SET used_at = :now WHERE owner = :owner AND digest = :digest AND lost = 0", clock(),
               text_of(owner), hex(tree))
      == 0)
    return false;
  kept.run("INSERT INTO blob_use (task, owner, digest) VALUES (:task, :owner, :digest)"
           " ON CONFLICT (task, owner, digest) DO NOTHING",
           to_string(task), text_of(owner), hex(tree));
  return true;
}

void sql_blobs::forget_uses(task_id task) {
  session_.kept().run("DELETE FROM blob_use WHERE task = :task", to_string(task));
}

result<bool> sql_blobs::lose_tree(const std::string& owner, const digest& tree) {
  return session_.transaction<bool>([&]() -> result<bool> {
    auto by = text_of(owner);
    lock(by); // its manifest may be being sent
    return session_.kept().run("UPDATE blob_tree SET lost = 1 WHERE owner = :owner AND digest = :digest AND lost = 0"
                               " AND NOT EXISTS (SELECT 1 FROM blob b JOIN blob_pack p ON p.id = b.pack"
                               " WHERE b.owner = blob_tree.owner AND b.digest = blob_tree.digest"
                               " AND p.state = 'there')",
                               by, hex(tree))
        != 0;
  });
}

result<std::uint64_t> sql_blobs::drop_trees(const sweep_bounds& before) {
  return session_.transaction<std::uint64_t>([&]() -> result<std::uint64_t> {
    auto& kept = session_.kept();
    const std::string unused
      = " AND NOT EXISTS (SELECT 1 FROM blob_use u WHERE u.owner = blob_tree.owner AND u.digest = blob_tree.digest)"
        " AND NOT EXISTS (SELECT 1 FROM blob_cache c WHERE c.owner = blob_tree.owner AND c.digest = blob_tree.digest)";
    auto rows = kept.rows<std::string, std::string>(
      "SELECT owner, digest FROM blob_tree WHERE used_at < :before AND cached_at < :cached" + unused
        + session_.how().claim_lock(),
      number_of(before.task), number_of(before.cache));
    std::uint64_t dropped = 0;
    for (auto& [owner, tree] : rows) // by now nobody else begins to use it; whoever had begun is seen here
      dropped += static_cast<std::uint64_t>(kept.run(
        "DELETE FROM blob_tree WHERE owner = :owner AND digest = :digest" + unused, std::move(owner), std::move(tree)));
    return dropped;
  });
}

result<std::vector<digest>> sql_blobs::trees(const std::string& owner) {
  return session_.transaction<std::vector<digest>>([&]() -> result<std::vector<digest>> {
    std::vector<digest> all;
    auto by = text_of(owner);
    lock(by); // behind every tree whose blobs were used before this
    for (auto& [text] : session_.kept().rows<std::string>("SELECT digest FROM blob_tree WHERE owner = :owner", by))
      all.push_back(read_digest(text));
    return all;
  });
}

result<std::vector<owner_usage>> sql_blobs::usage() {
  return session_.guarded<std::vector<owner_usage>>([&]() -> result<std::vector<owner_usage>> {
    std::vector<owner_usage> all;
    for (auto& [name, bytes, blobs] : session_.kept().rows<std::string, number, number>(
           "SELECT name, bytes, blobs FROM blob_owner WHERE blobs > 0 ORDER BY name"))
      all.push_back({std::move(name), static_cast<std::uint64_t>(bytes), static_cast<std::uint64_t>(blobs)});
    for (auto& [name] :
         session_.kept().rows<std::string>("SELECT DISTINCT owner FROM blob_pack WHERE state = 'doubted'")) {
      auto lost = std::get<0>(
        session_.kept()
          .row<number>("SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blob WHERE owner = :owner"
                       " AND pack IN (SELECT id FROM blob_pack WHERE owner = :same AND state = 'doubted')",
                       name, name)
          .value());
      for (auto& one : all)
        if (one.owner == name)
          one.lost_bytes = static_cast<std::uint64_t>(lost);
    }
    return all;
  });
}

// -- sweeping --------------------------------------------------------------------------------------------------------

result<timestamp> sql_blobs::unused_since(duration age) {
  return session_.guarded<timestamp>([&]() -> result<timestamp> { return read_time(clock() - number_of(age)); });
}

result<sweep_page> sql_blobs::sweep(const std::string& owner, std::optional<digest> from, const sweep_bounds& before,
                                    const std::function<bool(const digest&)>& is_live) {
  return session_.transaction<sweep_page>([&]() -> result<sweep_page> {
    auto& kept = session_.kept();
    auto by = text_of(owner);
    lock(by);
    auto rows = kept.rows<std::string, std::string, number, number, number>(
      "SELECT digest, pack, size, used_at, cached_at FROM blob WHERE owner = :owner AND digest >= :from"
      " ORDER BY digest LIMIT "
        + std::to_string(sweep_rows + 1),
      by, from ? hex(*from) : std::string{});
    sweep_page page;
    if (rows.size() > sweep_rows) {
      page.next = read_digest(std::get<0>(rows.back()));
      rows.pop_back();
    }
    std::map<std::string, number> gone; // of each pack
    const auto task = number_of(before.task), cache = number_of(before.cache);
    for (auto& [text, pack, size, used_at, cached_at] : rows) {
      if (used_at >= task || cached_at >= cache || is_live(read_digest(text)))
        continue;
      // Unless somebody has used it since it was read.
      if (kept.run("DELETE FROM blob WHERE owner = :owner AND digest = :digest AND used_at < :before"
                   " AND cached_at < :cached",
                   by, text, task, cache)
          == 0)
        continue;
      ++gone[pack];
      ++page.removed;
      page.bytes += static_cast<std::uint64_t>(size);
    }
    take_from_packs(gone);
    if (page.removed > 0)
      kept.run("UPDATE blob_owner SET bytes = bytes - :bytes, blobs = blobs - :blobs WHERE name = :name",
               static_cast<number>(page.bytes), static_cast<number>(page.removed), by);
    return page;
  });
}

result<std::vector<std::string>> sql_blobs::packs_to_remove(std::uint32_t limit) {
  return session_.transaction<std::vector<std::string>>([&]() -> result<std::vector<std::string>> {
    auto& kept = session_.kept();
    kept.run("UPDATE blob_pack SET state = 'removing' WHERE state IN ('there', 'doubted') AND blobs = 0");
    std::vector<std::string> all;
    for (auto& [id] : kept.rows<std::string>(
           "SELECT id FROM blob_pack WHERE state = 'removing' ORDER BY id LIMIT :limit", static_cast<number>(limit)))
      all.push_back(std::move(id));
    return all;
  });
}

result<void> sql_blobs::pack_removed(const std::string& key) {
  return session_.transaction<void>([&]() -> result<void> {
    session_.kept().run("DELETE FROM blob_pack WHERE id = :id AND state = 'removing'", key);
    return {};
  });
}

} // namespace davit::store
