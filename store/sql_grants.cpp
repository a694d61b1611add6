#include "store/sql_grants.hpp"

#include "policy/image_reference.hpp"
#include "store/sql_values.hpp"

namespace davit::store {

namespace {

const std::string everybody;

/// As it is written down: no owner's name is `everybody`.
std::string owner_text(const image_grant& of) {
  return "=" + of.owner;
}

} // namespace

result<bool> sql_grants::may_use(const image_grant& wanted) {
  return session_.guarded<bool>([&]() -> result<bool> {
    if (wanted.image_id.empty())
      return may_use_any(wanted);
    return may_use_one(wanted);
  });
}

bool sql_grants::may_use_any(const image_grant& wanted) {
  if (is_image_id(wanted.image)) // is of no repository
    return false;
  auto repository = repository_of(wanted.image);
  auto [others]
    = session_.kept()
        .row<number>("SELECT COUNT(*) FROM image_grant WHERE engine_id = :engine AND repository = :repository"
                     " AND owner <> :everybody AND owner <> :owner",
                     wanted.engine_id, repository, everybody, owner_text(wanted))
        .value();
  auto [pulls]
    = session_.kept()
        .row<number>("SELECT COUNT(*) FROM image_pull WHERE engine_id = :engine AND repository = :repository",
                     wanted.engine_id, repository)
        .value();
  return others == 0 && pulls == 0;
}

bool sql_grants::may_use_one(const image_grant& wanted) {
  auto known = session_.kept().rows<std::string, std::string>(
    "SELECT owner, repository FROM image_grant WHERE engine_id = :engine AND image_id = :id", wanted.engine_id,
    wanted.image_id);
  auto repository = repository_of(wanted.image);
  auto named = false;
  for (const auto& [owner, of] : known) {
    if (of != repository && !repository.empty())
      continue;
    if (owner == everybody || owner == owner_text(wanted))
      return true;
    named = true;
  }
  return !named && !is_being_pulled(wanted);
}

/// Whether the image, which nothing is known of, may have come by a pull that is not known to have ended: under the
/// name that was pulled, or by its digest.
bool sql_grants::is_being_pulled(const image_grant& wanted) {
  auto repository = repository_of(wanted.image);
  auto by_name = wanted.image.find('@') == std::string::npos;
  for (const auto& [of, image] : session_.kept().rows<std::string, std::string>(
         "SELECT repository, image FROM image_pull WHERE engine_id = :engine", wanted.engine_id))
    if (repository.empty() || (of == repository && (!by_name || image == wanted.image)))
      return true;
  return false;
}

result<void> sql_grants::pull(const image_grant& what, pull_stage stage) {
  return session_.transaction<void>([&]() -> result<void> {
    auto repository = repository_of(what.image);
    switch (stage) {
      case pull_stage::begun:
        // What is there already did not come by this pull: it stays every owner's.
        if (!what.image_id.empty()
            && session_.kept()
                 .rows<std::string>("SELECT owner FROM image_grant WHERE engine_id = :engine AND repository = "
                                    ":repository AND image_id = :id",
                                    what.engine_id, repository, what.image_id)
                 .empty()
            && !is_being_pulled(what))
          write(what, everybody);
        session_.kept().run("INSERT INTO image_pull (engine_id, repository, image, attempt, at)"
                            " VALUES (:engine, :repository, :image, :attempt, :now)"
                            " ON CONFLICT (engine_id, repository, image, attempt) DO UPDATE SET at = excluded.at",
                            what.engine_id, repository, what.image, what.attempt, now_number());
        return {};
      case pull_stage::done:
        write(what, what.own ? owner_text(what) : everybody);
        break;
      case pull_stage::failed:
        break;
    }
    session_.kept().run("DELETE FROM image_pull WHERE engine_id = :engine AND repository = :repository"
                        " AND image = :image AND attempt = :attempt",
                        what.engine_id, repository, what.image, what.attempt);
    return {};
  });
}

void sql_grants::write(const image_grant& what, const std::string& owner) {
  session_.kept().run("INSERT INTO image_grant (engine_id, repository, image_id, owner, at)"
                      " VALUES (:engine, :repository, :id, :owner, :now)"
                      " ON CONFLICT (engine_id, repository, image_id, owner) DO UPDATE SET at = excluded.at",
                      what.engine_id, repository_of(what.image), what.image_id, owner, now_number());
}

result<bool> sql_grants::any() {
  return session_.guarded<bool>([&]() -> result<bool> {
    auto [grants] = session_.kept().row<number>("SELECT COUNT(*) FROM image_grant").value();
    auto [pulls] = session_.kept().row<number>("SELECT COUNT(*) FROM image_pull").value();
    return grants + pulls != 0;
  });
}

} // namespace davit::store
