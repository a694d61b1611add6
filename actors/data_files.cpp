#include "actors/data_files.hpp"

#include <cerrno>
#include <string_view>
#include <sys/stat.h>

namespace davit {

data_files::data_files(const agent_settings& settings) {
  constexpr std::string_view sqlite = "sqlite://";
  std::vector<std::filesystem::path> names{settings.data_dir / "agent.lock"};
  if (settings.store_url.starts_with(sqlite))
    names.emplace_back(settings.store_url.substr(sqlite.size()));
  for (const auto& name : names)
    if (struct stat info{}; ::stat(name.c_str(), &info) == 0)
      files_.emplace_back(name, identity{info.st_dev, info.st_ino});
}

std::string data_files::why_gone() const {
  for (const auto& [name, before] : files_) {
    struct stat info {};
    auto found = ::stat(name.c_str(), &info) == 0;
    if (!found && errno != ENOENT && errno != ENOTDIR) // a disk that fails has other symptoms
      continue;
    if (!found || identity{info.st_dev, info.st_ino} != before)
      return name.string() + (found ? " was replaced by another file" : " was removed")
           + " while the agent works with it: what it writes would be lost";
  }
  return {};
}

} // namespace davit
