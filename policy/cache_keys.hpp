// The keys of caches: `npm-{hash:package-lock.json}`. Pure.
#pragma once

#include "messages/task.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace davit {

struct cache_key_part {
  bool is_hash = false;
  std::string text; ///< As it is; or the path or pattern of the files that it is the hash of.

  bool operator==(const cache_key_part&) const = default;
};

/// The parts of a key, or of what a key begins with. A text without any is told in `wrong`; empty: it is good.
std::vector<cache_key_part> read_cache_key(std::string_view text, std::string& wrong);

/// A pattern of a `{hash:...}` as an absolute one, without the slash at its begin: relative ones are in the working
/// directory, or where the only input is. Empty: nobody knows where.
std::string
place_of_hashed(const std::string& pattern, const std::string& workdir, const std::vector<task_input>& inputs);

/// What is wrong with a scope; empty: it is good.
std::string wrong_cache_scope(std::string_view scope);

} // namespace davit
