#include "policy/policy.hpp"

#include <re2/re2.h>

#include <algorithm>
#include <filesystem>

namespace davit {

namespace {

constexpr std::int64_t most_pids = 4'194'304;

/// In RE2's instructions.
constexpr int largest_regex = 10'000;

/// Instructions times bytes: at most some seconds of a processor.
constexpr std::size_t most_steps = std::size_t{1} << 28;

RE2::Options quiet() {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_never_nl(false);
  return options;
}

/// The name without what Docker adds: `docker.io/library/alpine:3` is `alpine:3`.
std::string familiar(const std::string& normal) {
  for (std::string_view prefix : {"docker.io/library/", "docker.io/"})
    if (normal.starts_with(prefix))
      return normal.substr(prefix.size());
  return normal;
}

/// The task itself keeps the init of sandboxes (sandbox/hand_over.hpp) out of its container: `why_no_init` and
/// `why_cold` of actors/sandbox_plan.hpp say the same of it, and more of its engine.
bool keeps_out_of_sandboxes(const task_spec& spec) {
  constexpr const char* variable = ".davit";
  return spec.tty || spec.at_most_once || !spec.init.value_or(true) || (!spec.pid.empty() && spec.pid != "private")
      || spec.env.contains(variable) || spec.secrets.contains(variable);
}

using pattern_list = std::vector<std::unique_ptr<RE2>>;

bool matches_any(const std::string& text, const pattern_list& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const auto& one) { return RE2::FullMatch(text, *one); });
}

} // namespace

struct policy::patterns {
  pattern_list allow;
  pattern_list deny;
  pattern_list volumes;
  std::map<policy_profile, pattern_list> volumes_of; ///< Of profiles that have a list of their own.
  pattern_list labels;
};

policy::policy(policy_settings settings, std::unique_ptr<patterns> compiled)
  : settings_(std::move(settings)), patterns_(std::move(compiled)) {}

policy::~policy() = default;

std::shared_ptr<const policy> policy::make(policy_settings settings, std::string& error) {
  auto compiled = std::make_unique<patterns>();
  auto compile = [&](const std::vector<std::string>& texts, pattern_list& into, const std::string& option) {
    for (const auto& text : texts) {
      if (text.find_first_not_of(" \t") == std::string::npos) {
        error = option + ": a blank pattern would match nothing or everything; remove it";
        return false;
      }
      into.push_back(std::make_unique<RE2>(text, quiet()));
      if (!into.back()->ok()) {
        error = option + ": \"" + text + "\" is not a valid RE2 pattern: " + into.back()->error();
        return false;
      }
    }
    return true;
  };
  if (!compile(settings.images_allow, compiled->allow, "davit.policy.images.allow")
      || !compile(settings.images_deny, compiled->deny, "davit.policy.images.deny")
      || !compile(settings.volumes_allow, compiled->volumes, "davit.policy.volumes.allow")
      || !compile(settings.labels_allow, compiled->labels, "davit.policy.labels.allow"))
    return nullptr;
  for (const auto& one : settings.profiles) {
    policy_profile profile{};
    if (from_string(one.name, profile) && one.volumes_allow
        && !compile(*one.volumes_allow, compiled->volumes_of[profile],
                    "davit.policy.profiles." + one.name + ".volumes-allow"))
      return nullptr;
  }
  return std::shared_ptr<const policy>{new policy{std::move(settings), std::move(compiled)}};
}

/// What the engine is asked for is what was judged: the exact name.
void policy::judge_image(judgement& result) const {
  auto& image = result.effective.image;
  auto refuse = [&](std::string rule, std::string message) {
    result.violations.push_back({std::move(rule), "image", std::move(message)});
  };
  auto named = read_image(image);
  auto id = settings_.allow_ids ? whole_image_id(image) : std::nullopt;
  if (!named && !id) {
    constexpr auto names = "[registry/]name[:tag][@digest], the name in lower case and at most 255 long";
    if (!is_image_id(image))
      refuse("image.reference", "\"" + image + "\" is not a valid image reference; write " + names);
    else if (settings_.allow_ids)
      refuse("image.reference", "\"" + image + "\" is a part of an image's id; write sha256: and all its 64 digits");
    else
      refuse("image.reference", "\"" + image + "\" is an image's id, which does not say where the image is from; write "
                                  + names + " (ids need policy.images.allow-ids)");
    return;
  }
  image = named ? named->exact() : *id;
  if (is_reserved(image))
    refuse("image.reserved", image
                               + " is a name of images that davit prepares for tasks with inputs; no task can name "
                                 "one");
  auto matches = [](const std::string& name, const pattern_list& patterns) {
    return matches_any(name, patterns) || matches_any(familiar(name), patterns);
  };
  // An engine does not look at a tag next to a digest, so a tag allows nothing; but it may say what is not wanted. So
  // may the registry's name without the port that it has in any case.
  auto without_port = image;
  constexpr std::string_view usual = ":443/";
  if (auto port = image.find(usual); port < image.find('/'))
    without_port.erase(port, usual.size() - 1);
  if (matches(image, patterns_->deny) || matches(without_port, patterns_->deny)
      || (named && matches(named->whole(), patterns_->deny)))
    refuse("images.deny", image + " is on the list of images that are denied");
  else if (!patterns_->allow.empty() && !matches(image, patterns_->allow))
    refuse("images.allow", image + " is not on the list of images that are allowed");
  if (settings_.require_digest && named && named->digest.empty())
    refuse("images.digest", image + " can become another image at any time; name it by its digest (name@sha256:...)");
}

/// How much it asks for, of what there are ceilings.
void policy::judge_limits(judgement& result, const task_spec& spec, const ceilings_in_force& ceilings) const {
  auto& effective = result.effective;
  auto add = [&](std::string rule, std::string field, std::string value) {
    result.additions.push_back({std::move(rule), std::move(field), std::move(value)});
  };
  auto refuse = [&](std::string rule, std::string field, std::string message) {
    result.violations.push_back({std::move(rule), std::move(field), std::move(message)});
  };
  auto limit = [&](auto member, const char* name, auto least, auto text) {
    auto& value = effective.resources.*member;
    if (!value && settings_.defaults.*member) {
      value = settings_.defaults.*member;
      add("limits.default", std::string{"resources."} + name, text(*value));
    }
    const auto& ceiling = ceilings.resources.*member;
    if (value && *value < least)
      refuse(std::string{"limits."} + name, std::string{"resources."} + name, "must be at least " + text(least));
    else if (ceiling && (!value || *value > *ceiling)) {
      if (!(spec.resources.*member)) {
        value = ceiling;
        add("limits.ceiling", std::string{"resources."} + name, text(*value));
      } else
        refuse(std::string{"limits."} + name, std::string{"resources."} + name,
               text(*value) + " is over the limit of " + text(*ceiling) + ceilings.told(name));
    }
  };
  auto number = [](auto value) {
    auto text = std::to_string(value);
    if (text.find('.') != std::string::npos) // 1.500000 is 1.5
      text.erase(std::max(text.find_last_not_of('0'), text.find('.') + 1) + 1);
    return text;
  };
  auto size = [](byte_size value) { return to_string(value); };
  limit(&resource_limits::cpus, "cpus", 0.01, number);
  limit(&resource_limits::memory, "memory", byte_size{6ull << 20}, size); // the engine's own least
  limit(&resource_limits::pids, "pids", std::int64_t{1}, number);
  if (spec.resources.pids && *spec.resources.pids > most_pids)
    refuse("limits.pids", "resources.pids", "is over the kernel's maximum of " + std::to_string(most_pids));
  limit(&resource_limits::shm, "shm", byte_size{1}, size);
  for (const auto& one : spec.mounts) // what lies there instead of the engine's own
    if (ceilings.resources.shm && one.type == mount_type::tmpfs
        && (std::filesystem::path{one.target} / "").lexically_normal() == "/dev/shm/"
        && (!one.size || *one.size > *ceilings.resources.shm))
      refuse("limits.shm", "mounts",
             "a tmpfs at /dev/shm with " + (one.size ? size(*one.size) : std::string{"no size"})
               + " is over the limit of " + size(*ceilings.resources.shm) + ceilings.told("shm"));
  const auto& longest = ceilings.timeout;
  if (!effective.timeout && (settings_.default_timeout || longest)) {
    effective.timeout = settings_.default_timeout ? settings_.default_timeout : longest;
    if (longest)
      effective.timeout = std::min(*effective.timeout, *longest);
    add("limits.default", "timeout", format_duration(*effective.timeout));
  }
  if (effective.timeout && effective.timeout->count() <= 0)
    refuse("limits.timeout", "timeout", "must be more than 0");
  else if (longest && *effective.timeout > *longest)
    refuse("limits.timeout", "timeout",
           format_duration(*effective.timeout) + " is over the limit of " + format_duration(*longest)
             + ceilings.told("timeout"));
  for (auto& one : check_ceilings(ceilings, spec))
    result.violations.push_back(std::move(one));
}

/// A caller may be kept from volumes that all owners share. Its task may run by a stricter profile than this one, and
/// nobody knows the caller then.
void policy::judge_volumes(judgement& result, const caller_limits& limits) const {
  if (!limits.volumes)
    return;
  const auto& mounts = result.effective.mounts;
  auto matches = [](const std::string& name) {
    return [&name](const std::string& pattern) { return RE2::FullMatch(name, RE2{pattern, quiet()}); };
  };
  auto shared = [&](const std::string& name) {
    for (auto profile : {policy_profile::restricted, policy_profile::baseline, policy_profile::privileged})
      if (profile <= *result.effective.profile && shares_volume(name, profile))
        return true;
    return false;
  };
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const auto& one = mounts[i];
    if (one.type == mount_type::volume && shared(one.source)
        && std::none_of(limits.volumes->begin(), limits.volumes->end(), matches(one.source)))
      result.violations.push_back({"volumes.allow", "mounts[" + std::to_string(i) + "].source",
                                   "all owners share the volume \"" + one.source + "\", and " + limits.whose
                                     + " may not use it; name another, which is the owner's own"});
  }
}

/// A caller may be kept to a scope for what its tasks keep. What they could be told by (an earlier success, a cache)
/// comes from there too, or from who is trusted more.
void policy::judge_caches(judgement& result, const caller_limits& limits) const {
  auto& effective = result.effective;
  // Inputs too: what an engine has ready of them is not shared with tasks in a scope.
  if (limits.cache_scope.empty() || (effective.caches.empty() && effective.inputs.empty() && !effective.memo))
    return;
  if (effective.cache_scope.empty()) {
    effective.cache_scope = limits.cache_scope;
    result.additions.push_back({"caches.scope", "cache_scope", limits.cache_scope});
  } else if (!is_in_scope(effective.cache_scope, limits.cache_scope)) {
    result.violations.push_back({"caches.scope", "cache_scope",
                                 "caches of tasks of " + limits.whose + " are kept in the scope \"" + limits.cache_scope
                                   + "\" or below it (as " + limits.cache_scope + "/7), not in \""
                                   + effective.cache_scope + '"'});
  }
}

judgement policy::judge(const task_spec& spec, policy_profile profile, const caller_limits& limits) const {
  if (spec.profile)
    profile = std::min(profile, *spec.profile);
  judgement result;
  result.effective = spec;
  auto& effective = result.effective;
  effective.profile = profile;
  result.additions = apply_profile(profile, effective);
  auto add = [&](std::string rule, std::string field, std::string value) {
    result.additions.push_back({std::move(rule), std::move(field), std::move(value)});
  };
  if (!effective.network) {
    effective.network = settings_.default_network;
    add("networks.default", "network", *effective.network);
  }
  result.violations = check_profile(profile, effective);
  auto refuse = [&](std::string rule, std::string field, std::string message) {
    result.violations.push_back({std::move(rule), std::move(field), std::move(message)});
  };
  if (spec.start == start_mode::warm && keeps_out_of_sandboxes(spec))
    refuse("start.warm", "start",
           "a task with tty, at_most_once, init: false, a pid namespace that is not its own or a variable .davit can't "
           "be run in a sandbox; leave start to \"auto\"");
  // -- image ---
  judge_image(result);
  if (settings_.always_pull && effective.pull == pull_policy::missing) {
    effective.pull = pull_policy::always;
    add("images.always-pull", "pull", "always");
  } else if (settings_.always_pull && effective.pull == pull_policy::never) {
    refuse("images.always-pull", "pull", "images must be pulled, so the registry checks who may use them");
  }
  // -- network ---
  const auto& allowed = settings_.networks_allow;
  if (std::find(allowed.begin(), allowed.end(), *effective.network) == allowed.end()) {
    std::string list;
    for (const auto& one : allowed)
      list += (list.empty() ? "" : ", ") + one;
    refuse("networks.allow", "network",
           "the network \"" + *effective.network
             + "\" is not allowed; allowed: " + (list.empty() ? "none at all" : list));
  }
  // -- limits ---
  auto most = ceilings(profile);
  most.lower(limits.ceilings, limits.whose);
  judge_limits(result, spec, most);
  judge_volumes(result, limits);
  judge_caches(result, limits);
  // -- the rest ---
  for (const auto& [name, value] : spec.env)
    if (name.empty() || name.find_first_of(std::string_view{"=\0", 2}) != std::string::npos
        || value.find('\0') != std::string::npos)
      refuse("env.name", "env",
             "\"" + name + "\" can't be the name of an environment variable, or its value has a NUL byte");
  std::size_t secret_bytes = 0;
  for (const auto& [name, hidden] : spec.secrets) {
    auto field = "secrets." + name;
    if (name.empty() || name.find_first_of(std::string_view{"=\0", 2}) != std::string::npos
        || name.starts_with("DAVIT_"))
      refuse("secrets.name", "secrets",
             "\"" + name
               + "\" can't be the name of a secret: it becomes an environment variable (names that start with DAVIT_ "
                 "are reserved)");
    if (spec.env.contains(name))
      refuse("secrets.name", field, "env also has a variable with this name");
    if (hidden.sealed) // judged when it was given
      continue;
    secret_bytes += hidden.value.size();
    if (hidden.value == secret::shown)
      refuse("secrets.value", field, "*** is only what davit shows instead of a secret; write the secret itself");
    else if (hidden.value.size() < 4)
      refuse("secrets.value", field, "is shorter than 4 characters: davit could not mask it in the log");
    else if (hidden.value.find('\0') != std::string::npos)
      refuse("secrets.value", field, "has a NUL byte, which no environment variable can have");
  }
  if (secret_bytes > 64 * 1024)
    refuse("secrets.value", "secrets", "must not be over 64 KiB together; put larger data into a volume");
  if (!spec.workdir.empty() && !spec.workdir.starts_with('/'))
    refuse("workdir", "workdir", "must be an absolute path");
  if (spec.retry.attempts < 1)
    refuse("retry.attempts", "retry.attempts", "must be at least 1");
  for (auto one : spec.retry.on)
    if (one == outcome::succeeded || one == outcome::cancelled || one == outcome::rejected)
      refuse("retry.on", "retry.on", to_string(one) + " is never retried");
  auto has_nul = [](const std::string& text) { return text.find('\0') != std::string::npos; };
  for (auto words : {&spec.command, spec.entrypoint ? &*spec.entrypoint : nullptr})
    if (words && std::any_of(words->begin(), words->end(), has_nul))
      refuse("command", words == &spec.command ? "command" : "entrypoint",
             "has a NUL byte, which no argument of a program can have");
  if (spec.validator)
    if (auto complaint = check_regex(spec.validator->regex); !complaint.empty())
      refuse("validator.regex", "validator.regex", complaint);
  return result;
}

bool policy::shares_volume(const std::string& name, policy_profile profile) const {
  auto own = patterns_->volumes_of.find(profile);
  return matches_any(name, own == patterns_->volumes_of.end() ? patterns_->volumes : own->second);
}

bool policy::shares_volume(const std::string& name) const {
  auto all = {policy_profile::restricted, policy_profile::baseline, policy_profile::privileged};
  return std::any_of(all.begin(), all.end(), [&](auto profile) { return shares_volume(name, profile); });
}

ceilings_in_force policy::ceilings(policy_profile profile) const {
  ceilings_in_force all{settings_.ceilings, settings_.max_timeout, settings_.quantities, {}};
  auto name = to_string(profile);
  for (const auto& one : settings_.profiles)
    if (one.name == name)
      all.replace(one.ceilings, "the profile " + name);
  return all;
}

std::optional<policy_profile> policy::least_profile(const task_spec& spec, policy_profile widest) const {
  std::optional<policy_profile> least;
  for (auto profile : {policy_profile::privileged, policy_profile::baseline, policy_profile::restricted})
    if (profile <= widest) {
      if (!judge(spec, profile).violations.empty())
        break;
      least = profile;
    }
  return least;
}

std::map<std::string, std::string> policy::container_labels(const std::map<std::string, std::string>& labels) const {
  std::map<std::string, std::string> all;
  for (const auto& [name, value] : labels) {
    all[std::string{label_prefix} + name] = value;
    if (matches_any(name, patterns_->labels))
      all[name] = value;
  }
  return all;
}

void keep_limits(task_spec& spec, const task_spec& judged, const named_ceilings& ceilings) {
  auto keep = [](auto& place, const auto& value, const auto& ceiling) {
    if (!place && ceiling)
      place = value;
  };
  keep(spec.resources.cpus, judged.resources.cpus, ceilings.cpus);
  keep(spec.resources.memory, judged.resources.memory, ceilings.memory);
  keep(spec.resources.pids, judged.resources.pids, ceilings.pids);
  keep(spec.resources.shm, judged.resources.shm, ceilings.shm);
  keep(spec.timeout, judged.timeout, ceilings.timeout);
}

std::string check_regex(const std::string& pattern) {
  RE2 compiled{pattern, quiet()};
  if (!compiled.ok())
    return "is not a valid RE2 pattern: " + compiled.error();
  if (compiled.ProgramSize() > largest_regex)
    return "is too large: RE2 needs " + std::to_string(compiled.ProgramSize()) + " instructions for it, "
         + std::to_string(largest_regex) + " are allowed (repetitions such as {100} count as often)";
  return {};
}

bool validate_output(const output_validator& validator, std::string_view output) {
  RE2::Options options = quiet();
  options.set_dot_nl(false);
  RE2 compiled{validator.regex, options};
  if (!compiled.ok())
    return false;
  auto looked_at = most_steps / static_cast<std::size_t>(std::max(compiled.ProgramSize(), 1));
  output.remove_prefix(output.size() - std::min(output.size(), looked_at));
  return RE2::PartialMatch(re2::StringPiece{output.data(), output.size()}, compiled);
}

} // namespace davit
