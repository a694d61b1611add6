// Lets go of blobs that nothing needs any more.
#pragma once

#include "actors/owner_blobs.hpp"

namespace davit {

struct sweep_result {
  std::uint64_t trees = 0, blobs = 0, bytes = 0, packs = 0; ///< Removed.
  std::uint64_t kept_blobs = 0, kept_bytes = 0;             ///< Of all owners, afterwards.
};

/// How long what only caches have used stays when nothing holds it any more.
constexpr duration cache_grace = std::chrono::hours{1};

/// Removes what no tree names and nobody has used for `unused`, and trees that no task uses and no cache is likewise;
/// what only caches have used, if they have not used it for `grace`, when that is shorter. Before that, caches that
/// nobody has begun with for `caches_unused`. What it can't read it leaves alone, and everything if the
/// medium has nothing of what owners have: that is an error. Blocks.
blobs::result<sweep_result> sweep_blobs(const std::shared_ptr<blobs::medium>& medium, const catalogue_access& catalogue,
                                        const std::string& agent, uuid incarnation, duration unused,
                                        duration caches_unused, duration grace = cache_grace);

} // namespace davit
