#include "actors/container_plan.hpp"

#include "actors/volume_names.hpp"
#include "sandbox/hand_over.hpp"
#include "encoding/archive.hpp"

#include <charconv>

namespace davit {

std::string container_name(const attempt_key& key) {
  return "davit-" + to_string(key.task) + "-" + std::to_string(key.number);
}

std::optional<attempt_key> key_of_name(std::string_view name) {
  constexpr std::string_view prefix = "davit-";
  auto dash = name.rfind('-');
  attempt_key key;
  if (!name.starts_with(prefix) || dash < prefix.size()
      || !from_string(name.substr(prefix.size(), dash - prefix.size()), key.task))
    return std::nullopt;
  auto digits = name.substr(dash + 1);
  auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), key.number);
  if (code != std::errc{} || end != digits.data() + digits.size())
    return std::nullopt;
  return key;
}

container_plan plan_container(const agent_settings& settings, const attempt_key& key, const task_spec& spec,
                              const std::string& owner, const std::map<std::string, secret>& secrets) {
  container_plan plan;
  plan.name = container_name(key);
  plan.image = spec.image;
  plan.command = spec.command;
  plan.entrypoint = spec.entrypoint;
  if (plan.entrypoint == std::vector<std::string>{""}) // as docker has it: none, not even the image's
    plan.entrypoint->clear();
  plan.env = spec.env;
  plan.env.emplace("DAVIT_TASK_ID", to_string(key.task));
  plan.env.emplace("DAVIT_ATTEMPT", std::to_string(key.number));
  if (!spec.traceparent.empty())
    plan.env.emplace("TRACEPARENT", spec.traceparent);
  plan.secrets = secrets;
  plan.labels = spec.labels;
  plan.labels["davit.task"] = to_string(key.task);
  plan.labels["davit.attempt"] = std::to_string(key.number);
  plan.labels["davit.agent"] = settings.name;
  plan.labels["davit.fleet"] = settings.fleet;
  plan.labels["davit.owner"] = owner;
  plan.workdir = spec.workdir;
  plan.user = spec.user;
  plan.tty = spec.tty;
  plan.open_stdin = spec.stdin_text.has_value();
  plan.network = spec.network.value_or("none");
  plan.mounts = spec.mounts;
  auto add_volume = [&](const std::string& path) { // of its own, gone with the container
    mount volume;
    volume.target = path;
    plan.mounts.push_back(std::move(volume));
  };
  for (const auto& one : spec.inputs)
    add_volume(one.path);
  for (const auto& one : spec.caches) {
    add_volume(one.path);
    plan.empty_volumes.push_back(one.path); // or what a task has removed would be there again
  }
  for (const auto& one : plan.mounts)
    if (is_owned(one))
      plan.volume_labels[one.source] = volume_labels(settings.fleet, owner);
  plan.resources = spec.resources;
  plan.stop_timeout = spec.stop_timeout.value_or(std::chrono::seconds{10});
  plan.privileged = spec.privileged;
  plan.no_new_privileges = !spec.privileged;
  plan.read_only = spec.read_only.value_or(false);
  plan.cap_add = spec.cap_add;
  plan.cap_drop = spec.cap_drop;
  plan.devices = spec.devices;
  plan.pid = spec.pid;
  plan.ipc = spec.ipc;
  plan.uts = spec.uts;
  plan.userns_mode = spec.userns_mode;
  plan.cgroup = spec.cgroup;
  plan.cgroup_parent = spec.cgroup_parent;
  plan.security_opt = spec.security_opt;
  plan.sysctls = spec.sysctls;
  plan.ulimits = spec.ulimits;
  plan.runtime = spec.runtime;
  plan.group_add = spec.group_add;
  plan.extra_hosts = spec.extra_hosts;
  plan.dns = spec.dns;
  plan.hostname = spec.hostname;
  // Loopback and nothing else is what `none` means; the engine's own way to it takes a quarter of a second
  // (docs/decisions/0008).
  plan.bare_network = plan.network == "none" && !plan.read_only && plan.extra_hosts.empty() && plan.dns.empty()
                   && plan.sysctls.empty() && plan.runtime.empty();
  // docs/decisions/0002-log-driver.md: exact bytes, blocking, and no rotation below what a log can hold.
  plan.log_driver = "local";
  plan.log_options = {{"mode", "blocking"}, {"max-size", "1000g"}, {"max-file", "1"}, {"compress", "false"}};
  return plan;
}

std::string network_files(const container_plan& plan) {
  if (!plan.bare_network)
    return {};
  static const auto tar = encoding::pack({{"etc/hosts", 0644, init::hosts}});
  return tar;
}

} // namespace davit
