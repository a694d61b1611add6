// What an attempt reaches and how it ends; cancelling; finished logs; the images that were used.
#pragma once

#include "store/sql_blobs.hpp"
#include "store/sql_events.hpp"
#include "store/sql_tasks.hpp"
#include "store/sql_volumes.hpp"

#include <map>
#include <set>

namespace davit::store {

/// The exact name of an image, under which it is kept; an id as it is.
std::string exact_image(const std::string& name);

/// Which engines have used which images, and when: written at a transaction's end.
class sql_images final : public last_write {
public:
  explicit sql_images(sql_session& session) : session_(session) {}

  /// An attempt of this transaction was made from the image.
  void use(const std::string& engine_id, const std::string& image) { used_.emplace(engine_id, exact_image(image)); }

  /// Gives the names that an older davit has written down their exact form.
  result<void> open();

  /// The ids of the engines that have used an image. Throws.
  std::vector<std::string> engines_with(const std::string& image);

  // Each is one transaction, or a part of the batch: see task_store.
  result<void> pulled(const std::string& engine_id, const std::string& name);
  result<std::vector<std::string>> unused(const std::string& engine_id, timestamp before);
  result<void> forget_image(const std::string& engine_id, const std::string& name);

  void write_last() override;
  void forget() override;

private:
  using key = std::pair<std::string, std::string>; ///< Engine and name.

  sql_session& session_;
  std::set<key> used_;            ///< By this transaction's attempts.
  std::map<key, number> written_; ///< When this session has written an image down last.
};

class sql_attempts {
public:
  sql_attempts(sql_session& session, sql_tasks& tasks, sql_events& events, sql_images& images, sql_volumes& volumes,
               sql_blobs& blobs)
    : session_(session), tasks_(tasks), events_(events), images_(images), volumes_(volumes), blobs_(blobs) {}

  // Each is one transaction, or a part of the batch: see task_store.
  result<void> record(const attempt_progress& progress);
  /// With `finished_at` unset: of an attempt that has not ended. Its message and evidence are kept until it has.
  result<task_state> finish(const attempt_result& ended);
  result<task> cancel(task_id id, std::optional<duration> within);
  result<duration> time_to_kill(task_id id);
  result<memo_answer> recall(const attempt_token& token, const std::string& memo);
  result<void> put_log(const attempt_key& key, std::uint32_t index, std::uint32_t count, const std::string& bytes);
  result<log_block> get_log(const attempt_key& key, std::uint32_t index);

  /// Cancels all tasks that are pinned to the agent. Within a transaction; throws.
  void cancel_pinned(const std::string& agent);

private:
  bool cancel_row(const std::string& id, std::optional<duration> within = {});
  number clock();
  result<task_state> record_meanwhile(const attempt_result& what);
  void use_outputs(const attempt_result& ended);
  std::optional<task_state> ended_before(const attempt_result& ended);
  void write_log(const std::string& task, number attempt, number block, number blocks, const std::string& bytes);

  sql_session& session_;
  sql_tasks& tasks_;
  sql_events& events_;
  sql_images& images_;
  sql_volumes& volumes_;
  sql_blobs& blobs_;
};

/// Until when a task that is queued at `from` may wait; 0: as long as it takes.
number queue_end(const task_spec& spec, number from);

} // namespace davit::store
