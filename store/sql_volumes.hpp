// When an owner's volumes on an engine were used last, and which are being removed.
#pragma once

#include "messages/engine.hpp"
#include "store/sql_session.hpp"
#include "store/sql_values.hpp"

#include <set>
#include <tuple>

namespace davit::store {

/// How long a volume that an engine was asked to remove counts as being removed, if nobody says what became of it:
/// longer than davit waits for the engine's answer.
inline constexpr duration removal_limit{300'000};

/// A removal and an attempt exclude each other here: a volume is marked before the engine is asked to remove it, in one
/// transaction with the look at what was used; and an attempt with the volume is not made while it is marked. What the
/// attempt writes there can't be removed by a request that was sent before.
class sql_volumes final : public last_write {
public:
  explicit sql_volumes(sql_session& session) : session_(session) {}

  /// An attempt of `owner` is about to be made on the engine. False: one of its volumes is being removed there; ask
  /// again a little later. Within a transaction; throws.
  bool use(const std::string& engine_id, const std::string& owner, const std::vector<std::string>& names);

  /// An attempt of this transaction, which had the volumes, has ended.
  void used(const std::string& engine_id, const std::string& owner, const std::vector<std::string>& names);

  // Each is one transaction, or a part of the batch: see task_store.
  result<std::vector<volume_key>>
  take_unused(const std::string& engine_id, duration age, const std::vector<volume_key>& seen);
  result<void> removal_ended(const std::string& engine_id, const volume_key& volume, bool gone);

  void write_last() override;
  void forget() override { used_.clear(); }

private:
  number clock();
  void add(const std::string& engine_id, const std::vector<volume_key>& seen, number now);
  bool wanted(const volume_key& volume);

  sql_session& session_;
  std::set<std::tuple<std::string, std::string, std::string>> used_; ///< Engine, owner and name.
};

} // namespace davit::store
