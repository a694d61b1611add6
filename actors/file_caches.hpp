// Caches: what a thread of the file keeper does for them. It blocks.
#pragma once

#include "actors/file_transfer.hpp"

#include <functional>

namespace davit {

/// The key with the hashes of those of the inputs' files that fit. `trees` are the inputs', in their order. Errors:
/// `refused`, a sentence.
blobs::result<std::string> expand_cache_key(const std::string& key, const std::string& workdir,
                                            const std::vector<task_input>& inputs,
                                            const std::vector<blobs::tree>& trees);

/// What each cache begins with. Errors: files_errc.
caf::expected<std::vector<used_cache>> choose_caches(const transfer& with, const cache_order& order);

/// Nobody begins with this one again: it can't be read.
void drop_cache(const transfer& with, const std::string& owner, const used_cache& lost);

/// Reads a folder of the container into a tree that the owner keeps; an error is as collect's.
using folder_reader = std::function<caf::expected<collected_output>(const std::string& path, byte_size most)>;

/// Keeps what the container has left in caches whose key was not there. Only if the engine or where the files lie can't
/// be reached now is it an error; other troubles are told by the caches.
caf::expected<std::vector<used_cache>>
keep_caches(const transfer& with, const collect_order& order, const folder_reader& read);

} // namespace davit
