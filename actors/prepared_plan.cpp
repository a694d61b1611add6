#include "actors/prepared_plan.hpp"

#include "blobs/digest.hpp"
#include "policy/image_reference.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

namespace davit {

namespace {

constexpr std::size_t key_digits = 32, digest_digits = 64;
constexpr std::string_view digest_prefix = "sha256:";

bool is_below(std::string_view path, std::string_view folder) {
  return path == folder || folder == "/" || (path.starts_with(folder) && path[folder.size()] == '/');
}

bool touch(std::string_view one, std::string_view other) {
  return is_below(one, other) || is_below(other, one);
}

/// The engine or its runtime mounts something there.
bool is_the_engines(std::string_view path) {
  static constexpr std::array folders{"/dev", "/etc", "/proc", "/run", "/sys", "/var/run"};
  return std::any_of(folders.begin(), folders.end(), [&](std::string_view one) { return touch(path, one); });
}

std::string hex_of(std::string_view text, std::size_t digits) {
  return blobs::to_text(blobs::digest_of(text)).substr(digest_prefix.size(), digits);
}

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

} // namespace

std::string plain_path(const std::string& path) {
  auto plain = std::filesystem::path{path}.lexically_normal();
  if (plain.has_relative_path() && plain.filename().empty()) // of `/src/`
    plain = plain.parent_path();
  auto text = plain.string();
  return text.starts_with("//") ? text.substr(std::min(text.find_first_not_of('/'), text.size()) - 1) : text;
}

bool may_be_prepared(const task_spec& spec) {
  if (spec.inputs.empty() || !spec.caches.empty() || spec.start != start_mode::automatic
      || spec.read_only.value_or(false) || !spec.userns_mode.empty())
    return false;
  std::vector<std::string> paths;
  for (const auto& one : spec.inputs) {
    auto path = plain_path(one.path);
    if (!path.starts_with('/') || path == "/" || is_the_engines(path)
        || std::any_of(paths.begin(), paths.end(), [&](const auto& other) { return touch(path, other); }))
      return false;
    paths.push_back(std::move(path));
  }
  return std::none_of(spec.mounts.begin(), spec.mounts.end(), [&](const mount& one) {
    auto target = plain_path(one.target);
    return touch(target, "/etc") // whom the user's name means
        || std::any_of(paths.begin(), paths.end(), [&](const auto& path) { return touch(path, target); });
  });
}

bool keeps_clear_of(const std::set<std::string>& volumes, const std::vector<task_input>& inputs) {
  return std::none_of(volumes.begin(), volumes.end(), [&](const auto& volume) {
    return std::any_of(inputs.begin(), inputs.end(),
                       [&](const auto& one) { return touch(plain_path(one.path), plain_path(volume)); });
  });
}

container_plan with_prepared(container_plan plan, const task_spec& spec, const prepared_image& image) {
  plan.image = image.name;
  plan.labels[prepared_label] = image.base;
  std::erase_if(plan.mounts, [&](const mount& one) {
    return one.type == mount_type::volume && one.source.empty()
        && std::any_of(spec.inputs.begin(), spec.inputs.end(),
                       [&](const auto& input) { return input.path == one.target; });
  });
  return plan;
}

std::string prepared_repository(std::string_view fleet) {
  std::string name{reserved_registry};
  return name.append("prepared/").append(hex_of(fleet, key_digits));
}

std::string prepared_key(const std::string& owner, const std::string& user, const std::vector<task_input>& inputs) {
  std::string all;
  auto add = [&](const std::string& text) { all += std::to_string(text.size()) + ':' + text; };
  add(owner);
  add(user);
  for (const auto& one : inputs) {
    add(one.tree);
    add(plain_path(one.path));
  }
  return hex_of(all, key_digits);
}

std::string prepared_tag(std::string_view base_id, std::string_view key) {
  if (base_id.starts_with(digest_prefix))
    base_id.remove_prefix(digest_prefix.size());
  return std::string{base_id}.append("-").append(key);
}

std::optional<std::pair<std::string, std::string>> read_prepared_tag(std::string_view tag) {
  if (tag.size() != digest_digits + 1 + key_digits || tag[digest_digits] != '-' || !is_hex(tag.substr(0, digest_digits))
      || !is_hex(tag.substr(digest_digits + 1)))
    return std::nullopt;
  return std::pair{std::string{digest_prefix}.append(tag.substr(0, digest_digits)),
                   std::string{tag.substr(digest_digits + 1)}};
}

} // namespace davit
