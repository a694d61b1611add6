// How large trees may be on an agent.
#pragma once

#include "actors/agent_settings.hpp"
#include "blobs/tree.hpp"
#include "store/blob_catalogue.hpp"

namespace davit {

/// What a tree of so many bytes may have; an input, unless `option` names another limit. Its manifest is in memory as a
/// whole, some times over, while the tree is used.
blobs::tree_limits
limits_for(const file_settings& settings, std::uint64_t bytes, std::string option = "blobs.input-size");

/// Of an output or a cache. `most` is at most what the agent allows; if it is less, the task's `max` says so.
blobs::tree_limits limits_for(const file_settings& settings, byte_size most, store::blob_purpose purpose);

} // namespace davit
