// How much of everything a task spec may name. Pure.
#pragma once

#include "policy/profiles.hpp"

#include <cstdint>

namespace davit {

/// What `davit.policy.ceilings` says of a spec's own quantities; those of its container are `resource_limits`. Each is
/// the most that is allowed, of what the spec itself names.
struct spec_ceilings {
  duration stop_timeout = std::chrono::minutes{10};
  duration queue_timeout = std::chrono::hours{30 * 24};
  duration pull_timeout = std::chrono::hours{2};
  std::int64_t priority = 100;
  std::uint32_t attempts = 100;
  duration backoff = std::chrono::hours{1};
  std::uint32_t mounts = 64;
  byte_size mounts_size{64 << 10}; ///< Of their texts, names and values together; also below.
  std::uint32_t env = 1000;        ///< Secrets are variables too.
  byte_size env_size{1 << 20};
  std::uint32_t labels = 100;
  byte_size labels_size{64 << 10};
  std::uint32_t hosts = 100; ///< extra_hosts and dns.
  byte_size hosts_size{16 << 10};
  std::uint32_t entries = 100; ///< Of each other list and object.
};

/// What of the spec is over its ceiling. Rules: `limits.` and the field.
std::vector<violation> check_ceilings(const spec_ceilings& ceilings, const task_spec& spec);

} // namespace davit
