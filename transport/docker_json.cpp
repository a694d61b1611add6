#include "transport/docker_json.hpp"

#include "json/read.hpp"
#include "json/write.hpp"

namespace davit::transport {

namespace {

error malformed(const json::error& e) {
  return {engine_errc::protocol, 0, "the engine's answer is malformed: " + e.text()};
}

template <class T>
result<T> parse(std::string_view body) {
  auto parsed = json::read<T>(body, json::unknown_fields::ignore);
  if (!parsed)
    return malformed(parsed.error());
  return std::move(*parsed);
}

/// Go writes its zero time for "never".
std::optional<timestamp> when(const std::string& text) {
  return parse_timestamp(text);
}

// The engine's own objects, with the fields that davit reads, by their names.

struct raw_state {
  std::string Status, Error, StartedAt, FinishedAt;
  bool OOMKilled = false;
  std::int64_t ExitCode = 0;
};
template <class Inspector>
bool inspect(Inspector& f, raw_state& x) {
  return f.object(x).fields(f.field("Status", x.Status), f.field("Error", x.Error), f.field("StartedAt", x.StartedAt),
                            f.field("FinishedAt", x.FinishedAt), f.field("OOMKilled", x.OOMKilled),
                            f.field("ExitCode", x.ExitCode));
}

struct raw_config {
  bool Tty = false;
  std::string User;
  std::map<std::string, std::string> Labels;
};
template <class Inspector>
bool inspect(Inspector& f, raw_config& x) {
  return f.object(x).fields(f.field("Tty", x.Tty), f.field("User", x.User), f.field("Labels", x.Labels));
}

struct raw_host_config {
  std::string NetworkMode;
  bool ReadonlyRootfs = false;
};
template <class Inspector>
bool inspect(Inspector& f, raw_host_config& x) {
  return f.object(x).fields(f.field("NetworkMode", x.NetworkMode), f.field("ReadonlyRootfs", x.ReadonlyRootfs));
}

struct raw_mount {
  std::string Type, Name, Destination;
};
template <class Inspector>
bool inspect(Inspector& f, raw_mount& x) {
  return f.object(x).fields(f.field("Type", x.Type), f.field("Name", x.Name), f.field("Destination", x.Destination));
}

struct raw_container {
  std::string Id, Name, Image;
  raw_state State;
  raw_config Config;
  raw_host_config HostConfig;
  std::vector<raw_mount> Mounts;
};
template <class Inspector>
bool inspect(Inspector& f, raw_container& x) {
  return f.object(x).fields(f.field("Id", x.Id), f.field("Name", x.Name), f.field("Image", x.Image),
                            f.field("State", x.State), f.field("Config", x.Config), f.field("HostConfig", x.HostConfig),
                            f.field("Mounts", x.Mounts));
}

struct raw_summary {
  std::string Id, State;
  std::vector<std::string> Names;
  std::map<std::string, std::string> Labels;
};
template <class Inspector>
bool inspect(Inspector& f, raw_summary& x) {
  return f.object(x).fields(f.field("Id", x.Id), f.field("State", x.State), f.field("Names", x.Names),
                            f.field("Labels", x.Labels));
}

struct raw_volume {
  std::string Name, Mountpoint;
  std::map<std::string, std::string> Labels, Options;
};
template <class Inspector>
bool inspect(Inspector& f, raw_volume& x) {
  return f.object(x).fields(f.field("Name", x.Name), f.field("Mountpoint", x.Mountpoint), f.field("Labels", x.Labels),
                            f.field("Options", x.Options));
}

struct raw_volumes {
  std::vector<raw_volume> Volumes;
};
template <class Inspector>
bool inspect(Inspector& f, raw_volumes& x) {
  return f.object(x).fields(f.field("Volumes", x.Volumes));
}

struct raw_image_config {
  std::vector<std::string> Entrypoint, Cmd;
  std::string User;
};
template <class Inspector>
bool inspect(Inspector& f, raw_image_config& x) {
  return f.object(x).fields(f.field("Entrypoint", x.Entrypoint), f.field("Cmd", x.Cmd), f.field("User", x.User));
}

struct raw_image {
  std::string Id;
  std::vector<std::string> RepoDigests;
  std::uint64_t Size = 0;
  raw_image_config Config;
};
template <class Inspector>
bool inspect(Inspector& f, raw_image& x) {
  return f.object(x).fields(f.field("Id", x.Id), f.field("RepoDigests", x.RepoDigests), f.field("Size", x.Size),
                            f.field("Config", x.Config));
}

struct raw_plugins {
  std::vector<std::string> Log;
};
template <class Inspector>
bool inspect(Inspector& f, raw_plugins& x) {
  return f.object(x).fields(f.field("Log", x.Log));
}

struct raw_info {
  std::string ID, Name, ServerVersion, OperatingSystem, Architecture, CgroupVersion, Driver, DockerRootDir,
    LoggingDriver, SystemTime;
  raw_plugins Plugins;
  bool LiveRestoreEnabled = false, MemoryLimit = false, PidsLimit = false;
  std::int32_t NCPU = 0;
  std::uint64_t MemTotal = 0;
  std::vector<std::string> Warnings;
};
template <class Inspector>
bool inspect(Inspector& f, raw_info& x) {
  return f.object(x).fields(f.field("ID", x.ID), f.field("Name", x.Name), f.field("ServerVersion", x.ServerVersion),
                            f.field("OperatingSystem", x.OperatingSystem), f.field("Architecture", x.Architecture),
                            f.field("CgroupVersion", x.CgroupVersion), f.field("Driver", x.Driver),
                            f.field("DockerRootDir", x.DockerRootDir), f.field("LoggingDriver", x.LoggingDriver),
                            f.field("SystemTime", x.SystemTime), f.field("Plugins", x.Plugins),
                            f.field("LiveRestoreEnabled", x.LiveRestoreEnabled), f.field("MemoryLimit", x.MemoryLimit),
                            f.field("PidsLimit", x.PidsLimit), f.field("NCPU", x.NCPU), f.field("MemTotal", x.MemTotal),
                            f.field("Warnings", x.Warnings));
}

struct raw_actor {
  std::string ID;
  std::map<std::string, std::string> Attributes;
};
template <class Inspector>
bool inspect(Inspector& f, raw_actor& x) {
  return f.object(x).fields(f.field("ID", x.ID), f.field("Attributes", x.Attributes));
}

struct raw_event {
  std::string Type, Action;
  raw_actor Actor;
  std::int64_t timeNano = 0;
};
template <class Inspector>
bool inspect(Inspector& f, raw_event& x) {
  return f.object(x).fields(f.field("Type", x.Type), f.field("Action", x.Action), f.field("Actor", x.Actor),
                            f.field("timeNano", x.timeNano));
}

struct raw_detail {
  std::uint64_t current = 0, total = 0;
};
template <class Inspector>
bool inspect(Inspector& f, raw_detail& x) {
  return f.object(x).fields(f.field("current", x.current), f.field("total", x.total));
}

struct raw_pull_line {
  std::string status, id, error;
  std::optional<raw_detail> progressDetail;
};
template <class Inspector>
bool inspect(Inspector& f, raw_pull_line& x) {
  return f.object(x).fields(f.field("status", x.status), f.field("id", x.id), f.field("error", x.error),
                            f.field("progressDetail", x.progressDetail));
}

} // namespace

result<container_status> read_container(std::string_view body) {
  json::parser parser;
  auto root = parser.parse(body);
  if (!root)
    return malformed(root.error());
  auto raw = json::read<raw_container>(*root, json::unknown_fields::ignore);
  if (!raw)
    return malformed(raw.error());
  container_status status;
  if (raw->Id.empty() || raw->State.Status.empty())
    return error{engine_errc::protocol, 0, "the engine's answer is malformed: a container without id or state"};
  status.id = std::move(raw->Id);
  status.name = raw->Name.starts_with('/') ? raw->Name.substr(1) : raw->Name;
  status.image_id = std::move(raw->Image);
  status.labels = std::move(raw->Config.Labels);
  status.tty = raw->Config.Tty;
  if (constexpr std::string_view joined = "container:"; raw->HostConfig.NetworkMode.starts_with(joined))
    status.joined = raw->HostConfig.NetworkMode.substr(joined.size());
  status.user = std::move(raw->Config.User);
  status.read_only = raw->HostConfig.ReadonlyRootfs;
  for (auto& one : raw->Mounts)
    if (one.Type == "volume")
      status.volumes[one.Destination] = std::move(one.Name);
  status.state = std::move(raw->State.Status);
  status.exit_code = raw->State.ExitCode;
  status.oom_killed = raw->State.OOMKilled;
  status.error = std::move(raw->State.Error);
  status.started_at = when(raw->State.StartedAt);
  status.finished_at = when(raw->State.FinishedAt);
  json::element state;
  if ((*root)["State"].get(state) == simdjson::SUCCESS)
    status.raw_state = simdjson::minify(state);
  return status;
}

result<std::vector<container_summary>> read_containers(std::string_view body) {
  auto raw = parse<std::vector<raw_summary>>(body);
  if (!raw)
    return raw.error();
  std::vector<container_summary> list;
  for (auto& one : *raw) {
    auto name = one.Names.empty() ? std::string{} : one.Names.front();
    list.push_back(
      {std::move(one.Id), name.starts_with('/') ? name.substr(1) : name, std::move(one.State), std::move(one.Labels)});
  }
  return list;
}

namespace {

volume_summary summary_of(raw_volume raw) {
  auto type = raw.Options.find("type");
  return {std::move(raw.Name), std::move(raw.Labels), std::move(raw.Mountpoint),
          type == raw.Options.end() ? std::string{} : type->second};
}

} // namespace

result<std::vector<volume_summary>> read_volumes(std::string_view body) {
  auto raw = parse<raw_volumes>(body);
  if (!raw)
    return raw.error();
  std::vector<volume_summary> list;
  for (auto& one : raw->Volumes)
    list.push_back(summary_of(std::move(one)));
  return list;
}

result<volume_summary> read_volume(std::string_view body) {
  auto raw = parse<raw_volume>(body);
  if (!raw)
    return raw.error();
  return summary_of(std::move(*raw));
}

result<image_info> read_image(std::string_view body) {
  auto raw = parse<raw_image>(body);
  if (!raw)
    return raw.error();
  return image_info{
    std::move(raw->Id),         std::move(raw->RepoDigests), raw->Size, std::move(raw->Config.Entrypoint),
    std::move(raw->Config.Cmd), std::move(raw->Config.User)};
}

result<engine_info> read_info(std::string_view body) {
  auto raw = parse<raw_info>(body);
  if (!raw)
    return raw.error();
  if (raw->ID.empty())
    return error{engine_errc::protocol, 0, "the engine's answer is malformed: it reports no id in /info"};
  engine_info info;
  info.id = std::move(raw->ID);
  info.name = std::move(raw->Name);
  info.version = std::move(raw->ServerVersion);
  info.operating_system = std::move(raw->OperatingSystem);
  info.architecture = std::move(raw->Architecture);
  info.cgroup_version = std::move(raw->CgroupVersion);
  info.storage_driver = std::move(raw->Driver);
  info.data_root = std::move(raw->DockerRootDir);
  info.default_log_driver = std::move(raw->LoggingDriver);
  info.log_drivers = std::move(raw->Plugins.Log);
  info.live_restore = raw->LiveRestoreEnabled;
  info.memory_limit = raw->MemoryLimit;
  info.pids_limit = raw->PidsLimit;
  info.cpus = raw->NCPU;
  info.memory = raw->MemTotal;
  info.system_time = when(raw->SystemTime);
  info.warnings = std::move(raw->Warnings);
  return info;
}

result<engine_event> read_event(std::string_view line) {
  auto raw = parse<raw_event>(line);
  if (!raw)
    return raw.error();
  return engine_event{std::move(raw->Type),
                      std::move(raw->Action),
                      std::move(raw->Actor.ID),
                      std::move(raw->Actor.Attributes),
                      timestamp{std::chrono::nanoseconds{raw->timeNano}},
                      std::string{line}};
}

std::string read_message(std::string_view body) {
  json::parser parser;
  std::string_view message;
  if (auto root = parser.parse(body); root && (*root)["message"].get(message) == simdjson::SUCCESS)
    return std::string{message};
  auto text = std::string{body.substr(0, 500)};
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r'))
    text.pop_back();
  return text;
}

error read_error(int status, std::string_view body) {
  auto code = status == 404 ? engine_errc::not_found
            : status == 409 ? engine_errc::conflict
            : status >= 500 ? engine_errc::failed
                            : engine_errc::refused;
  auto why = read_message(body);
  return {code, status, why.empty() ? "the engine answered " + std::to_string(status) + " without a reason" : why};
}

std::string write_filters(const std::vector<std::pair<std::string, std::string>>& filters) {
  std::map<std::string, std::vector<std::string>> grouped;
  for (const auto& [key, value] : filters)
    grouped[key].push_back(value);
  return json::write(grouped);
}

result<std::string> read_id(std::string_view body) {
  json::parser parser;
  auto root = parser.parse(body);
  if (!root)
    return malformed(root.error());
  std::string_view id;
  if ((*root)["Id"].get(id) != simdjson::SUCCESS || id.empty())
    return error{engine_errc::protocol, 0, "the engine's answer is malformed: no Id"};
  return std::string{id};
}

result<void> pull_reader::line(std::string_view text) {
  auto raw = parse<raw_pull_line>(text);
  if (!raw)
    return raw.error();
  if (!raw->error.empty())
    return error{engine_errc::failed, 0, raw->error};
  progress_.status = raw->id.empty() ? raw->status : raw->id + ": " + raw->status;
  // Lines with a layer's id tell of the layer; "Pulling from ..." carries the tag there.
  if (raw->id.empty() || raw->status.starts_with("Pulling from") || layers_.size() > 1000)
    return {};
  auto& layer = layers_[raw->id];
  if (raw->status == "Downloading" && raw->progressDetail) {
    layer.current = raw->progressDetail->current;
    layer.total = std::max(raw->progressDetail->total, layer.current);
  } else if (raw->status == "Download complete") {
    layer.current = layer.total;
  } else if (raw->status == "Pull complete" || raw->status == "Already exists") {
    layer.current = layer.total;
    layer.done = true;
  }
  progress_.layers = static_cast<std::uint32_t>(layers_.size());
  progress_.layers_done = 0;
  progress_.bytes = progress_.bytes_total = 0;
  for (const auto& [id, one] : layers_) {
    progress_.layers_done += one.done;
    progress_.bytes += one.current;
    progress_.bytes_total += one.total;
  }
  return {};
}

} // namespace davit::transport
