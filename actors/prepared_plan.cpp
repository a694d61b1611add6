#include "actors/prepared_plan.hpp"

#include "actors/sandbox_plan.hpp"
#include "blobs/digest.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

namespace davit {

namespace {

constexpr std::size_t key_digits = 32, nonce_digits = 32;
constexpr std::string_view digest_prefix = "sha256:", tree_prefix = "davit-tree.", use_prefix = "davit-use.";
constexpr std::string_view parts_prefix = "/.davit-tree-";

bool touch(std::string_view one, std::string_view other) {
  return is_below(one, other) || is_below(other, one);
}

/// The engine or its runtime mounts something there.
bool is_the_engines(std::string_view path) {
  static constexpr std::array folders{"/dev", "/etc", "/proc", "/run", "/sys", "/var/run"};
  return std::any_of(folders.begin(), folders.end(), [&](std::string_view one) { return touch(path, one); });
}

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string_view word_of(tree_volume::role is) {
  static constexpr std::array<std::string_view, 5> words{"", "", ".tree", ".upper", ".work"};
  return words[static_cast<std::size_t>(is)];
}

std::string_view word_of(tree_part which) {
  static constexpr std::array<std::string_view, 3> words{"/lower", "/upper", "/work"};
  return words[static_cast<std::size_t>(which)];
}

} // namespace

bool is_below(std::string_view path, std::string_view folder) {
  return path == folder || folder == "/" || (path.starts_with(folder) && path[folder.size()] == '/');
}

std::string plain_path(const std::string& path) {
  auto plain = std::filesystem::path{path}.lexically_normal();
  if (plain.has_relative_path() && plain.filename().empty()) // of `/src/`
    plain = plain.parent_path();
  auto text = plain.string();
  return text.starts_with("//") ? text.substr(std::min(text.find_first_not_of('/'), text.size()) - 1) : text;
}

std::vector<tree_place> places_of(const task_spec& spec, const std::vector<used_cache>& caches) {
  // Who could write to what is mounted for reading alone could change what other tasks get; and who can only open it,
  // can keep them waiting (fcntl, F_SETLEASE): so those who are trusted less, who have a scope, share nothing.
  if (!spec.cache_scope.empty() || spec.start != start_mode::automatic || spec.read_only.value_or(false)
      || !spec.userns_mode.empty() || reaches_init(spec) || !spec.devices.empty())
    return {};
  std::vector<std::string> targets;
  for (const auto& one : spec.mounts) {
    targets.push_back(plain_path(one.target));
    if (touch(targets.back(), "/etc")) // whom the user's name means
      return {};
  }
  for (const auto& one : spec.inputs)
    targets.push_back(plain_path(one.path));
  for (const auto& one : spec.caches)
    targets.push_back(plain_path(one.path));
  std::sort(targets.begin(), targets.end());
  std::vector<tree_place> places;
  auto add = [&](const std::string& tree, const std::string& target, bool empty) {
    tree_place place{tree, plain_path(target), empty, {}};
    if (tree.empty() || !place.path.starts_with('/') || place.path == "/" || is_the_engines(place.path)
        || std::count(targets.begin(), targets.end(), place.path) != 1)
      return;
    for (const auto& one : targets)
      if (one != place.path && is_below(one, place.path))
        place.nested.push_back(one.substr(place.path.size() + 1));
    places.push_back(std::move(place));
  };
  for (const auto& one : spec.inputs)
    add(one.tree, one.path, false);
  for (const auto& one : caches)
    add(one.tree, one.path, true);
  return places;
}

container_plan with_prepared(container_plan plan, const prepared_trees& ready) {
  auto add = [&](const std::string& name, std::string target) {
    mount part;
    part.source = name;
    part.target = std::move(target);
    part.read_only = true;
    plan.empty_volumes.push_back(part.target);
    plan.mounts.push_back(std::move(part));
  };
  for (const auto& tree : ready.trees) {
    for (auto& one : plan.mounts)
      if (one.type == mount_type::volume && one.source.empty() && plain_path(one.target) == tree.path) {
        one.source = tree.name;
        plan.empty_volumes.push_back(one.target);
      }
    add(tree.lower, part_path(tree.name, tree_part::lower));
    add(tree.upper, part_path(tree.name, tree_part::upper));
    add(tree.work, part_path(tree.name, tree_part::work));
  }
  return plan;
}

std::string prepared_key(const std::string& fleet, const std::string& owner, const std::string& user,
                         const std::string& image_id, const tree_place& place) {
  std::string all;
  auto add = [&](const std::string& text) { all += std::to_string(text.size()) + ':' + text; };
  for (const auto* one : {&fleet, &owner, &user, &image_id, &place.tree, &place.path})
    add(*one);
  add(place.empty ? "empty" : "");
  for (const auto& one : place.nested)
    add(one);
  return blobs::to_text(blobs::digest_of(all)).substr(digest_prefix.size(), key_digits);
}

std::string name_of_volume(const tree_volume& volume) {
  auto is_shared = volume.is == tree_volume::role::mark || volume.is == tree_volume::role::lower;
  std::string name{is_shared ? tree_prefix : use_prefix};
  name += volume.key;
  if (volume.is != tree_volume::role::mark)
    name.append(".").append(volume.nonce);
  return name.append(word_of(volume.is));
}

std::optional<tree_volume> read_tree_volume(std::string_view name) {
  using enum tree_volume::role;
  for (auto role : {mark, lower, tree, upper, work}) {
    auto prefix = role == mark || role == lower ? tree_prefix : use_prefix;
    auto word = word_of(role);
    if (!name.starts_with(prefix) || !name.ends_with(word))
      continue;
    auto rest = name.substr(prefix.size(), name.size() - prefix.size() - word.size());
    tree_volume volume{role, std::string{rest.substr(0, key_digits)}, {}};
    if (role != mark && rest.size() > key_digits + 1)
      volume.nonce = rest.substr(key_digits + 1);
    if (is_hex(volume.key, key_digits) && (role == mark || is_hex(volume.nonce, nonce_digits))
        && name_of_volume(volume) == name)
      return volume;
  }
  return std::nullopt;
}

std::string part_path(const std::string& overlay, tree_part which) {
  auto read = read_tree_volume(overlay);
  return std::string{parts_prefix}.append(read ? read->nonce : std::string{}).append(word_of(which));
}

std::vector<prepared_tree> prepared_in(const std::map<std::string, std::string>& volumes) {
  std::vector<prepared_tree> trees;
  for (const auto& [path, name] : volumes)
    if (auto read = read_tree_volume(name); read && read->is == tree_volume::role::tree) {
      prepared_tree tree{path, name, {}, {}, {}};
      for (auto role : {tree_volume::role::upper, tree_volume::role::work}) {
        auto part = *read;
        part.is = role;
        (role == tree_volume::role::upper ? tree.upper : tree.work) = name_of_volume(part);
      }
      trees.push_back(std::move(tree));
    }
  for (auto& tree : trees)
    if (auto lower = volumes.find(part_path(tree.name, tree_part::lower)); lower != volumes.end())
      tree.lower = lower->second;
  return trees;
}

} // namespace davit
