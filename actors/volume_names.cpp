#include "actors/volume_names.hpp"

#include "encoding/digest.hpp"

#include <algorithm>

namespace davit {

namespace {

constexpr std::string_view prefix = "davit-";
constexpr std::size_t longest_name = 255; ///< A folder of the engine has it.

/// Without dashes, which separate: what is between two of them has one meaning only.
std::string escaped(std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string safe;
  for (char one : text) {
    auto byte = static_cast<unsigned char>(one);
    if ((one >= 'a' && one <= 'z') || (one >= '0' && one <= '9'))
      safe += one;
    else
      safe.append({'_', digits[byte >> 4], digits[byte & 15]});
  }
  return safe;
}

} // namespace

std::string owned_volume(std::string_view fleet, std::string_view owner, std::string_view name) {
  auto whole = std::string{prefix} + escaped(fleet) + '-' + escaped(owner) + '-' + std::string{name};
  return whole.size() <= longest_name ? whole : std::string{prefix} + encoding::sha256_hex(whole);
}

void own_volumes(task_spec& spec, const std::string& fleet, const std::string& owner, const policy& rules) {
  auto profile = spec.profile.value_or(rules.settings().profile);
  for (auto& one : spec.mounts)
    if (one.type == mount_type::volume && !one.source.empty() && !rules.shares_volume(one.source, profile))
      one.source = owned_volume(fleet, owner, one.source);
}

bool is_owned(const mount& one) { // no task may write such a name
  return one.type == mount_type::volume && one.source.starts_with(prefix);
}

std::optional<volume_key> key_of_volume(const volume_summary& volume, const std::string& fleet) {
  auto owner = volume.labels.find("davit.owner");
  if (owner == volume.labels.end())
    return std::nullopt;
  auto begin = owned_volume(fleet, owner->second, "");
  if (!volume.name.starts_with(begin))
    return std::nullopt;
  volume_key key{owner->second, volume.name.substr(begin.size())};
  return is_volume_of(volume, fleet, key) ? std::optional{std::move(key)} : std::nullopt;
}

bool is_volume_of(const volume_summary& volume, const std::string& fleet, const volume_key& key) {
  auto has = [&](const std::pair<const std::string, std::string>& label) {
    auto found = volume.labels.find(label.first);
    return found != volume.labels.end() && found->second == label.second;
  };
  auto labels = volume_labels(fleet, key.owner);
  return !key.name.empty() && std::all_of(labels.begin(), labels.end(), has)
      && volume.name == owned_volume(fleet, key.owner, key.name);
}

std::map<std::string, std::string> volume_labels(const std::string& fleet, const std::string& owner) {
  return {{"davit.fleet", fleet}, {"davit.owner", owner}};
}

} // namespace davit
