#pragma once

#include "store/blob_catalogue.hpp"
#include "store/sql_session.hpp"
#include "store/sql_values.hpp"

#include <map>

namespace davit::store {

class sql_blobs final : public blob_catalogue {
public:
  explicit sql_blobs(sql_session& session) : session_(session) {}

  result<std::vector<digest>>
  missing(const std::string& owner, const std::vector<digest>& wanted, blob_purpose purpose) override;
  result<std::vector<blob_place>> find(const std::string& owner, const std::vector<digest>& wanted) override;
  result<void> begin_pack(const new_pack& pack) override;
  result<void> end_pack(const std::string& key, const std::vector<blob_place>& content, std::uint64_t quota,
                        blob_purpose purpose) override;
  result<void> abandon_pack(const std::string& key) override;
  result<std::vector<digest>> keep_tree(const std::string& owner, const digest& tree,
                                        const std::vector<digest>& content, blob_purpose purpose) override;
  result<void> doubt_pack(const std::string& key) override;
  result<bool> lose_tree(const std::string& owner, const digest& tree) override;
  result<bool> use_tree(const std::string& owner, const digest& tree, task_id task) override;
  result<std::vector<owner_usage>> usage() override;
  result<std::optional<kept_cache>> find_cache(const std::string& owner, const std::vector<std::string>& scopes,
                                               const std::string& key,
                                               const std::vector<std::string>& prefixes) override;
  result<bool> keep_cache(const std::string& owner, const kept_cache& made, std::uint64_t limit) override;
  result<std::vector<kept_cache>> caches(const std::string& owner, const std::string& in_scope,
                                         const std::optional<kept_cache>& after, std::uint32_t limit) override;
  result<bool> drop_cache(const std::string& owner, const std::string& scope, const std::string& key,
                          const std::string& tree) override;
  result<std::uint64_t> drop_caches(timestamp before) override;
  result<timestamp> unused_since(duration age) override;
  result<void> abandon_packs_of(const std::string& agent, uuid incarnation, timestamp before) override;
  result<std::uint64_t> drop_trees(const sweep_bounds& before) override;
  result<std::vector<digest>> trees(const std::string& owner) override;
  result<sweep_page> sweep(const std::string& owner, std::optional<digest> from, const sweep_bounds& before,
                           const std::function<bool(const digest&)>& is_live) override;
  result<std::vector<std::string>> packs_to_remove(std::uint32_t limit) override;

  // Within a transaction; they throw.
  /// As use_tree.
  bool use(const std::string& owner, const digest& tree, task_id task);
  /// The task uses no tree any more.
  void forget_uses(task_id task);

  result<void> pack_removed(const std::string& key) override;

private:
  number clock();
  void lock(const std::string& owner);
  bool has_doubts(const std::string& owner);
  std::vector<digest> touch(const std::string& owner, std::vector<digest> wanted, blob_purpose purpose);
  void insert(const std::string& owner, const std::string& key, const std::vector<blob_place>& content,
              blob_purpose purpose);
  void take_from_packs(const std::map<std::string, number>& counts);

  sql_session& session_;
};

} // namespace davit::store
