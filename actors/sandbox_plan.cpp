#include "actors/sandbox_plan.hpp"

#include "actors/container_plan.hpp"
#include "sandbox/hand_over.hpp"
#include "sandbox/message.hpp"
#include "sandbox/program.hpp"
#include "transport/docker_json.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>

namespace davit {

namespace {

mount init_volume(const std::string& name, const std::string& folder, bool read_only) {
  mount volume;
  volume.source = name;
  volume.target = folder;
  volume.read_only = read_only;
  return volume;
}

void add_init(container_plan& plan, const std::string& nonce) {
  plan.entrypoint = std::vector<std::string>{init::program_of(nonce)};
  plan.env[init::nonce_variable] = nonce;
  plan.labels[init::words_label] = init::words_version;
  plan.no_healthcheck = true; // its program would find the variable
  plan.mounts.push_back(init_volume(init::volume_name(), init::folder_of(nonce), true));
  if (plan.resources.pids)
    ++*plan.resources.pids; // the init is one
}

} // namespace

std::string why_cold(const task_spec& spec, const engine_settings& settings, const engine_info& engine) {
  if (spec.start == start_mode::cold)
    return "the task asks for it";
  if (settings.sandboxes == 0)
    return "the engine keeps no sandboxes (sandboxes = 0)";
  if (spec.tty)
    return "it has a terminal";
  if (spec.at_most_once)
    return "it runs at most once: only its own container can prove that it was never started";
  return why_no_init(spec, engine);
}

std::string why_no_init(const task_spec& spec, const engine_info& engine) {
  if (!spec.init.value_or(true))
    return "its command must be its container's first process (init: false)";
  if (!spec.pid.empty() && spec.pid != "private")
    return "it shares its process namespace (pid)";
  if (engine.architecture != init::architecture())
    return "the engine is for " + engine.architecture + ", the agent's init for " + std::string{init::architecture()};
  if (spec.env.contains(init::nonce_variable) || spec.secrets.contains(init::nonce_variable))
    return std::string{"it sets the variable "}.append(init::nonce_variable);
  return {};
}

bool reaches_init(const task_spec& spec) {
  static constexpr std::array powers{"ALL", "SYS_PTRACE", "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "BPF", "PERFMON"};
  return spec.privileged || std::any_of(spec.cap_add.begin(), spec.cap_add.end(), [](std::string name) {
           std::transform(name.begin(), name.end(), name.begin(),
                          [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
           name = name.starts_with("CAP_") ? name.substr(4) : name;
           return std::find(powers.begin(), powers.end(), name) != powers.end();
         });
}

container_plan with_init(container_plan plan, const image_info& image, const std::string& nonce) {
  auto arguments = arguments_of(plan, image);
  auto hosts = plan.bare_network && sandbox_files(plan, image).empty();
  plan.command = {init::run, plan.tty ? init::with_terminal : hosts ? init::with_hosts : init::plainly};
  plan.command.insert(plan.command.end(), arguments.begin(), arguments.end());
  plan.labels[init::nonce_label] = nonce;
  add_init(plan, nonce);
  return plan;
}

std::string sandbox_kind(const container_plan& of_task) {
  agent_settings nobody;
  return transport::create_body(sandbox_plan(nobody, of_task, ""));
}

container_plan sandbox_plan(const agent_settings& settings, const container_plan& of_task, const std::string& nonce) {
  auto plan = of_task;
  plan.name = std::string{sandbox_prefix} + init::mark_of(nonce);
  plan.command = {init::await_task, std::to_string(sandbox_patience.count())};
  if (plan.bare_network)
    plan.command.push_back(init::with_hosts);
  plan.env.clear();
  plan.secrets.clear();
  plan.labels = {{"davit.sandbox", nonce}, {"davit.agent", settings.name}, {"davit.fleet", settings.fleet}};
  // Each owner has its own: what waits for another's next task would tell of the last one.
  if (auto owner = of_task.labels.find("davit.owner"); owner != of_task.labels.end())
    plan.labels.insert(*owner);
  plan.open_stdin = true;
  add_init(plan, nonce);
  return plan;
}

bool may_be_too_long(const container_plan& plan) {
  std::size_t all = 0;
  for (const auto& one : plan.command)
    all += one.size();
  for (const auto& [name, value] : plan.env)
    all += name.size() + value.size();
  for (const auto& [name, hidden] : plan.secrets)
    all += name.size() + hidden.value.size();
  return all >= 100'000;
}

bool can_join(const container_plan& of_task) {
  const auto& network = of_task.network;
  return network != "none" && network != "host" && !network.starts_with("container:") && of_task.sysctls.empty()
      && of_task.runtime.empty() && of_task.userns_mode.empty() && of_task.uts.empty();
}

container_plan network_plan(const container_plan& of_task) {
  container_plan plan;
  plan.image = of_task.image;
  plan.user = "0";
  plan.network = of_task.network;
  plan.extra_hosts = of_task.extra_hosts;
  plan.dns = of_task.dns;
  plan.hostname = of_task.hostname;
  plan.read_only = true;
  plan.cap_drop = {"ALL"};
  plan.log_driver = of_task.log_driver;
  plan.log_options = of_task.log_options;
  return plan;
}

container_plan joined(container_plan of_task, const std::string& other) {
  of_task.network = "container:" + other;
  // The engine takes them from the other, and refuses them here.
  of_task.extra_hosts.clear();
  of_task.dns.clear();
  of_task.hostname.clear();
  return of_task;
}

std::string sandbox_files(const container_plan& plan, const image_info& image) {
  auto user = plan.user.empty() ? image.user : plan.user;
  user = user.substr(0, user.find(':'));
  return user.empty() || user == "0" || user == "root" ? std::string{} : network_files(plan);
}

std::vector<std::string> targets_in_root(const container_plan& plan) {
  std::vector<std::string> targets;
  if (!plan.labels.contains(init::words_label))
    return targets;
  for (const auto& one : plan.mounts) {
    auto path = std::filesystem::path{one.target}.lexically_normal().relative_path();
    if (path.filename().empty()) // of `data/`
      path = path.parent_path();
    if (one.type != mount_type::tmpfs && one.source != init::volume_name() && !path.has_parent_path())
      targets.push_back("/" + path.string());
  }
  return targets;
}

container_plan init_carrier(const agent_settings& settings, const std::string& volume, const std::string& image) {
  auto plan = never_started(settings, image);
  plan.mounts.push_back(init_volume(volume, init::folder_of(to_string(uuid::make_v4())), false));
  return plan;
}

container_plan never_started(const agent_settings& settings, const std::string& image) {
  container_plan plan;
  plan.name = std::string{carrier_prefix} + to_string(uuid::make_v4());
  plan.image = image;
  plan.entrypoint = std::vector<std::string>{"/never-started"};
  plan.labels = {{"davit.sandbox", "init"}, {"davit.agent", settings.name}, {"davit.fleet", settings.fleet}};
  plan.network = "none";
  return plan;
}

std::vector<std::string> arguments_of(const container_plan& of_task, const image_info& image) {
  // As moby merges them (daemon/commit.go, merge): an entrypoint of the task's own hides the image's command too.
  auto entrypoint = of_task.entrypoint.value_or(std::vector<std::string>{});
  auto command = of_task.command;
  if (entrypoint.empty()) {
    if (command.empty())
      command = image.command;
    if (!of_task.entrypoint)
      entrypoint = image.entrypoint;
  }
  entrypoint.insert(entrypoint.end(), command.begin(), command.end());
  return entrypoint;
}

} // namespace davit
