// Tasks and their attempts: rows as values, one or many, and lists of them.
#pragma once

#include "store/sql_session.hpp"
#include "store/sql_values.hpp"

namespace davit::store {

/// What is not finished, by indices that have nothing else.
extern const std::vector<std::string> unfinished;

class sql_tasks {
public:
  explicit sql_tasks(sql_session& session) : session_(session) {}

  // Within a transaction, or guarded. They throw.

  /// The task with its attempts, if it is there.
  std::optional<task> find(const std::string& id);

  /// The same of this owner's tasks alone.
  std::optional<task> find(const std::string& id, const std::string& owner);

  /// The task of an id that is known to be there.
  task load(const std::string& id) { return find(id).value(); }

  std::vector<attempt> attempts_of(const std::string& id);

  // Of these each is one transaction, or a part of the batch.

  result<task> get(task_id id, const std::string& owner);

  /// In three statements for each hundred tasks; a page ends early if its tasks are long.
  result<task_page> list(const task_query& query);

  result<std::vector<owner_counts>> counts();
  result<std::vector<task_id>> finished_before(timestamp before, std::uint32_t limit);
  result<void> forget(const std::vector<task_id>& tasks);

  static error missing(task_id id) { return {errc::not_found, "there is no task " + to_string(id)}; }

private:
  template <class Rows>
  std::optional<task> first_of(Rows rows);
  number add_tasks(task_page& page, const std::string& ids);

  sql_session& session_;
};

} // namespace davit::store
