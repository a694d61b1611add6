#include "actors/disk.hpp"

#include <filesystem>

namespace davit {

std::optional<std::uint64_t> free_disk(const agent_settings& settings) {
  std::error_code ec;
  auto space = std::filesystem::space(settings.data_dir, ec);
  return ec ? std::nullopt : std::optional<std::uint64_t>{space.available};
}

std::string why_no_room(const agent_settings& settings, std::optional<std::uint64_t> free) {
  if (!free || *free >= settings.min_free_disk.bytes)
    return {};
  return "the agent's data directory " + settings.data_dir.string() + " has " + std::to_string(*free >> 20)
       + "m free, less than agent.min-free-disk (" + to_string(settings.min_free_disk) + ")";
}

} // namespace davit
