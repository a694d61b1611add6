#include "cli/containers_folder.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <unistd.h>

namespace davit {

namespace {

using std::filesystem::path;

/// Whether containers of some engine are in the folder.
bool has_containers(const path& folder) {
  std::error_code ec;
  for (std::filesystem::directory_iterator one{folder, ec}, end; !ec && one != end; one.increment(ec)) {
    auto name = one->path().filename().string();
    if (name.size() == 64 && name.find_first_not_of("0123456789abcdef") == std::string::npos)
      return true;
  }
  return false;
}

} // namespace

finding judge_containers_folder(const engine_settings& engine, const std::string& data_root,
                                const transport::result<std::vector<container_summary>>& containers) {
  path folder = engine.log_files, expected = path{data_root} / "containers";
  auto good = [&](std::string remark = {}) {
    return finding{engine.name, "containers-folder", "ok", "logs are followed in " + folder.string() + remark, ""};
  };
  auto wrong = [&](std::string why, std::string fix) {
    return finding{engine.name, "containers-folder", "warning",
                   std::move(why) + ": davit asks the engine for its logs instead", std::move(fix)};
  };
  auto fix = "set containers-folder to the place where the agent finds " + expected.string()
           + " of the engine's host, or take it away";
  auto access
    = "let the agent read the folder \"containers\" of the engine's data root, or take containers-folder away";
  if (::access(folder.c_str(), R_OK | X_OK) != 0)
    return wrong(folder.string() + " can't be read (" + std::strerror(errno) + ')', access);
  if (!containers)
    return wrong(folder.string() + " can't be compared with the engine's containers (" + containers.error().message
                   + ')',
                 "ask again");
  auto found = false;
  for (const auto& one : *containers) {
    std::error_code ec;
    auto own = folder / one.id, log = own / "local-logs/container.log"; // there with the log driver `local` alone
    found = found || std::filesystem::is_directory(own, ec);
    if (::access(log.c_str(), R_OK) != 0 && errno != ENOENT && errno != ENOTDIR)
      return wrong(log.string() + " can't be read (" + std::strerror(errno) + ')', access);
  }
  if (found)
    return good();
  if (!containers->empty())
    return wrong(folder.string() + " does not have this engine's containers, such as "
                   + containers->front().id.substr(0, 12),
                 fix);
  if (has_containers(folder))
    return wrong(folder.string() + " has containers, and this engine has none: it is another engine's", fix);
  std::error_code ec;
  if (std::filesystem::equivalent(folder, expected, ec))
    return good(", the engine's own; it has no container yet to make sure with");
  return {engine.name, "containers-folder", "warning",
          "the engine has no container, so nothing says whether " + folder.string()
            + " is the folder of its containers: here, " + expected.string() + " is another one, or none",
          "ask again when it has one; " + fix};
}

} // namespace davit
