#include "policy/volumes.hpp"

#include <set>

namespace davit {

std::vector<std::string> named_volumes(const task_spec& spec) {
  std::set<std::string> names;
  for (const auto& one : spec.mounts)
    if (one.type == mount_type::volume && !one.source.empty())
      names.insert(one.source);
  return {names.begin(), names.end()};
}

volume_verdict judge_volume(const volume_facts& facts, timestamp now, duration age) {
  if (age.count() <= 0 || facts.removing_until > now || now - facts.used_at < age)
    return volume_verdict::keep;
  return facts.wanted ? volume_verdict::renew : volume_verdict::remove;
}

} // namespace davit
