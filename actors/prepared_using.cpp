#include "actors/prepared_using.hpp"

#include "actors/container_plan.hpp"
#include "actors/crash_point.hpp"
#include "actors/file_transfer_parts.hpp"
#include "blobs/tar_header.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace davit {

namespace {

using namespace moving;
using role = tree_volume::role;

/// What a look at a folder needs of its archive: the first entry, whose name may be long.
constexpr std::size_t entry_bytes = 64 << 10;

caf::error unprepared(const std::string& path, const std::string& why) {
  return make_failure(files_errc::unprepared, "what the engine had ready for " + path + " can't be used: " + why);
}

std::string label_of(const volume_summary& volume, const char* name) {
  auto found = volume.labels.find(name);
  return found == volume.labels.end() ? std::string{} : found->second;
}

/// Whether there is a volume that davit has made under this name.
const volume_summary* find_volume(const std::vector<volume_summary>& all, const std::string& name) {
  auto read = read_tree_volume(name);
  auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.name == name; });
  return read && found != all.end() && label_of(*found, tree_label) == read->key ? &*found : nullptr;
}

/// The engine is in trouble, whatever it was asked.
bool is_of_engine(const caf::error& e) {
  auto code = engine_code(e);
  return e.category() != caf::type_id_v<files_errc> && code != engine_errc::refused && code != engine_errc::failed;
}

/// Gives the folder at a path the owner and mode of another.
caf::expected<void> dress(const transfer& with, const fill_order& order, const std::string& container,
                          const std::string& path, const encoding::archive_folder& as) {
  auto put = [&](const std::string& into, const std::string& name) {
    blobs::tar_header header;
    header.path = name;
    header.type = '5';
    header.mode = static_cast<std::uint16_t>(as.mode);
    header.user = as.user;
    header.group = as.group;
    header.modified.seconds = as.modified;
    auto tar = blobs::tar_blocks(header) + std::string(2 * blobs::tar_block, '\0');
    stream to{with};
    return to.run(
      [&] {
        if (to.channel().push(std::move(tar)))
          to.channel().end();
      },
      files_atom_v, fill_atom_v, order.attempt, container, into);
  };
  auto done = put("/", path.substr(1) + '/');
  // It takes no folder in place of a link: where the image has one, the volume is behind it.
  if (!done && text_of(done.error()).find("non-directory") != std::string::npos)
    done = put(path, "./");
  return done;
}

/// What of an overlay's options would mean something else.
bool is_plain(const std::string& path) {
  return !path.empty() && path.find_first_of(",:\\ \n") == std::string::npos;
}

} // namespace

caf::expected<std::optional<encoding::archive_folder>>
folder_at(const transfer& with, const std::string& container, const std::string& path) {
  std::string beginning;
  auto enough = false;
  stream from{with};
  auto move = [&] {
    while (!enough) {
      auto piece = from.channel().pop();
      if (!piece || piece->empty())
        return;
      beginning += *piece;
      enough = beginning.size() >= entry_bytes;
    }
    from.channel().fail({engine_errc::cancelled, 0, "only its beginning is of interest"});
  };
  auto answer = from.run(move, files_atom_v, collect_atom_v, attempt_key{}, container, path);
  if (!answer && !enough) {
    if (answer.error() == engine_errc::not_found)
      return std::optional<encoding::archive_folder>{};
    return answer.error();
  }
  auto folder = encoding::first_folder(beginning);
  if (!folder)
    return make_failure(files_errc::refused, path + " is not a folder");
  return folder;
}

caf::expected<std::vector<volume_summary>> volumes_of_tree(const transfer& with, const std::string& key) {
  return ask<std::vector<volume_summary>>(
    with, with.engine, volumes_atom_v, list_atom_v,
    std::vector{"davit.fleet=" + with.context->settings.fleet, std::string{tree_label}.append("=").append(key)});
}

const volume_summary* whole_tree(const std::vector<volume_summary>& all, const std::string& key) {
  auto mark = find_volume(all, name_of_volume({role::mark, key, {}}));
  return mark ? find_volume(all, name_of_volume({role::lower, key, label_of(*mark, lower_label)})) : nullptr;
}

void remove_volumes(const transfer& with, const std::vector<std::string>& names) {
  for (const auto& name : names)
    if (auto removed = ask<bool>(with, with.engine, volumes_atom_v, remove_atom_v, name); !removed)
      spdlog::debug("the volume {} can't be removed now: {}", name, text_of(removed.error()));
}

caf::expected<prepared_tree>
make_overlay(const transfer& with, const std::string& key, const volume_summary& lower, const std::string& used_by) {
  auto nonce = uuid::make_v4();
  auto digits = to_string(nonce);
  std::erase(digits, '-');
  tree_volume volume{role::tree, key, digits};
  prepared_tree made;
  made.lower = lower.name;
  std::vector<std::string> there;
  auto make = [&](role is, std::map<std::string, std::string> options) {
    volume.is = is;
    volume_plan plan{name_of_volume(volume),
                     {{"davit.fleet", with.context->settings.fleet}, {tree_label, key}, {user_label, used_by}},
                     std::move(options)};
    there.insert(there.begin(), plan.name);
    return ask<volume_summary>(with, with.engine, volumes_atom_v, create_atom_v, plan);
  };
  auto fail = [&](caf::error why) {
    remove_volumes(with, there);
    return why;
  };
  auto upper = make(role::upper, {});
  if (!upper)
    return fail(upper.error());
  auto work = make(role::work, {});
  if (!work)
    return fail(work.error());
  if (!is_plain(lower.mountpoint) || !is_plain(upper->mountpoint) || !is_plain(work->mountpoint))
    return fail(make_failure(files_errc::refused, "the engine keeps its volumes in a folder with an odd name"));
  // A folder can be renamed, as in any file system. With index=on a file would keep its other names when it is written
  // to; but an engine that was restarted beside its containers (live-restore) could not mount the overlay once more.
  auto tree = make(role::tree, {{"type", "overlay"},
                                {"device", "overlay"},
                                {"o", "lowerdir=" + lower.mountpoint + ",upperdir=" + upper->mountpoint
                                        + ",workdir=" + work->mountpoint + ",redirect_dir=on,index=off"}});
  if (!tree)
    return fail(tree.error());
  made.name = tree->name;
  made.upper = upper->name;
  made.work = work->name;
  return made;
}

used_trees use_prepared(const transfer& with, const use_order& order) {
  used_trees all;
  all.ready.base = order.base;
  for (const auto& [key, path] : order.wanted) {
    auto volumes = volumes_of_tree(with, key);
    if (!volumes)
      continue;
    auto lower = whole_tree(*volumes, key);
    if (!lower) {
      all.gone.push_back(key);
      continue;
    }
    auto made = make_overlay(with, key, *lower, container_name(order.attempt));
    if (!made)
      continue;
    crash_point("overlay made");
    made->path = path;
    all.ready.trees.push_back(std::move(*made));
  }
  return all;
}

void release_prepared(const transfer& with, const attempt_key& attempt) {
  auto label = std::string{user_label} + "=" + container_name(attempt);
  auto all
    = ask<std::vector<volume_summary>>(with, with.engine, volumes_atom_v, list_atom_v,
                                       std::vector{"davit.fleet=" + with.context->settings.fleet, std::move(label)});
  if (!all)
    return; // they are found later, as nobody's
  std::vector<std::string> names;
  for (const auto& one : *all)
    if (auto read = read_tree_volume(one.name))
      names.insert(read->is == role::tree ? names.begin() : names.end(), one.name);
  remove_volumes(with, names);
}

caf::expected<std::vector<std::string>>
take_prepared(const transfer& with, const fill_order& order, const container_status& container) {
  std::vector<std::string> paths;
  for (const auto& tree : prepared_in(container.volumes)) {
    auto path = plain_path(tree.path);
    auto place
      = std::find_if(order.places.begin(), order.places.end(), [&](const auto& one) { return one.path == path; });
    auto key = read_tree_volume(tree.name)->key;
    if (place == order.places.end()
        || key != prepared_key(with.context->settings.fleet, order.owner, order.user, container.image_id, *place))
      return unprepared(path, "it is another tree's");
    auto volumes = volumes_of_tree(with, key);
    if (!volumes)
      return volumes.error();
    // Somebody may have removed one before the container was made; then the engine has made an empty one.
    auto overlay = find_volume(*volumes, tree.name);
    if (!overlay || overlay->type != "overlay" || !find_volume(*volumes, tree.lower)
        || !find_volume(*volumes, tree.upper) || !find_volume(*volumes, tree.work))
      return unprepared(path, "a volume was removed");
    auto lower_at = std::find_if(container.volumes.begin(), container.volumes.end(),
                                 [&](const auto& one) { return one.second == tree.lower; });
    auto folder = folder_at(with, container.id, lower_at->first);
    if (!folder && is_of_engine(folder.error()))
      return folder.error();
    if (!folder || !*folder)
      return unprepared(path, "its folder can't be read");
    auto dressed = dress(with, order, container.id, path, **folder);
    if (!dressed && is_of_engine(dressed.error()))
      return dressed.error();
    if (!dressed)
      return unprepared(path, "its folder can't be given its owner");
    crash_point("overlay taken");
    paths.push_back(path);
  }
  return paths;
}

} // namespace davit
