#include "policy/profiles.hpp"

#include "messages/host_entry.hpp"
#include "policy/cache_keys.hpp"
#include "policy/container_paths.hpp"

#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <set>
#include <string>

namespace davit {

namespace {

using namespace container_paths;

/// Of `SOFT:HARD`, in numbers, -1 for unlimited.
bool soft_is_higher(const std::string& limit) {
  auto colon = limit.find(':');
  if (colon == limit.npos)
    return false;
  auto soft = std::stoll(limit), hard = std::stoll(limit.substr(colon + 1));
  return hard != -1 && (soft == -1 || soft > hard);
}

/// Of a user's or a group's number: one that the kernel or an engine has no room for.
bool is_too_high(std::string_view id) {
  if (id.empty() || id.find_first_not_of("0123456789") != id.npos)
    return false;
  std::int32_t number = 0;
  return std::from_chars(id.data(), id.data() + id.size(), number).ec != std::errc{};
}

bool matches(const std::string& text, const RE2& pattern) {
  return RE2::FullMatch(text, pattern);
}

/// Without `CAP_`, in capitals: as the kernel's documentation has them.
std::string capability(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return name.starts_with("CAP_") ? name.substr(4) : name;
}

struct judge {
  policy_profile profile;
  const task_spec& spec;
  std::vector<violation> found;

  void refuse(std::string rule, std::string field, std::string message) {
    found.push_back({std::move(rule), std::move(field), std::move(message)});
  }
  bool at_most(policy_profile p) const { return profile <= p; }

  // What no profile allows.

  void mounts() {
    std::set<std::string> targets;
    for (std::size_t i = 0; i < spec.mounts.size(); ++i) {
      const auto& one = spec.mounts[i];
      auto field = "mounts[" + std::to_string(i) + "]";
      if (one.type == mount_type::bind) {
        if (!one.source.starts_with('/'))
          refuse("mounts.source", field,
                 "the source \"" + one.source + "\" of a bind must be an absolute path of the engine's host");
        else if (reaches_engine(one.source))
          refuse("mounts.engine-socket", field,
                 "mounting " + one.source + " would give the task control of the engine and its host");
        else if (at_most(policy_profile::baseline))
          refuse("mounts.bind", field, "mounting the host's " + one.source + " is not allowed; use a volume or tmpfs");
      }
      static const RE2 volume_name{"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}"};
      if (one.type == mount_type::volume && !one.source.empty() && !matches(one.source, volume_name))
        refuse("mounts.volume-name", field,
               "\"" + one.source
                 + "\" is not a valid volume name; write 2 to 255 letters, digits, dots, dashes and underscores, "
                   "beginning with a letter or digit (a path would mount the host)");
      if (one.type == mount_type::volume && one.source.starts_with("davit-"))
        refuse("mounts.volume-name", field, "volume names that start with davit- are reserved");
      if (one.type == mount_type::tmpfs && !one.source.empty())
        refuse("mounts.tmpfs", field, "a tmpfs has no source");
      if (!one.target.starts_with('/') || std::filesystem::path{one.target}.lexically_normal() == "/"
          || (one.target + "/").find("/../") != std::string::npos)
        refuse("mounts.target", field, "the target \"" + one.target + "\" must be an absolute path below /");
      else if (!is_short(one.target))
        refuse("mounts.target", field,
               "the target is longer than a path can be: 255 bytes for each name in it, 4095 for all");
      else if (!targets.insert(clean(one.target)).second)
        refuse("mounts.target", field, "another mount has the target \"" + one.target + "\" already");
      else if (at_most(policy_profile::baseline) && (is_below(one.target, "/proc") || is_below(one.target, "/sys")))
        refuse("mounts.target", field,
               "the target \"" + one.target + "\" is below /proc or /sys, where the engine hides files of the kernel");
    }
  }

  /// Where the spec's mounts are: nothing else may be at the same place.
  std::set<std::string> mounted() const {
    std::set<std::string> targets;
    for (const auto& one : spec.mounts)
      targets.insert(clean(one.target));
    return targets;
  }

  /// A place where a volume of the task's own is mounted. `what`: an input, a cache.
  void own_volume(const std::string& path, const std::string& field, const char* rule, const std::string& what,
                  std::set<std::string>& taken) {
    place(path, field, rule);
    if (!taken.insert(clean(path)).second)
      refuse(rule, field, "something else has the path \"" + path + "\" already");
    for (const auto& there : spec.mounts)
      if (is_below(path, there.target) && clean(path) != clean(there.target))
        refuse(rule, field,
               "\"" + path + "\" lies in the mount at " + there.target + "; " + what + " has a volume of its own");
  }

  void inputs() {
    constexpr std::size_t most = 64;
    if (spec.inputs.size() > most)
      refuse("inputs.count", "inputs", "a task has at most " + std::to_string(most) + " inputs");
    auto taken = mounted();
    for (std::size_t i = 0; i < spec.inputs.size() && i < most; ++i) {
      const auto& one = spec.inputs[i];
      auto field = "inputs[" + std::to_string(i) + "]";
      static const RE2 tree{"sha256:[0-9a-f]{64}"};
      if (!matches(one.tree, tree))
        refuse("inputs.tree", field + ".tree",
               "\"" + one.tree + "\" is not the name of a tree: write sha256: and 64 hexadecimal digits in lower case");
      own_volume(one.path, field + ".path", "inputs.path", "an input", taken);
    }
  }

  void caches() {
    constexpr std::size_t most = 16;
    if (spec.caches.size() > most)
      refuse("caches.count", "caches", "a task has at most " + std::to_string(most) + " caches");
    auto taken = mounted();
    for (const auto& one : spec.inputs)
      taken.insert(clean(one.path));
    for (std::size_t i = 0; i < spec.caches.size() && i < most; ++i) {
      const auto& one = spec.caches[i];
      auto field = "caches[" + std::to_string(i) + "]";
      key(one.key, field + ".key");
      if (one.restore.size() > most)
        refuse("caches.restore", field + ".restore", "a cache has at most " + std::to_string(most) + " of these");
      for (std::size_t j = 0; j < one.restore.size() && j < most; ++j)
        key(one.restore[j], field + ".restore[" + std::to_string(j) + "]");
      own_volume(one.path, field + ".path", "caches.path", "a cache", taken);
      for (const auto& there : spec.inputs)
        if (is_below(there.path, one.path))
          refuse("caches.path", field + ".path",
                 "the input at " + there.path + " lies in the cache at " + one.path + ", and would be kept with it");
    }
    if (auto wrong = wrong_cache_scope(spec.cache_scope); !wrong.empty())
      refuse("caches.scope", "cache_scope", wrong);
  }

  void key(const std::string& text, const std::string& field) {
    std::string wrong;
    for (const auto& part : read_cache_key(text, wrong))
      if (part.is_hash && place_of_hashed(part.text, spec.workdir, spec.inputs).empty())
        refuse("caches.key", field,
               "{hash:" + part.text + "}: relative to what? Write an absolute path, or set workdir");
    if (!wrong.empty())
      refuse("caches.key", field, wrong);
  }

  void outputs() {
    constexpr std::size_t most = 64;
    if (spec.outputs.size() > most)
      refuse("outputs.count", "outputs", "a task has at most " + std::to_string(most) + " outputs");
    for (const auto& [name, one] : spec.outputs) {
      auto field = "outputs." + name;
      static const RE2 plain{"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}"};
      if (!matches(name, plain))
        refuse("outputs.name", "outputs",
               "\"" + name
                 + "\" is not a valid name of an output; write up to 64 letters, digits, dots, dashes and underscores, "
                   "beginning with a letter or digit");
      place(one.path, field + ".path", "outputs.path");
      if (auto special = one.path.find_first_of("*?[");
          special != std::string::npos && one.path.rfind('/', special) == 0)
        refuse("outputs.path", field + ".path",
               "\"" + one.path + "\" would have all of the container looked through; name a folder before the pattern");
    }
  }

  /// An absolute path in the container that files are put to or taken from.
  void place(const std::string& path, const std::string& field, const char* rule) {
    if (!path.starts_with('/') || std::filesystem::path{path}.lexically_normal() == "/"
        || (path + "/").find("/../") != std::string::npos)
      refuse(rule, field, "\"" + path + "\" must be an absolute path below /");
    else if (!is_short(path))
      refuse(rule, field, "the path is longer than a path can be: 255 bytes for each name in it, 4095 for all");
    else if (is_below(path, "/proc") || is_below(path, "/sys") || is_below(path, "/dev"))
      refuse(rule, field, "\"" + path + "\" is below /proc, /sys or /dev, which are the kernel's");
  }

  void labels() {
    for (const auto& [name, value] : spec.labels) {
      if (name.empty())
        refuse("labels.name", "labels", "a label's name must not be empty");
      if (name == "davit" || name.starts_with("davit."))
        refuse("labels.reserved", "labels." + name, "labels that start with davit. are reserved");
    }
    for (const auto& label : spec.engine.labels)
      if (label.starts_with("davit."))
        refuse("labels.reserved", "engine.labels", "labels that start with davit. are reserved");
  }

  // What an engine would not take, or take for something else.

  void forms() {
    static const RE2 device{"/dev/[^:,]+(:/[^:,]+(:[rwm]{1,3})?)?"}, ulimit{"(-1|[0-9]{1,18})(:(-1|[0-9]{1,18}))?"},
      host_name{R"([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*)"},
      key{"[a-z0-9_]+([./][a-zA-Z0-9_-]+)+"};
    for (std::size_t i = 0; i < spec.devices.size(); ++i)
      if (!matches(spec.devices[i], device) || spec.devices[i].find("/../") != std::string::npos)
        refuse("devices", "devices[" + std::to_string(i) + "]",
               "\"" + spec.devices[i] + "\" is not a valid device; write /dev/name[:/dev/name[:rwm]]");
    static const std::set<std::string> limits{"core",    "cpu",      "data",   "fsize",      "locks",
                                              "memlock", "msgqueue", "nice",   "nofile",     "nproc",
                                              "rss",     "rtprio",   "rttime", "sigpending", "stack"};
    for (const auto& [name, value] : spec.ulimits)
      if (!limits.contains(name))
        refuse("ulimits", "ulimits." + name,
               "unknown limit; the limits are core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, "
               "rss, rtprio, rttime, sigpending and stack");
      else if (!matches(value, ulimit))
        refuse("ulimits", "ulimits." + name,
               "\"" + value + "\" is not a valid limit; write SOFT or SOFT:HARD, -1 for unlimited");
      else if (soft_is_higher(value))
        refuse("ulimits", "ulimits." + name, "\"" + value + "\": the soft limit must not be higher than the hard one");
      else if (name == "nofile" && value != "-1" && !value.starts_with("-1:") && std::stoll(value) < 16)
        refuse("ulimits", "ulimits." + name,
               "must be at least 16: the engine's runtime opens files before the command does");
    for (const auto& one : spec.dns)
      if (!is_ip_address(one))
        refuse("dns", "dns", "\"" + one + "\" is not a valid IP address");
    for (const auto& one : spec.extra_hosts)
      if (!host_entry::of(one))
        refuse("extra-hosts", "extra_hosts",
               "\"" + one + "\" does not name a host and its IP address; write name:address");
    for (const auto& [name, value] : spec.sysctls)
      if (!matches(name, key) || value.find('\0') != std::string::npos)
        refuse("sysctls", "sysctls." + name, "\"" + name + "\" is not a valid kernel parameter");
    if (!spec.hostname.empty() && (!matches(spec.hostname, host_name) || spec.hostname.size() > 64))
      refuse(
        "hostname", "hostname",
        "\"" + spec.hostname
          + "\" is not a valid host name; use letters, digits and hyphens, at most 63 between two dots and 64 in all");
    for (const auto* names : {&spec.cap_add, &spec.cap_drop})
      for (const auto& one : *names) {
        static const RE2 form{"[A-Z_]{2,32}"};
        if (!matches(capability(one), form))
          refuse("capabilities", names == &spec.cap_add ? "cap_add" : "cap_drop",
                 "\"" + one + "\" is not a valid capability; write it as in capabilities(7), such as NET_BIND_SERVICE");
      }
  }

  void ids() {
    auto colon = std::min(spec.user.find(':'), spec.user.size());
    auto user = std::string_view{spec.user};
    if (is_too_high(user.substr(0, colon)) || (colon < user.size() && is_too_high(user.substr(colon + 1))))
      refuse("user.range", "user", "\"" + spec.user + "\": users and groups have numbers from 0 to 2147483647");
    for (std::size_t i = 0; i < spec.group_add.size(); ++i)
      if (is_too_high(spec.group_add[i]))
        refuse("user.range", "group_add[" + std::to_string(i) + "]",
               "\"" + spec.group_add[i] + "\": groups have numbers from 0 to 2147483647");
  }

  /// A NUL ends a text where the kernel reads it. Commands, variables, secrets and kernel parameters have their own
  /// rules; what a task reads as its input may have any byte.
  void texts() {
    auto look = [this](const std::string& text, auto... field) {
      if (text.find('\0') != text.npos)
        refuse("text.nul", (std::string{} + ... + field), "has a NUL byte");
    };
    for (std::size_t i = 0; i < spec.mounts.size(); ++i) {
      look(spec.mounts[i].source, "mounts[", std::to_string(i), "].source");
      look(spec.mounts[i].target, "mounts[", std::to_string(i), "].target");
    }
    for (std::size_t i = 0; i < spec.inputs.size(); ++i)
      look(spec.inputs[i].path, "inputs[", std::to_string(i), "].path");
    for (const auto& [name, one] : spec.outputs)
      look(one.path, "outputs.", name, ".path");
    for (std::size_t i = 0; i < spec.caches.size(); ++i)
      look(spec.caches[i].path, "caches[", std::to_string(i), "].path");
    for (const auto& [field, text] :
         {std::pair{"image", &spec.image}, std::pair{"workdir", &spec.workdir}, std::pair{"user", &spec.user},
          std::pair{"pid", &spec.pid}, std::pair{"ipc", &spec.ipc}, std::pair{"uts", &spec.uts},
          std::pair{"userns_mode", &spec.userns_mode}, std::pair{"cgroup", &spec.cgroup},
          std::pair{"cgroup_parent", &spec.cgroup_parent}, std::pair{"runtime", &spec.runtime},
          std::pair{"hostname", &spec.hostname}, std::pair{"name", &spec.name},
          std::pair{"dedupe_key", &spec.dedupe_key}})
      look(*text, field);
    if (spec.network)
      look(*spec.network, "network");
    for (const auto& [field, list] :
         {std::pair{"cap_add", &spec.cap_add}, std::pair{"cap_drop", &spec.cap_drop},
          std::pair{"devices", &spec.devices}, std::pair{"security_opt", &spec.security_opt},
          std::pair{"group_add", &spec.group_add}, std::pair{"extra_hosts", &spec.extra_hosts},
          std::pair{"dns", &spec.dns}, std::pair{"engine.labels", &spec.engine.labels}})
      for (const auto& text : *list)
        look(text, field);
    for (const auto& [field, map] : {std::pair{"labels", &spec.labels}, std::pair{"ulimits", &spec.ulimits}})
      for (const auto& [name, value] : *map) {
        look(name, field);
        look(value, field, ".", name);
      }
  }

  // What baseline does not allow.

  void baseline() {
    if (spec.privileged)
      refuse("privileged", "privileged", "a privileged container controls its host");
    static const std::set<std::string> harmless{"AUDIT_WRITE", "CHOWN",  "DAC_OVERRIDE",     "FOWNER",  "FSETID",
                                                "KILL",        "MKNOD",  "NET_BIND_SERVICE", "SETFCAP", "SETGID",
                                                "SETPCAP",     "SETUID", "SYS_CHROOT"};
    for (const auto& one : spec.cap_add)
      if (!harmless.contains(capability(one)))
        refuse("capabilities", "cap_add", "the capability " + one + " is not one of those that baseline allows");
    for (std::size_t i = 0; i < spec.devices.size(); ++i)
      refuse("devices", "devices[" + std::to_string(i) + "]", "a task must not use a device of the host");
    auto own = [&](const char* field, const std::string& value, std::initializer_list<std::string_view> allowed) {
      if (!value.empty() && std::find(allowed.begin(), allowed.end(), value) == allowed.end())
        refuse(std::string{"namespaces."} + field, field,
               "\"" + value + "\" would share a namespace with the host or another container");
    };
    own("pid", spec.pid, {"private"});
    own("ipc", spec.ipc, {"private", "none"});
    own("uts", spec.uts, {"private"});
    own("userns_mode", spec.userns_mode, {"private"});
    own("cgroup", spec.cgroup, {"private"});
    if (!spec.cgroup_parent.empty())
      refuse("cgroup-parent", "cgroup_parent", "another parent would free the task from its limits");
    static const std::set<std::string> harmless_options{
      "no-new-privileges",       "no-new-privileges:true", "no-new-privileges=true", "apparmor=docker-default",
      "apparmor:docker-default", "seccomp=builtin",        "seccomp:builtin"};
    for (const auto& one : spec.security_opt)
      if (!harmless_options.contains(one))
        refuse("security-opt", "security_opt",
               "\"" + one
                 + "\" could remove what confines the task; no-new-privileges, apparmor=docker-default and "
                   "seccomp=builtin are allowed");
    static const std::set<std::string> safe{
      "kernel.shm_rmid_forced",       "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
      "net.ipv4.tcp_syncookies",      "net.ipv4.ping_group_range",    "net.ipv4.ip_local_reserved_ports",
      "net.ipv4.tcp_keepalive_time",  "net.ipv4.tcp_fin_timeout",     "net.ipv4.tcp_keepalive_intvl",
      "net.ipv4.tcp_keepalive_probes"};
    for (const auto& [name, value] : spec.sysctls) {
      auto dotted = name;
      std::replace(dotted.begin(), dotted.end(), '/', '.');
      if (!safe.contains(dotted))
        refuse("sysctls", "sysctls." + name,
               name + " is not one of the kernel parameters that are safe and separate for each container");
    }
    for (const auto& [name, value] : spec.ulimits)
      if (name == "nice" || name == "rtprio" || name == "rttime" || name == "msgqueue")
        refuse("ulimits", "ulimits." + name,
               "this limit affects the host's scheduling or memory, not only the container's");
    if (!spec.runtime.empty())
      refuse("runtime", "runtime", "another runtime may confine the task differently, or not at all");
    if (spec.network
        && (*spec.network == "host" || spec.network->starts_with("container:") || spec.network->starts_with("ns:")))
      refuse("network", "network",
             "\"" + *spec.network + "\" would give the task a network namespace that is not its own");
    for (const auto& one : spec.extra_hosts)
      if (one.find("host-gateway") != std::string::npos)
        refuse("extra-hosts", "extra_hosts", "host-gateway leads to the engine's host");
  }

  // What restricted does not allow on top.

  void restricted() {
    static const RE2 plain_user{"[0-9]{1,10}(:[0-9]{1,10})?"}, root{"0+(:.*)?|[0-9]+:0+"};
    if (!spec.user.empty() && (!matches(spec.user, plain_user) || matches(spec.user, root)))
      refuse("user", "user",
             "\"" + spec.user
               + "\" is or may be root; write UID or UID:GID, neither of them 0 (the image decides what a name means)");
    if (spec.read_only && !*spec.read_only)
      refuse("read-only", "read_only", "the root file system must not be writable; write to a tmpfs or a volume");
    for (const auto& one : spec.cap_add)
      if (capability(one) != "NET_BIND_SERVICE")
        refuse("capabilities", "cap_add", "NET_BIND_SERVICE is the only capability that may be added");
    for (const auto& one : spec.group_add) {
      static const RE2 plain_group{"0*[1-9][0-9]{0,9}"};
      if (!matches(one, plain_group))
        refuse("group-add", "group_add", "\"" + one + "\" is or may be the group of root; write a number other than 0");
    }
  }
};

} // namespace

std::vector<violation> check_profile(policy_profile profile, const task_spec& spec) {
  judge one{profile, spec, {}};
  one.mounts();
  one.inputs();
  one.outputs();
  one.caches();
  one.labels();
  one.forms();
  one.ids();
  one.texts();
  if (profile <= policy_profile::baseline)
    one.baseline();
  if (profile <= policy_profile::restricted)
    one.restricted();
  return std::move(one.found);
}

std::vector<addition> apply_profile(policy_profile profile, task_spec& spec) {
  std::vector<addition> made;
  auto drops = [&](const char* name) {
    return std::any_of(spec.cap_drop.begin(), spec.cap_drop.end(),
                       [&](const auto& one) { return capability(one) == name; });
  };
  if (profile == policy_profile::baseline && !drops("ALL") && !drops("NET_RAW")) {
    spec.cap_drop.push_back("NET_RAW"); // one of the engine's defaults: it can forge others' packets
    made.push_back({"capabilities", "cap_drop", "NET_RAW"});
  }
  // An engine's own defaults may be others (--default-cgroupns-mode, --default-ipc-mode), as with cgroup v1.
  if (profile <= policy_profile::baseline)
    for (auto [name, of] : {std::pair{"cgroup", &spec.cgroup}, std::pair{"ipc", &spec.ipc}})
      if (of->empty()) {
        *of = "private";
        made.push_back({std::string{"namespaces."} + name, name, *of});
      }
  if (profile != policy_profile::restricted)
    return made;
  if (spec.user.empty()) {
    spec.user = "65534:65534";
    made.push_back({"user", "user", spec.user});
  } else if (spec.user.find_first_not_of("0123456789") == std::string::npos) {
    // Without a group the image decides: it is root's where the image does not know the user.
    spec.user += ':' + spec.user;
    made.push_back({"user", "user", spec.user});
  }
  if (!spec.read_only) {
    spec.read_only = true;
    made.push_back({"read-only", "read_only", "true"});
  }
  if (std::none_of(spec.mounts.begin(), spec.mounts.end(),
                   [](const mount& one) { return std::filesystem::path{one.target}.lexically_normal() == "/tmp"; })) {
    spec.mounts.push_back({mount_type::tmpfs, "", "/tmp", false, byte_size{64ull << 20}});
    made.push_back({"read-only", "mounts", "tmpfs at /tmp (64m)"});
  }
  if (spec.cap_drop != std::vector<std::string>{"ALL"}) {
    spec.cap_drop = {"ALL"};
    made.push_back({"capabilities", "cap_drop", "ALL"});
  }
  if (!spec.network) {
    spec.network = "none";
    made.push_back({"network", "network", "none"});
  }
  return made;
}

std::optional<policy_profile> least_profile(const task_spec& spec) {
  for (auto profile : {policy_profile::restricted, policy_profile::baseline, policy_profile::privileged})
    if (check_profile(profile, spec).empty())
      return profile;
  return std::nullopt;
}

std::string label_of(policy_profile profile) {
  return "davit.profile=" + to_string(profile);
}

std::vector<std::string> labels_of(policy_profile allowed) {
  std::vector<std::string> labels;
  for (auto profile : {policy_profile::restricted, policy_profile::baseline, policy_profile::privileged})
    if (profile <= allowed)
      labels.push_back(label_of(profile));
  return labels;
}

std::string label_wanted(const task_spec& spec) {
  return label_of(least_profile(spec).value_or(policy_profile::privileged));
}

} // namespace davit
