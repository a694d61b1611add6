#include "actors/prepared_making.hpp"

#include "actors/crash_point.hpp"
#include "actors/file_transfer_parts.hpp"
#include "actors/prepared_using.hpp"
#include "actors/sandbox_plan.hpp"

#include <algorithm>

namespace davit {

namespace {

using namespace moving;
using role = tree_volume::role;

constexpr auto proof_path = "/davit-proof";

caf::error refused(std::string why) {
  return make_failure(files_errc::refused, std::move(why));
}

/// A container of the image that is never started, with volumes, as long as something is done to them.
class helper_container {
public:
  helper_container(const transfer& with, container_plan plan) : with_(with) {
    auto made = ask<std::string>(with, with.engine, create_atom_v, std::move(plan));
    if (made)
      id_ = std::move(*made);
    else
      trouble_ = std::move(made.error());
  }
  ~helper_container() {
    if (!id_.empty() && with_.engine) // what is left, the sandbox keeper removes
      with_.self->request(with_.engine, caf::infinite, remove_atom_v, id_).receive([] {}, [](const caf::error&) {});
  }
  helper_container(const helper_container&) = delete;
  helper_container& operator=(const helper_container&) = delete;

  const std::string& id() const { return id_; }
  const caf::error& trouble() const { return trouble_; }

private:
  const transfer& with_;
  std::string id_;
  caf::error trouble_;
};

container_plan with_volume(container_plan plan, const std::string& name, const std::string& path, bool empty) {
  mount place;
  place.source = name;
  place.target = path;
  plan.mounts.push_back(place);
  if (empty)
    plan.empty_volumes.push_back(path);
  return plan;
}

caf::expected<void> look_at_room(const transfer& with, const making_order& order) {
  auto status = ask<engine_status>(with, with.engine, ping_atom_v);
  if (!status)
    return status.error();
  const auto& all = with.context->settings.engines;
  auto settings = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.name == order.engine; });
  auto spared = settings == all.end() ? 0 : std::max(settings->min_free_disk.bytes, settings->image_gc_below.bytes);
  if (status->disk_free && *status->disk_free < spared + order.disk)
    return make_failure(engine_errc::failed, "the engine's disk has not enough room");
  return caf::unit;
}

/// Unpacks the tree into the volume, as it would be for a task.
caf::expected<void> unpack(const transfer& with, const making_order& order, const std::string& container) {
  auto status = ask<container_status>(with, with.engine, inspect_atom_v, container);
  if (!status)
    return status.error();
  if (!order.user.empty())
    status->user = order.user;
  for (const auto& [path, name] : status->volumes)
    if (plain_path(path) != order.place.path && is_below(plain_path(path), order.place.path))
      return refused("the image has a volume in it");
  auto who = user_of(with, *status);
  owner_blobs owner{with.context->blobs, catalogue_of(with.self, with.store), order.owner};
  fill_order into;
  into.container = container;
  unpacked_tree done{order.place};
  auto filled = fill_place(with, into, {order.place.tree, order.place.path}, *status, who, owner, done);
  if (filled && !done.plain)
    return refused("the image has a link in its path, or the tree has hard links or long paths");
  return filled;
}

/// Whether the engine can lay an overlay over the tree, and a container sees it.
caf::expected<void> prove(const transfer& with, const making_order& order, const volume_summary& lower) {
  auto overlay = make_overlay(with, order.key, lower, "a proof");
  if (!overlay)
    return overlay.error();
  caf::expected<void> seen = caf::unit;
  {
    helper_container helper{
      with, with_volume(never_started(with.context->settings, order.base), overlay->name, proof_path, true)};
    if (helper.id().empty()) {
      seen = helper.trouble();
    } else if (auto folder = folder_at(with, helper.id(), proof_path); !folder) {
      auto code = engine_code(folder.error());
      seen = code == engine_errc::failed || code == engine_errc::refused ? refused(text_of(folder.error()))
                                                                         : folder.error();
    } else if (!*folder) {
      seen = refused("an overlay of it is not seen");
    }
  }
  remove_volumes(with, {overlay->name, overlay->upper, overlay->work});
  return seen;
}

} // namespace

void remove_prepared(const transfer& with, const std::string& key) {
  auto mark = name_of_volume({role::mark, key, {}});
  remove_volumes(with, {mark});
  auto all = volumes_of_tree(with, key);
  if (!all || std::any_of(all->begin(), all->end(), [&](const auto& one) { return one.name == mark; }))
    return; // another agent has just made it
  std::vector<std::string> names;
  for (const auto& one : *all)
    if (auto read = read_tree_volume(one.name); read && read->is == role::lower)
      names.push_back(one.name);
  remove_volumes(with, names);
}

bool make_room(const transfer& with) {
  const auto& fleet = with.context->settings.fleet;
  auto all = ask<std::vector<volume_summary>>(with, with.engine, volumes_atom_v, list_atom_v,
                                              std::vector{"davit.fleet=" + fleet});
  auto any = false;
  if (all)
    for (const auto& one : *all)
      if (auto read = read_tree_volume(one.name); read && read->is == role::mark) {
        remove_prepared(with, read->key);
        any = true;
      }
  return any;
}

caf::expected<void> make_prepared(const transfer& with, const making_order& order) {
  for (const auto& key : order.instead)
    remove_prepared(with, key);
  auto there = volumes_of_tree(with, order.key);
  if (!there)
    return there.error();
  if (whole_tree(*there, order.key)) // another agent's
    return caf::unit;
  remove_volumes(with, {name_of_volume({role::mark, order.key, {}})}); // of a tree that is gone
  if (auto well = look_at_room(with, order); !well)
    return well.error();
  auto nonce = to_string(uuid::make_v4());
  std::erase(nonce, '-');
  std::map<std::string, std::string> labels{{"davit.fleet", with.context->settings.fleet}, {tree_label, order.key}};
  auto lower = ask<volume_summary>(with, with.engine, volumes_atom_v, create_atom_v,
                                   volume_plan{name_of_volume({role::lower, order.key, nonce}), labels, {}});
  if (!lower)
    return lower.error();
  crash_point("tree volume made");
  auto made = [&]() -> caf::expected<void> {
    // As long as the helper is there, nobody can remove the volume.
    helper_container helper{with, with_volume(never_started(with.context->settings, order.base), lower->name,
                                              order.place.path, order.place.empty)};
    if (helper.id().empty())
      return helper.trouble();
    if (auto unpacked = unpack(with, order, helper.id()); !unpacked)
      return unpacked;
    crash_point("tree unpacked");
    if (auto proven = prove(with, order, *lower); !proven)
      return proven;
    auto all = volumes_of_tree(with, order.key);
    if (!all)
      return all.error();
    // Before the helper was made, somebody may have removed the volume, and the engine may have made another.
    if (std::none_of(all->begin(), all->end(), [&](const auto& one) { return one.name == lower->name; }))
      return make_failure(engine_errc::conflict, "its volume was removed");
    labels[lower_label] = nonce;
    labels[bytes_label] = std::to_string(order.disk);
    auto mark = ask<volume_summary>(with, with.engine, volumes_atom_v, create_atom_v,
                                    volume_plan{name_of_volume({role::mark, order.key, {}}), labels, {}});
    if (!mark)
      return mark.error();
    if (mark->labels != labels)
      return make_failure(engine_errc::conflict, "another agent was faster");
    crash_point("tree marked");
    return caf::unit;
  }();
  if (!made)
    remove_volumes(with, {lower->name});
  return made;
}

} // namespace davit
