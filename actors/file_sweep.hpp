// Lets go of blobs that nothing needs any more.
#pragma once

#include "actors/owner_blobs.hpp"

namespace davit {

struct sweep_result {
  std::uint64_t trees = 0, blobs = 0, bytes = 0, packs = 0; ///< Removed.
  std::uint64_t kept_blobs = 0, kept_bytes = 0;             ///< Of all owners, afterwards.
};

/// Removes what no tree names and nobody has used for `unused`, and trees that no task uses and no cache is likewise;
/// before that, caches that nobody has begun with for `caches_unused`. What it can't
/// read it leaves alone. Blocks.
blobs::result<sweep_result> sweep_blobs(const std::shared_ptr<blobs::medium>& medium, const catalogue_access& catalogue,
                                        const std::string& agent, uuid incarnation, duration unused,
                                        duration caches_unused);

} // namespace davit
