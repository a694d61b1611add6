#include "actors/prepared_keeping.hpp"

#include "actors/metrics.hpp"
#include "actors/prepared_making.hpp"
#include "actors/prepared_using.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace davit {

using namespace std::chrono_literals;

namespace {

/// How long a task waits for an engine's word on images and volumes.
constexpr duration look_up_limit{5000};

std::chrono::steady_clock::time_point now() {
  return std::chrono::steady_clock::now();
}

/// Of a tree that was not made for whatever reason, the table hears.
caf::expected<void> make_or_fail(const transfer& with, const making_order& order) {
  try {
    return make_prepared(with, order);
  } catch (const std::exception& e) { // out of memory, for instance
    return make_failure(files_errc::failed, e.what());
  }
}

} // namespace

/// What a task asks.
struct prepared_keeping::question {
  prepared_query query;
  caf::typed_response_promise<prepared_trees> promise;
};

const engine_settings* prepared_keeping::settings_of(const std::string& engine) const {
  const auto& all = context_->settings.engines;
  auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.name == engine; });
  return found == all.end() ? nullptr : &*found;
}

std::uint64_t prepared_keeping::limit(const std::string& engine) const {
  auto settings = settings_of(engine);
  return settings ? settings->prepared_trees.bytes : 0;
}

std::uint64_t prepared_keeping::least_free(const std::string& engine) const {
  auto settings = settings_of(engine);
  return settings ? std::max(settings->min_free_disk.bytes, settings->image_gc_below.bytes) : 0;
}

engine_actor prepared_keeping::actor_of(const std::string& engine) const {
  auto found = handles_.engines.find(engine);
  return found == handles_.engines.end() ? engine_actor{} : found->second;
}

// -- what there is ---------------------------------------------------------------------------------------------------

void prepared_keeping::look() {
  if (context_->settings.private_tasks) // the trees are those of agents that stay
    return;
  for (const auto& [engine, actor] : handles_.engines)
    list(engine, [] {});
}

void prepared_keeping::once_listed(const std::string& engine, std::function<void()> then) {
  if (trees_.listed(engine))
    then();
  else
    list(engine, std::move(then));
}

void prepared_keeping::list(const std::string& engine, std::function<void()> then) {
  auto actor = actor_of(engine);
  if (!actor)
    return then();
  self_->request(actor, look_up_limit, ping_atom_v)
    .then([=, this](const engine_status& status) { list(engine, actor, status.disk_free, then); },
          [then](const caf::error&) { then(); });
}

void prepared_keeping::list(const std::string& engine, const engine_actor& actor, std::optional<std::uint64_t> free,
                            std::function<void()> then) {
  const auto& fleet = context_->settings.fleet;
  self_->request(actor, look_up_limit, volumes_atom_v, list_atom_v, std::vector{"davit.fleet=" + fleet})
    .then(
      [=, this](const std::vector<volume_summary>& all) {
        trees_.list(engine, context_->settings.fleet, all, now());
        auto room = trees_.room(engine, limit(engine), least_free(engine), free);
        for (const auto& key : trees_.over(engine, room, 0))
          remove(engine, key);
        if (auto orphans = trees_.orphans(engine, now()); !orphans.empty())
          begin_(engine, [orphans](const transfer& with) -> std::function<void()> {
            remove_volumes(with, orphans);
            return {};
          });
        then();
      },
      [then](const caf::error&) { then(); });
}

/// What a container uses stays; a later look finds it as nobody's.
void prepared_keeping::remove(const std::string& engine, const std::string& key) {
  trees_.drop(engine, key);
  begin_(engine, [engine, key](const transfer& with) -> std::function<void()> {
    remove_prepared(with, key);
    spdlog::info("removed the tree {} from those that engine {} has ready: there is no room for it", key, engine);
    return {};
  });
}

// -- what tasks ask --------------------------------------------------------------------------------------------------

caf::result<prepared_trees> prepared_keeping::find(const prepared_query& query) {
  if (limit(query.engine) == 0)
    return prepared_trees{};
  auto at = std::make_shared<question>(question{query, self_->make_response_promise<prepared_trees>()});
  once_listed(query.engine, [this, at] { look_up(at); });
  return at->promise;
}

void prepared_keeping::look_up(const std::shared_ptr<question>& at) {
  auto actor = actor_of(at->query.engine);
  if (!actor || !trees_.has_any(at->query.engine))
    return at->promise.deliver(prepared_trees{});
  self_->request(actor, look_up_limit, find_atom_v, at->query.image)
    .then([this, at](const image_info& base) { give(at, base.id); },
          [at](const caf::error&) { at->promise.deliver(prepared_trees{}); });
}

void prepared_keeping::give(const std::shared_ptr<question>& at, const std::string& base) {
  const auto& query = at->query;
  use_order order{query.attempt, base, {}};
  for (const auto& place : query.places) {
    auto key = prepared_key(context_->settings.fleet, query.owner, query.user, base, place);
    if (trees_.has(query.engine, key))
      order.wanted.emplace_back(std::move(key), place.path);
  }
  if (order.wanted.empty())
    return at->promise.deliver(prepared_trees{});
  begin_(query.engine, [this, at, order](const transfer& with) -> std::function<void()> {
    auto used = use_prepared(with, order);
    return [this, at, order, used]() mutable {
      for (const auto& [key, path] : order.wanted)
        trees_.use(at->query.engine, key, now());
      for (const auto& key : used.gone) // somebody has removed it
        trees_.drop(at->query.engine, key);
      at->promise.deliver(std::move(used.ready));
    };
  });
}

void prepared_keeping::release(const attempt_key& attempt, const std::string& engine) {
  if (trees_.has_any(engine))
    begin_(engine, [attempt](const transfer& with) -> std::function<void()> {
      release_prepared(with, attempt);
      return {};
    });
}

// -- making ----------------------------------------------------------------------------------------------------------

void prepared_keeping::unpacked(const fill_order& order, const filled_files& what) {
  for (const auto& tree : what.trees) {
    tree_size size{tree.entries, tree.bytes};
    if (!size.is_large() || limit(order.engine) == 0 || what.image_id.empty())
      continue;
    once_listed(order.engine, [=, this, base = what.image_id] {
      auto key = prepared_key(context_->settings.fleet, order.owner, order.user, base, tree.place);
      if (!trees_.listed(order.engine) || !trees_.unpacked(order.engine, key, now()))
        return;
      if (!tree.plain || size.on_disk() > limit(order.engine))
        trees_.not_made(order.engine, key, now() + prepared_trees_table::for_good);
      else
        make(order, base, tree, key);
    });
  }
}

void prepared_keeping::make(const fill_order& order, const std::string& base, const unpacked_tree& what,
                            const std::string& key) {
  auto disk = tree_size{what.entries, what.bytes}.on_disk();
  making_order wanted{order.engine, order.owner, order.user, base, what.place, key, disk, {}};
  wanted.instead = trees_.over(order.engine, limit(order.engine), disk);
  for (const auto& one : wanted.instead)
    trees_.drop(order.engine, one);
  begin_(order.engine, [this, wanted](const transfer& with) -> std::function<void()> {
    auto begun = now();
    auto made = make_or_fail(with, wanted);
    auto took = std::chrono::duration_cast<duration>(now() - begun);
    return [=, this] {
      const auto& engine = wanted.engine;
      if (made) {
        trees_.made(engine, wanted.key, wanted.disk, now());
        context_->metrics->tree_prepared(wanted.disk);
        spdlog::info("engine {} has the tree {} ready for tasks with {}: {} bytes, made in {}", engine,
                     wanted.place.tree, wanted.place.path, wanted.disk, format_duration(took));
        return;
      }
      auto never = made.error() == files_errc::refused;
      trees_.not_made(engine, wanted.key,
                      now()
                        + (never ? std::chrono::seconds{prepared_trees_table::for_good}
                                 : std::chrono::seconds{prepared_trees_table::retry_after}));
      spdlog::info("engine {} can't have the tree {} ready; it is unpacked each time: {}", engine, wanted.place.tree,
                   text_of(made.error()));
    };
  });
}

} // namespace davit
