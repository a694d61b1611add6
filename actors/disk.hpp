// How much room the agent's own data has.
#pragma once

#include "actors/agent_context.hpp"

#include <cstdint>
#include <optional>

namespace davit {

/// Bytes that are free where the agent keeps its data; no value: the file system does not tell. Asks the kernel each
/// time.
std::optional<std::uint64_t> free_disk(const agent_settings& settings);

/// Why nothing new is begun with so little room (min-free-disk); empty: there is enough.
std::string why_no_room(const agent_settings& settings, std::optional<std::uint64_t> free);

} // namespace davit
