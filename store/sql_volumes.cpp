#include "store/sql_volumes.hpp"

#include "policy/volumes.hpp"
#include "store/sql_tasks.hpp"

#include <algorithm>

namespace davit::store {

namespace {

/// Tasks that are looked at for a volume's name. Where more have such a text, one of them counts as having the volume.
constexpr int most_looked_at = 100;

/// Volumes that are judged in one transaction until one may be removed.
constexpr int most_judged = 20;

const std::string this_one = " WHERE engine_id = :engine AND owner = :owner AND name = :name";

} // namespace

/// The database's own: the clocks of agents differ.
number sql_volumes::clock() {
  return std::get<0>(session_.kept().row<number>("SELECT " + session_.how().clock()).value());
}

bool sql_volumes::use(const std::string& engine_id, const std::string& owner, const std::vector<std::string>& names) {
  if (names.empty())
    return true;
  auto now = clock();
  return std::all_of(names.begin(), names.end(), [&](const auto& name) {
    return session_.kept().run("INSERT INTO volume (engine_id, owner, name, used_at, removing_until)"
                               " VALUES (:engine, :owner, :name, :now, 0) ON CONFLICT (engine_id, owner, name)"
                               " DO UPDATE SET used_at = excluded.used_at, removing_until = 0"
                               " WHERE volume.removing_until <= excluded.used_at",
                               engine_id, text_of(owner), text_of(name), now)
        != 0;
  });
}

void sql_volumes::used(const std::string& engine_id, const std::string& owner, const std::vector<std::string>& names) {
  for (const auto& name : names)
    used_.emplace(engine_id, text_of(owner), text_of(name));
}

void sql_volumes::write_last() {
  auto all = std::exchange(used_, {});
  if (all.empty())
    return;
  auto now = clock();
  for (const auto& [engine, owner, name] : all)
    session_.kept().run("INSERT INTO volume (engine_id, owner, name, used_at, removing_until)"
                        " VALUES (:engine, :owner, :name, :now, 0) ON CONFLICT (engine_id, owner, name)"
                        " DO UPDATE SET used_at = excluded.used_at",
                        engine, owner, name, now);
}

/// Volumes that are not known count as used now.
void sql_volumes::add(const std::string& engine_id, const std::vector<volume_key>& seen, number now) {
  if (seen.empty())
    return;
  std::set<std::pair<std::string, std::string>> known;
  for (auto& [owner, name] : session_.kept().rows<std::string, std::string>(
         "SELECT owner, name FROM volume WHERE engine_id = :engine", engine_id))
    known.emplace(std::move(owner), std::move(name));
  for (const auto& one : seen)
    if (!known.contains({text_of(one.owner), text_of(one.name)}))
      session_.kept().run("INSERT INTO volume (engine_id, owner, name, used_at, removing_until)"
                          " VALUES (:engine, :owner, :name, :now, 0) ON CONFLICT (engine_id, owner, name) DO NOTHING",
                          engine_id, text_of(one.owner), text_of(one.name), now);
}

/// Whether an unfinished task of the owner names the volume. Only their specs say it; and this is asked of a volume
/// once in the time for which it must be unused.
bool sql_volumes::wanted(const volume_key& volume) {
  int looked_at = 0;
  for (const auto& part : unfinished)
    for (const auto& [text] : session_.kept().rows<std::string>("SELECT spec FROM task WHERE " + part
                                                                  + " AND owner = :owner AND spec LIKE :text LIMIT "
                                                                  + std::to_string(most_looked_at),
                                                                volume.owner, "%\"" + volume.name + "\"%")) {
      auto names = named_volumes(read_json<task_spec>(text));
      if (++looked_at == most_looked_at || std::find(names.begin(), names.end(), volume.name) != names.end())
        return true;
    }
  return false;
}

result<std::vector<volume_key>>
sql_volumes::take_unused(const std::string& engine_id, duration age, const std::vector<volume_key>& seen) {
  return session_.transaction<std::vector<volume_key>>([&]() -> result<std::vector<volume_key>> {
    auto& kept = session_.kept();
    auto now = clock();
    add(engine_id, seen, now);
    auto before = now - number_of(age);
    for (auto& [owner, name, used_at, removing_until] : kept.rows<std::string, std::string, number, number>(
           "SELECT owner, name, used_at, removing_until FROM volume WHERE engine_id = :engine AND used_at <= :before"
           " AND removing_until <= :now ORDER BY used_at, owner, name LIMIT "
             + std::to_string(most_judged),
           engine_id, before, now)) {
      volume_key volume{std::move(owner), std::move(name)};
      volume_facts facts{read_time(used_at), read_time(removing_until), wanted(volume)};
      switch (judge_volume(facts, read_time(now), age)) {
        case volume_verdict::keep:
          break;
        case volume_verdict::renew:
          kept.run("UPDATE volume SET used_at = :now" + this_one, now, engine_id, volume.owner, volume.name);
          break;
        case volume_verdict::remove:
          // Unless an attempt has come in between, of which this transaction has not known.
          if (kept.run("UPDATE volume SET removing_until = :until" + this_one + " AND used_at <= :before",
                       now + number_of(removal_limit), engine_id, volume.owner, volume.name, before)
              != 0)
            return std::vector{std::move(volume)};
          break;
      }
    }
    return std::vector<volume_key>{};
  });
}

result<void> sql_volumes::removal_ended(const std::string& engine_id, const volume_key& volume, bool gone) {
  return session_.transaction<void>([&]() -> result<void> {
    if (gone)
      session_.kept().run("DELETE FROM volume" + this_one + " AND removing_until > 0", engine_id, volume.owner,
                          volume.name);
    else
      session_.kept().run("UPDATE volume SET used_at = :now, removing_until = 0" + this_one, clock(), engine_id,
                          volume.owner, volume.name);
    return {};
  });
}

} // namespace davit::store
