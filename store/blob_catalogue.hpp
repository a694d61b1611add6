// Which blobs each owner has, in which pack each lies, and what is not needed any more.
#pragma once

#include "blobs/packed_source.hpp"
#include "messages/caches.hpp"
#include "messages/uuid.hpp"
#include "store/task_store.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace davit::store {

using blobs::digest;

using blobs::blob_place;

/// A pack that is written.
struct new_pack {
  std::string key;
  std::string owner;
  std::string agent; ///< Who writes it.
  uuid incarnation;
};

struct owner_usage {
  std::string owner;
  std::uint64_t bytes = 0, blobs = 0;
  std::uint64_t lost_bytes = 0; ///< Of these, what can't be read any more: it can be sent again beside them.
};

/// What blobs and trees are used for.
enum class blob_purpose : std::uint8_t {
  task, ///< Or by a client, which may take its time until a task uses them.
  cache ///< To keep a cache, or to begin with one. This takes no time worth mentioning.
};

/// What was not used for tasks since the first moment, nor for caches since the second one, is not used any more. The
/// second one is not earlier.
struct sweep_bounds {
  timestamp task, cache;
};

/// A page of a sweep.
struct sweep_page {
  std::uint64_t removed = 0, bytes = 0;
  std::optional<digest> next; ///< Where the next page begins; none: this was the last.
};

/// Owners share nothing here, not even equal bytes: what is missing tells an owner nothing about others. A pack is
/// written down before its object is begun, so there is no object that nobody knows. A blob is there from the moment
/// when its pack's end is written down; until something holds it (a tree, and a task that uses the tree) it stays for
/// as long as the sweeper lets unused ones be. Each function is one transaction, or a part of a batch: see task_store,
/// whose session this shares. Not thread-safe.
class blob_catalogue {
public:
  virtual ~blob_catalogue() = default;

  /// Those of `wanted` that the owner does not have, or that lie in a pack that is doubted, each once. The others
  /// count as used now.
  virtual result<std::vector<digest>>
  missing(const std::string& owner, const std::vector<digest>& wanted, blob_purpose purpose = blob_purpose::task) = 0;

  /// Where those of `wanted` lie that the owner has, each once, by their digests; in doubted packs too. If an object is
  /// gone when it is opened, its blobs are gone, or lie elsewhere by now, or the pack is to be doubted.
  virtual result<std::vector<blob_place>> find(const std::string& owner, const std::vector<digest>& wanted) = 0;

  virtual result<void> begin_pack(const new_pack& pack) = 0;

  /// The pack's object is committed, and has these. What the owner has already stays where it is, but for what lies in
  /// a doubted pack. `over_quota` if the owner would have more than `quota` bytes: then nothing is written down, and
  /// the pack is to be abandoned. The same again, because an answer was lost, changes nothing.
  virtual result<void> end_pack(const std::string& key, const std::vector<blob_place>& content, std::uint64_t quota,
                                blob_purpose purpose = blob_purpose::task)
    = 0;

  /// It is not written to its end.
  virtual result<void> abandon_pack(const std::string& key) = 0;

  /// Keeps a tree: its manifest and all that it names are there, and stay for as long as the tree does. If not: those
  /// that are missing, each once, and nothing is kept. `content` has the manifest too.
  virtual result<std::vector<digest>>
  keep_tree(const std::string& owner, const digest& tree, const std::vector<digest>& content,
            blob_purpose purpose = blob_purpose::task)
    = 0;

  /// The pack's object is not there, or its bytes are not what they should be: its blobs are missing until they are
  /// sent again. A pack in which there is nothing any more is left alone.
  virtual result<void> doubt_pack(const std::string& key) = 0;

  /// Nobody can read the tree's manifest, so the sweeper does not know what it names: until it is kept again there is
  /// no such tree. False: this is known, or the manifest was sent again.
  virtual result<bool> lose_tree(const std::string& owner, const digest& tree) = 0;

  /// The task uses the owner's tree until the store forgets the task. False: there is no such tree.
  virtual result<bool> use_tree(const std::string& owner, const digest& tree, task_id task) = 0;

  virtual result<std::vector<owner_usage>> usage() = 0;

  // -- caches: trees that an owner keeps under keys -------------------------------------------------------------------

  /// What a task begins with: the one of this key, or else, of the first prefix that any key begins with, the newest.
  /// Of each, the first of the scopes that has one. It counts as used now.
  virtual result<std::optional<kept_cache>> find_cache(const std::string& owner, const std::vector<std::string>& scopes,
                                                       const std::string& key, const std::vector<std::string>& prefixes)
    = 0;

  /// Keeps a tree that the owner has. False: there is no such tree, or another one is kept under this key in this scope
  /// already, and stays. What the owner has used longest ago goes until all its caches together have at most `limit`
  /// bytes. `made` needs no times.
  virtual result<bool> keep_cache(const std::string& owner, const kept_cache& made, std::uint64_t limit) = 0;

  /// Those in these scopes, by scope and key; from behind `after` on if that is there.
  virtual result<std::vector<kept_cache>> caches(const std::string& owner, const std::string& in_scope,
                                                 const std::optional<kept_cache>& after, std::uint32_t limit)
    = 0;

  /// Removes it, if it still is this tree (empty: any). False: there is none.
  virtual result<bool>
  drop_cache(const std::string& owner, const std::string& scope, const std::string& key, const std::string& tree) = 0;

  // -- what the sweeper asks, in this order ---------------------------------------------------------------------------

  /// What was used before this moment was not used for `age`, by the database's clock.
  virtual result<timestamp> unused_since(duration age) = 0;

  /// Packs that earlier incarnations of the agent have not ended, or anybody since `before`, are to be removed.
  virtual result<void> abandon_packs_of(const std::string& agent, uuid incarnation, timestamp before) = 0;

  /// Removes the caches that nobody has used since `before`. Answers how many.
  virtual result<std::uint64_t> drop_caches(timestamp before) = 0;

  /// Lets go of trees that no task uses, that no cache is, and that are not used any more. Answers how many.
  virtual result<std::uint64_t> drop_trees(const sweep_bounds& before) = 0;

  /// The trees that the owner has: what their manifests name is live.
  virtual result<std::vector<digest>> trees(const std::string& owner) = 0;

  /// Removes, from `from` on, blobs of the owner that are not live and not used any more. Looks at a thousand. `before`
  /// was asked for before the trees: a tree that came later has used its blobs since.
  virtual result<sweep_page> sweep(const std::string& owner, std::optional<digest> from, const sweep_bounds& before,
                                   const std::function<bool(const digest&)>& is_live)
    = 0;

  /// Packs whose objects are to be removed from the medium: abandoned ones, and those that have no blob any more. Each
  /// is named until its removal is told.
  virtual result<std::vector<std::string>> packs_to_remove(std::uint32_t limit) = 0;
  virtual result<void> pack_removed(const std::string& key) = 0;
};

} // namespace davit::store
