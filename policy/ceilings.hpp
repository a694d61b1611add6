// How much of everything a task spec may name. Pure.
#pragma once

#include "messages/ceilings.hpp"
#include "policy/profiles.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

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

/// Where ceilings come from that are not those of `davit.policy.ceilings`: `the token ci`. By their names.
using ceiling_origins = std::map<std::string, std::string, std::less<>>;

/// All ceilings that hold for a task.
struct ceilings_in_force {
  resource_limits resources;       ///< What is not set has none.
  std::optional<duration> timeout; ///< None: there is none.
  spec_ceilings quantities;
  ceiling_origins origins;

  /// Puts these in place of what is there.
  void replace(const named_ceilings& by, const std::string& origin);
  /// Puts those in place that are lower than what is there.
  void lower(const named_ceilings& to, const std::string& origin);

  /// Behind a refusal: who has set the ceiling; empty: `davit.policy.ceilings`.
  std::string told(std::string_view name) const;
};

/// What a caller's tasks are held to beside the policy. It only takes away.
struct caller_limits {
  std::string whose; ///< `the token ci`
  named_ceilings ceilings;
  std::optional<std::vector<std::string>> volumes; ///< RE2: of the volumes that all owners share, those it may use.
  std::string cache_scope{};                       ///< Its caches are kept in it or below; empty: anywhere.
};

/// What of the spec is over its ceiling. Rules: `limits.` and the field.
std::vector<violation> check_ceilings(const ceilings_in_force& ceilings, const task_spec& spec);

/// Reads `memory=4g`, by the names of `davit.policy.ceilings`; says what is wrong with it, or nothing.
std::string read_ceiling(std::string_view text, named_ceilings& into);

/// Reads several.
std::string read_ceilings(const std::vector<std::string>& texts, named_ceilings& into);

/// As `read_ceiling` reads them, separated by commas.
std::string to_string(const named_ceilings& ceilings);

} // namespace davit
