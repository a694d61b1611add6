// What a task may ask of an engine. Pure functions: no clock, no engine, no store.
#pragma once

#include "messages/task.hpp"
#include "policy/ceilings.hpp"
#include "policy/image_reference.hpp"
#include "policy/profiles.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace davit {

/// One group of `davit.policy.profiles`: what is otherwise for tasks that are judged by this profile.
struct profile_settings {
  std::string name;
  named_ceilings ceilings; ///< In place of those of `davit.policy.ceilings`.
  std::optional<std::vector<std::string>> volumes_allow;
};

/// The `davit.policy` group of the configuration.
struct policy_settings {
  policy_profile profile = policy_profile::baseline; ///< For engines that name none of their own.
  std::vector<std::string> images_allow; ///< RE2, each for the whole name; empty: every image that is not denied.
  std::vector<std::string> images_deny;  ///< RE2, each for the whole name; goes before allow.
  bool always_pull = false;              ///< Also images that an engine has: its cache does not know who may use them.
  bool require_digest = false;           ///< An image must be named by its digest.
  bool allow_ids = false;                ///< An image may be named by its id, which says nothing of its origin.
  std::vector<std::string> networks_allow{"none", "bridge"};
  std::string default_network = "bridge";
  std::vector<std::string> volumes_allow; ///< RE2, each for the whole name of a volume that all owners share.
  std::vector<std::string> labels_allow;  ///< RE2, each for the whole name of a label that containers get as it is.
  resource_limits defaults{1.0, byte_size{512ull << 20}, 512, std::nullopt};
  resource_limits ceilings; ///< What is not set has none.
  spec_ceilings quantities;
  std::optional<duration> default_timeout;
  std::optional<duration> max_timeout;
  std::vector<profile_settings> profiles;
};

struct judgement {
  std::vector<violation> violations; ///< Empty: allowed.
  std::vector<addition> additions;   ///< What the policy adds where the task says nothing.
  task_spec effective;               ///< The spec with these, and the image's exact name.
};

/// What the names of a task's labels begin with on its container.
inline constexpr std::string_view label_prefix = "davit.label.";

class policy {
public:
  /// Compiles the patterns. On a mistake returns nothing and says in `error` which pattern and why.
  static std::shared_ptr<const policy> make(policy_settings settings, std::string& error);

  /// Judges a task for an engine with this profile (or for the stricter one that the task names itself), and for a
  /// caller with these limits. Thread-safe.
  judgement judge(const task_spec& spec, policy_profile profile, const caller_limits& limits = {}) const;

  /// The strictest profile such that it and the wider ones, up to `widest`, have nothing against the task; none: the
  /// widest has. Profiles with other ceilings may allow less than a stricter one. Thread-safe.
  std::optional<policy_profile> least_profile(const task_spec& spec, policy_profile widest) const;

  /// The ceilings for tasks that are judged by a profile. Thread-safe.
  ceilings_in_force ceilings(policy_profile profile) const;

  /// Whether tasks of all owners that are judged by this profile mount the engine's volume of this name; else each
  /// owner has its own. Thread-safe.
  bool shares_volume(const std::string& name, policy_profile profile) const;

  /// Whether any profile's tasks mount the engine's volume of this name. Thread-safe.
  bool shares_volume(const std::string& name) const;

  /// The labels of the container of a task with these labels: `davit.label.NAME` for each, and NAME where the operator
  /// allows it. Other programs on the engine act on labels, so a task does not choose them freely. Thread-safe.
  std::map<std::string, std::string> container_labels(const std::map<std::string, std::string>& labels) const;

  const policy_settings& settings() const noexcept { return settings_; }

  ~policy();

private:
  struct patterns;
  void judge_image(judgement& result) const;
  void judge_limits(judgement& result, const task_spec& spec, const ceilings_in_force& ceilings) const;
  void judge_volumes(judgement& result, const caller_limits& limits) const;
  void judge_caches(judgement& result, const caller_limits& limits) const;
  policy(policy_settings settings, std::unique_ptr<patterns> compiled);
  policy_settings settings_;
  std::unique_ptr<patterns> patterns_;
};

/// Writes into the spec what the caller's ceilings have changed of what it does not name: whoever judges it later does
/// not know the caller. `judged`: the spec as it was judged with them.
void keep_limits(task_spec& spec, const task_spec& judged, const named_ceilings& ceilings);

/// Why the pattern can't be used, as the end of a sentence. Empty: RE2 takes it, and it is not too large.
std::string check_regex(const std::string& pattern);

/// Whether the validator accepts the output.
bool validate_output(const output_validator& validator, std::string_view output);

} // namespace davit
