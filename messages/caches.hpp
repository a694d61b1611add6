// Folders that tasks keep for those after them.
#pragma once

#include "messages/units.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace davit {

/// A folder that begins with what an earlier task has left there, and that this task keeps if it succeeds.
struct task_cache {
  static constexpr bool json_omits_empty = true;

  /// What it is kept as, once and for all. `{hash:PATH}` stands for the SHA-256 of the inputs' files that fit PATH, a
  /// path or a pattern in the container.
  std::string key;
  std::string path;                 ///< Absolute, in the container. A volume of the task's own is mounted there.
  std::vector<std::string> restore; ///< What else to begin with: the newest whose key begins so. The first that fits.
  std::optional<byte_size> max;     ///< Of its files together; larger ones are not kept. Default: the agent's.

  bool operator==(const task_cache&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, task_cache& x) {
  return f.object(x).fields(f.field("key", x.key), f.field("path", x.path), f.field("restore", x.restore),
                            f.field("max", x.max));
}

/// What an attempt did with a cache.
struct used_cache {
  static constexpr bool json_omits_empty = true;

  std::string path;
  std::string key;         ///< With its hashes.
  std::string restored;    ///< The key of what it began with; empty: nothing.
  std::string scope;       ///< Of that; empty: the trusted one.
  std::string tree;        ///< Of that.
  bool kept = false;       ///< What it left has been kept.
  std::uint64_t bytes = 0; ///< Of the files that were kept.
  std::string message;     ///< Why they were not.

  bool operator==(const used_cache&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, used_cache& x) {
  return f.object(x).fields(f.field("path", x.path), f.field("key", x.key), f.field("restored", x.restored),
                            f.field("scope", x.scope), f.field("tree", x.tree), f.field("kept", x.kept),
                            f.field("bytes", x.bytes), f.field("message", x.message));
}

/// One that an owner has.
struct kept_cache {
  static constexpr bool json_omits_empty = true;

  std::string key;
  std::string scope; ///< Empty: what trusted tasks keep, and all may read.
  std::string tree;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::string task; ///< That has kept it.
  timestamp created_at;
  timestamp used_at;

  bool operator==(const kept_cache&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, kept_cache& x) {
  return f.object(x).fields(f.field("key", x.key), f.field("scope", x.scope), f.field("tree", x.tree),
                            f.field("files", x.files), f.field("bytes", x.bytes), f.field("task", x.task),
                            f.field("created_at", x.created_at), f.field("used_at", x.used_at));
}

/// The scopes that a task of this scope reads from, its own first: `pr/7` reads from `pr/7`, `pr` and the trusted one.
std::vector<std::string> cache_scopes(const std::string& scope);

/// Whether the scope is this one or lies in it: `pr/7` lies in `pr`, and everything lies in the trusted one.
bool is_in_scope(std::string_view scope, std::string_view in);

} // namespace davit
