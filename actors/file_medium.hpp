// Where an agent's files lie.
#pragma once

#include "actors/agent_settings.hpp"
#include "blobs/medium.hpp"

#include <memory>

namespace davit {

/// A bucket, or a folder in the data directory. None: the store is shared and no bucket is named, so what one agent
/// took in, another could not read. Whether a bucket can be reached is not asked here.
blobs::result<std::shared_ptr<blobs::medium>> open_medium(const agent_settings& settings);

} // namespace davit
