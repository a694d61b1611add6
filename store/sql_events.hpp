// Events in the life of tasks: written at a transaction's end, so that their sequence is the order of the commits.
#pragma once

#include "store/sql_session.hpp"

namespace davit::store {

class sql_events final : public last_write {
public:
  explicit sql_events(sql_session& session) : session_(session) {}

  /// Skips existing events. Call it before anything else.
  result<void> open();

  /// To the transaction that is open. `message` may be any bytes.
  void add(const std::string& task, long long attempt, const std::string& kind, task_state state,
           std::optional<outcome> ended, const std::string& message);

  result<std::vector<task_event>>
  after(std::int64_t sequence, task_id only, std::uint32_t limit, const std::string& owner = {});
  result<std::int64_t> last();
  result<ended_attempts> ended_since(const std::string& agent, timestamp since, std::int64_t after);
  result<std::vector<task_event>> news();

  void write_last() override;
  void forget() override;
  void committed() override;

private:
  void write_singly();
  void write_together();

  sql_session& session_;
  std::vector<task_event> events_; ///< Of this transaction.
  std::vector<task_event> news_;   ///< Committed, and not asked for yet.
  std::int64_t told_ = 0;          ///< The last event that was.
  bool unsure_ = true;             ///< The database alone knows the news.
};

} // namespace davit::store
