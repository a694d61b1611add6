#include "transport/docker_json.hpp"

#include "json/write.hpp"
#include "messages/host_entry.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace davit::transport {

namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts{""};
  for (char c : text)
    if (c == at)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

} // namespace

std::string create_body(const container_plan& plan) {
  json::object body, host;
  body["Image"] = plan.image;
  if (!plan.command.empty())
    body["Cmd"] = json::to_value(plan.command);
  if (plan.entrypoint)
    body["Entrypoint"] = json::to_value(*plan.entrypoint);
  json::array env;
  for (const auto& [name, value] : plan.env)
    env.push_back(json::to_value(name + '=' + value));
  for (const auto& [name, hidden] : plan.secrets)
    env.push_back(json::to_value(name + '=' + hidden.value));
  body["Env"] = std::move(env);
  body["Labels"] = json::to_value(plan.labels);
  if (!plan.workdir.empty())
    body["WorkingDir"] = json::to_value(plan.workdir);
  if (!plan.user.empty())
    body["User"] = json::to_value(plan.user);
  body["Tty"] = plan.tty;
  body["OpenStdin"] = plan.open_stdin;
  body["StdinOnce"] = plan.open_stdin;
  body["AttachStdin"] = plan.open_stdin;
  body["AttachStdout"] = false;
  body["AttachStderr"] = false;
  if (plan.bare_network)
    body["NetworkDisabled"] = true;
  if (plan.no_healthcheck)
    body["Healthcheck"] = json::object{{"Test", json::array{"NONE"}}};
  body["StopTimeout"] = (plan.stop_timeout.count() + 999) / 1000;
  host["NetworkMode"] = plan.network;
  // Not Docker's --init: it says in the log what it can't execute, and an engine may have none. davit has an init of
  // its own (sandbox/).
  host["AutoRemove"] = false; // the engine's own removal races with reading the log
  if (plan.resources.cpus)
    host["NanoCpus"] = static_cast<std::int64_t>(std::llround(*plan.resources.cpus * 1e9));
  if (plan.resources.memory) {
    host["Memory"] = plan.resources.memory->bytes;
    host["MemorySwap"] = plan.resources.memory->bytes; // the sum of memory and swap: no swap on top
  }
  if (plan.resources.pids)
    host["PidsLimit"] = *plan.resources.pids;
  if (plan.resources.shm)
    host["ShmSize"] = plan.resources.shm->bytes;
  auto options = plan.security_opt;
  if (plan.no_new_privileges && std::find(options.begin(), options.end(), "no-new-privileges") == options.end())
    options.push_back("no-new-privileges");
  if (!options.empty())
    host["SecurityOpt"] = json::to_value(options);
  if (plan.privileged)
    host["Privileged"] = true;
  if (plan.read_only)
    host["ReadonlyRootfs"] = true;
  auto put = [](json::object& into, const char* name, const auto& value) {
    if (!value.empty())
      into[name] = json::to_value(value);
  };
  put(host, "CapAdd", plan.cap_add);
  put(host, "CapDrop", plan.cap_drop);
  put(host, "PidMode", plan.pid);
  put(host, "IpcMode", plan.ipc);
  put(host, "UTSMode", plan.uts);
  put(host, "UsernsMode", plan.userns_mode);
  put(host, "CgroupnsMode", plan.cgroup);
  put(host, "CgroupParent", plan.cgroup_parent);
  put(host, "Sysctls", plan.sysctls);
  put(host, "Runtime", plan.runtime);
  put(host, "GroupAdd", plan.group_add);
  auto hosts = plan.extra_hosts;
  for (auto& one : hosts) // engines before 25 read nothing but a colon, and no engine reads brackets
    if (auto entry = host_entry::of(one))
      one = entry->name + ':' + entry->address;
  put(host, "ExtraHosts", hosts);
  put(host, "Dns", plan.dns);
  put(body, "Hostname", plan.hostname);
  if (!plan.devices.empty()) {
    json::array devices;
    for (const auto& one : plan.devices) {
      auto parts = split(one, ':');
      devices.push_back(json::object{{"PathOnHost", parts[0]},
                                     {"PathInContainer", parts.size() > 1 ? parts[1] : parts[0]},
                                     {"CgroupPermissions", parts.size() > 2 ? parts[2] : "rwm"}});
    }
    host["Devices"] = std::move(devices);
  }
  if (!plan.ulimits.empty()) {
    json::array ulimits;
    for (const auto& [name, value] : plan.ulimits) {
      auto parts = split(value, ':');
      auto number = [](const std::string& text) { return std::strtoll(text.c_str(), nullptr, 10); };
      ulimits.push_back(json::object{{"Name", name}, {"Soft", number(parts[0])}, {"Hard", number(parts.back())}});
    }
    host["Ulimits"] = std::move(ulimits);
  }
  json::array mounts;
  for (const auto& one : plan.mounts) {
    json::object entry{{"Type", to_string(one.type)}, {"Target", one.target}, {"ReadOnly", one.read_only}};
    if (!one.source.empty())
      entry["Source"] = one.source;
    if (one.type == mount_type::tmpfs) {
      json::object tmpfs{{"Mode", 01777}}; // where the image has no such folder; else the engine takes that one's
      if (one.size)
        tmpfs["SizeBytes"] = one.size->bytes;
      entry["TmpfsOptions"] = std::move(tmpfs);
    }
    if (one.type == mount_type::volume) {
      json::object labels;
      auto own = plan.volume_labels.find(one.source);
      for (const auto& [name, value] : own == plan.volume_labels.end() ? plan.labels : own->second)
        if (name.starts_with("davit.") && !name.starts_with("davit.label.")) // those are the task's
          labels[name] = value;
      json::object options{{"Labels", std::move(labels)}};
      const auto& empty = plan.empty_volumes;
      if (std::find(empty.begin(), empty.end(), one.target) != empty.end())
        options["NoCopy"] = true;
      entry["VolumeOptions"] = std::move(options);
    }
    mounts.push_back(std::move(entry));
  }
  host["Mounts"] = std::move(mounts);
  if (!plan.log_driver.empty())
    host["LogConfig"] = json::object{{"Type", plan.log_driver}, {"Config", json::to_value(plan.log_options)}};
  body["HostConfig"] = std::move(host);
  return json::write(json::value(std::move(body)));
}

} // namespace davit::transport
