// Paths of a container, and those of its host that lead to an engine. Pure.
#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <string_view>

namespace davit::container_paths {

/// Sockets of engines: whoever has one owns the host.
inline constexpr std::array engine_sockets{"docker.sock",      "containerd.sock", "podman.sock",   "crio.sock",
                                           "cri-dockerd.sock", "dockershim.sock", "buildkitd.sock"};

/// Where engines keep their sockets; what holds one of these holds the socket.
inline constexpr std::array socket_folders{"/var/run",        "/run",
                                           "/run/docker",     "/var/run/docker",
                                           "/run/containerd", "/var/run/containerd",
                                           "/run/podman",     "/var/run/podman",
                                           "/run/crio",       "/var/run/crio",
                                           "/run/user",       "/var/run/user",
                                           "/run/buildkit",   "/proc"};

/// True if the host's path is an engine's socket, or holds one somewhere below.
inline bool reaches_engine(const std::string& source) {
  auto path = std::filesystem::path{source}.lexically_normal().string();
  if (path.size() > 1 && path.ends_with('/'))
    path.pop_back();
  if (path == "/")
    return true;
  for (std::string_view name : engine_sockets)
    if (path.find(name) != std::string::npos)
      return true;
  return std::any_of(socket_folders.begin(), socket_folders.end(), [&](std::string_view folder) {
    return path == folder || std::string{folder}.starts_with(path + '/')
        || (folder == "/proc" && path.starts_with("/proc/"));
  });
}

inline bool is_below(const std::string& path, std::string_view folder) {
  auto normal = std::filesystem::path{path}.lexically_normal().string();
  return normal == folder || normal.starts_with(std::string{folder} + '/');
}

/// Without doubled slashes, and none at its end: as the engine compares them.
inline std::string clean(const std::string& path) {
  auto normal = std::filesystem::path{path}.lexically_normal().string();
  if (normal.size() > 1 && normal.ends_with('/'))
    normal.pop_back();
  return normal;
}

inline bool is_short(const std::string& path) {
  auto names = std::filesystem::path{path};
  return path.size() < 4096
      && std::all_of(names.begin(), names.end(), [](const auto& name) { return name.native().size() <= 255; });
}

} // namespace davit::container_paths
