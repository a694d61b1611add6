#include "store/sql_tasks.hpp"

#include <algorithm>
#include <map>
#include <tuple>

namespace davit::store {

const std::vector<std::string> unfinished{"state = 'queued' AND ready = 1", "state = 'queued' AND ready = 0",
                                          "state IN ('starting', 'running')"};

namespace {

using maybe_text = std::optional<std::string>;
using maybe_number = std::optional<number>;

const std::string task_columns
  = "id, name, state, outcome, exit_code, message, cancel_requested, created_at, not_before,"
    " finished_at, spec, secrets, owner";
using task_row = std::tuple<std::string, std::string, std::string, maybe_text, maybe_number, std::string, number,
                            number, number, maybe_number, std::string, std::string, std::string>;

const std::string attempt_columns
  = "task, number, agent, engine, engine_id, container, image_id, created_at, started_at,"
    " finished_at, phases, outcome, exit_code, message, outputs, caches, answer_of, evidence";
using attempt_row = std::tuple<std::string, number, std::string, std::string, std::string, std::string, std::string,
                               maybe_number, maybe_number, maybe_number, std::string, maybe_text, maybe_number,
                               std::string, std::string, std::string, std::string, std::string>;
constexpr std::size_t evidence_column = std::tuple_size_v<attempt_row> - 1;

/// Of specs and evidence in a page of a list, which ends before the task that would be too much; one is always in it.
constexpr number page_bytes = 8 << 20;

/// Without its attempts.
task task_of(task_row& row) {
  auto& [id, name, state, outcome, code, message, cancelled, created, not_before, finished, spec, secrets, owner] = row;
  task one;
  one.id = read_id(id);
  one.name = std::move(name);
  one.state = read_enum<task_state>(state);
  one.outcome = read_outcome(outcome);
  one.exit_code = code;
  one.message = std::move(message);
  one.cancel_requested = cancelled != 0;
  one.created_at = read_time(created);
  if (not_before != 0)
    one.not_before = read_time(not_before);
  one.finished_at = read_time(finished);
  one.spec = read_json<task_spec>(spec);
  read_secrets(secrets, one.spec);
  one.owner = std::move(owner);
  return one;
}

attempt attempt_of(attempt_row& row) {
  auto& [task, n, agent, engine, engine_id, container, image_id, created, started, finished, phases, outcome, code,
         message, outputs, caches, answer_of, evidence]
    = row;
  attempt one;
  one.number = static_cast<std::int32_t>(n);
  one.agent = std::move(agent);
  one.engine = std::move(engine);
  one.engine_id = std::move(engine_id);
  one.container = std::move(container);
  one.image_id = std::move(image_id);
  one.created_at = read_time(created);
  one.started_at = read_time(started);
  one.finished_at = read_time(finished);
  one.phases = read_json<phase_seconds>(phases);
  one.outcome = read_outcome(outcome);
  one.exit_code = code;
  one.message = std::move(message);
  one.evidence = read_json<davit::evidence>(evidence);
  if (outputs != "[]")
    one.outputs = read_json<std::vector<collected_output>>(outputs);
  if (caches != "[]")
    one.caches = read_json<std::vector<used_cache>>(caches);
  one.answer_of = std::move(answer_of);
  return one;
}

/// As statements::rows, with the row's type by its name.
template <class Row, class... In>
std::vector<Row> rows_of(statements& kept, const std::string& text, const In&... in) {
  return [&]<class... Out>(std::tuple<Out...>*) { return kept.rows<Out...>(text, in...); }(static_cast<Row*>(nullptr));
}

/// Of a text that is not asked again, with as many values as it takes.
template <class Row>
std::vector<Row> rows_once(soci::session& sql, const std::string& text, const std::vector<std::string>& values) {
  return [&]<class... Out>(std::tuple<Out...>*) {
    return statements::rows_with<Out...>(sql, text, values);
  }(static_cast<Row*>(nullptr));
}

/// The tasks that a query asks for: SQL for what stands behind WHERE, and its values.
std::pair<std::string, std::vector<std::string>> condition_of(const task_query& query) {
  std::string text = "1 = 1";
  std::vector<std::string> values;
  auto add = [&](const std::string& condition, std::string value) {
    text += condition + std::to_string(values.size());
    values.push_back(std::move(value));
  };
  if (query.state)
    add(" AND state = :v", to_string(*query.state));
  if (!query.name.empty())
    add(" AND name = :v", query.name);
  if (!query.owner.empty())
    add(" AND owner <> '' AND owner = :v", query.owner); // the index task_owner has no others
  if (query.before)
    add(" AND id < :v", to_string(*query.before));
  for (const auto& [name, value] : query.labels) {
    add(" AND EXISTS (SELECT 1 FROM label l WHERE l.task = t.id AND l.name = :v", name);
    if (!value.empty())
      add(" AND l.value = :v", value);
    text += ")";
  }
  return {std::move(text), std::move(values)};
}

} // namespace

template <class Rows>
std::optional<task> sql_tasks::first_of(Rows rows) {
  if (rows.empty())
    return std::nullopt;
  auto one = task_of(rows.front());
  one.attempts = attempts_of(std::get<0>(rows.front()));
  return one;
}

std::optional<task> sql_tasks::find(const std::string& id) {
  return first_of(rows_of<task_row>(session_.kept(), "SELECT " + task_columns + " FROM task WHERE id = :id", id));
}

std::optional<task> sql_tasks::find(const std::string& id, const std::string& owner) {
  return first_of(rows_of<task_row>(
    session_.kept(), "SELECT " + task_columns + " FROM task WHERE id = :id AND owner = :owner", id, owner));
}

std::vector<attempt> sql_tasks::attempts_of(const std::string& id) {
  std::vector<attempt> all;
  for (auto& row : rows_of<attempt_row>(
         session_.kept(), "SELECT " + attempt_columns + " FROM attempt WHERE task = :id ORDER BY number", id))
    all.push_back(attempt_of(row));
  return all;
}

result<task> sql_tasks::get(task_id id, const std::string& owner) {
  return session_.guarded<task>([&]() -> result<task> {
    auto found = owner.empty() ? find(to_string(id)) : find(to_string(id), text_of(owner));
    if (!found)
      return missing(id);
    return std::move(*found);
  });
}

result<task_page> sql_tasks::list(const task_query& query) {
  return session_.guarded<task_page>([&]() -> result<task_page> {
    auto [condition, values] = condition_of(query);
    auto limit = std::clamp<std::uint32_t>(query.limit, 1, 1000);
    auto found = rows_once<std::tuple<std::string, number>>(session_.sql(),
                                                            "SELECT id, " + session_.how().spec_bytes()
                                                              + " FROM task t WHERE " + condition
                                                              + " ORDER BY id DESC LIMIT " + std::to_string(limit + 1),
                                                            values);
    task_page page;
    auto next = found.begin(), end = found.begin() + std::min<std::ptrdiff_t>(limit, std::ssize(found));
    number bytes = 0;
    auto fits = [&] { return next != end && (bytes == 0 || bytes + std::get<1>(*next) <= page_bytes); };
    while (fits()) {
      std::string ids; // some at a time: what their attempts hold is known when it has been read
      for (int some = 0; some < 100 && fits(); ++some, ++next) {
        bytes += std::get<1>(*next);
        ids += (ids.empty() ? "" : ", ") + literal(std::get<0>(*next));
      }
      bytes += add_tasks(page, ids);
    }
    if (next != found.end())
      page.next = read_id(std::get<0>(*std::prev(next)));
    return page;
  });
}

/// Adds the tasks that are still there, and says how many bytes of evidence their attempts have.
number sql_tasks::add_tasks(task_page& page, const std::string& ids) {
  std::map<std::string, std::size_t> places;
  for (auto& row : rows_once<task_row>(
         session_.sql(), "SELECT " + task_columns + " FROM task WHERE id IN (" + ids + ") ORDER BY id DESC", {})) {
    places.emplace(std::get<0>(row), page.tasks.size());
    page.tasks.push_back(task_of(row));
  }
  number bytes = 0;
  for (auto& row : rows_once<attempt_row>(
         session_.sql(),
         "SELECT " + attempt_columns + " FROM attempt WHERE task IN (" + ids + ") ORDER BY task, number", {})) {
    auto place = places.find(std::get<0>(row));
    if (place == places.end()) // forgotten between the two
      continue;
    bytes += std::ssize(std::get<evidence_column>(row));
    page.tasks[place->second].attempts.push_back(attempt_of(row));
  }
  return bytes;
}

result<std::vector<owner_counts>> sql_tasks::counts() {
  return session_.guarded<std::vector<owner_counts>>([&]() -> result<std::vector<owner_counts>> {
    std::map<std::string, task_counts> owners;
    // The tasks are read in the queue's order, as they lie: in the order of an index by owner, which SQLite would take
    // for a bare column, a long queue is read five times as slowly.
    for (const auto& open : unfinished)
      for (const auto& [owner, state, count] : session_.kept().rows<std::string, std::string, number>(
             "SELECT owner || '', state, COUNT(*) FROM task WHERE " + open + " GROUP BY owner || '', state")) {
        auto& counts = owners[owner];
        (state == "queued" ? counts.queued : state == "starting" ? counts.starting : counts.running) += count;
      }
    std::vector<owner_counts> list;
    list.reserve(owners.size());
    for (const auto& [owner, counts] : owners)
      list.push_back({owner, counts});
    return list;
  });
}

/// From now on they answer no other task: their logs go first.
result<std::vector<task_id>> sql_tasks::finished_before(timestamp before, std::uint32_t limit) {
  return session_.transaction<std::vector<task_id>>([&]() -> result<std::vector<task_id>> {
    auto& kept = session_.kept();
    session_.how().lock(session_.sql(), memo_lock);
    std::vector<task_id> tasks;
    for (const auto& [id] : kept.rows<std::string>(
           "SELECT id FROM task WHERE state = 'finished' AND finished_at < :at AND NOT EXISTS (SELECT 1 FROM attempt a"
           " WHERE a.answer_of <> '' AND a.answer_of >= task.id || '/' AND a.answer_of < task.id || '0')"
           " ORDER BY finished_at LIMIT :most",
           number_of(before), number{limit})) {
      kept.run("UPDATE attempt SET memo = '' WHERE task = :id AND memo <> ''", id);
      tasks.push_back(read_id(id));
    }
    return tasks;
  });
}

result<void> sql_tasks::forget(const std::vector<task_id>& tasks) {
  return session_.transaction<void>([&]() -> result<void> {
    session_.how().lock(session_.sql(), memo_lock);
    for (auto task : tasks) {
      auto id = to_string(task);
      auto state = session_.kept().row<std::string>("SELECT state FROM task WHERE id = :id", id);
      if (!state || std::get<0>(*state) != "finished")
        continue;
      if (session_.kept().row<number>(
            "SELECT 1 FROM attempt WHERE answer_of <> '' AND answer_of >= :from AND answer_of < :to LIMIT 1", id + '/',
            id + '0'))
        continue; // another task's answer
      for (auto statement : {"DELETE FROM event WHERE task = :id", "DELETE FROM attempt WHERE task = :id",
                             "DELETE FROM label WHERE task = :id", "DELETE FROM log WHERE task = :id",
                             "DELETE FROM dedupe WHERE task = :id", "DELETE FROM blob_use WHERE task = :id",
                             "DELETE FROM task WHERE id = :id"})
        session_.kept().run(statement, id);
    }
    return {};
  });
}

} // namespace davit::store
