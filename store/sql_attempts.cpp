#include "store/sql_attempts.hpp"

#include "policy/image_reference.hpp"

namespace davit::store {

namespace {

error fenced(const attempt_token& token) {
  return {errc::fenced, "attempt " + std::to_string(token.key.number) + " of task " + to_string(token.key.task)
                          + " has ended or belongs to another incarnation of an agent; the write is refused"};
}

/// `cancel_requested` is 0, or this, or when the container is to be killed, by the database's clock. An older davit
/// takes whatever is not 0 for this.
constexpr number cancelled_at_leisure = 1;

std::optional<number> exit_number(const std::optional<std::int64_t>& code) {
  return code ? std::optional<number>{*code} : std::nullopt;
}

} // namespace

number queue_end(const task_spec& spec, number from) {
  return spec.queue_timeout ? from + number_of(*spec.queue_timeout) : 0;
}

// -- images -----------------------------------------------------------------------------------------------------------

std::string exact_image(const std::string& name) {
  return normalise_image(name).value_or(name);
}

result<void> sql_images::open() {
  using row = std::tuple<std::string, std::string, number, number>;
  auto old = session_.guarded<std::vector<row>>([&]() -> result<std::vector<row>> {
    auto all = session_.kept().rows<std::string, std::string, number, number>(
      "SELECT engine_id, name, used_at, pulled FROM image");
    std::erase_if(all, [](const row& one) { return exact_image(std::get<1>(one)) == std::get<1>(one); });
    return all;
  });
  if (!old)
    return old.error();
  if (old->empty())
    return {};
  return session_.transaction<void>([&]() -> result<void> {
    const auto& how = session_.how();
    for (const auto& [engine, name, used, pulled] : *old) {
      session_.kept().run("INSERT INTO image (engine_id, name, used_at, pulled) VALUES (:engine, :name, :used, :pulled)"
                          " ON CONFLICT (engine_id, name) DO UPDATE SET used_at = "
                            + how.larger("image.used_at", "excluded.used_at")
                            + ", pulled = " + how.larger("image.pulled", "excluded.pulled"),
                          engine, exact_image(name), used, pulled);
      session_.kept().run("DELETE FROM image WHERE engine_id = :engine AND name = :name", engine, name);
    }
    return {};
  });
}

std::vector<std::string> sql_images::engines_with(const std::string& image) {
  std::vector<std::string> ids;
  for (auto& [id] :
       session_.kept().rows<std::string>("SELECT engine_id FROM image WHERE name = :name", exact_image(image)))
    ids.push_back(std::move(id));
  return ids;
}

result<void> sql_images::pulled(const std::string& engine_id, const std::string& name) {
  return session_.transaction<void>([&]() -> result<void> {
    session_.kept().run("INSERT INTO image (engine_id, name, used_at) VALUES (:engine, :name, :now)"
                        " ON CONFLICT (engine_id, name) DO UPDATE SET used_at = excluded.used_at, pulled = 1",
                        engine_id, exact_image(name), now_number());
    return {};
  });
}

result<std::vector<std::string>> sql_images::unused(const std::string& engine_id, timestamp before) {
  return session_.guarded<std::vector<std::string>>([&]() -> result<std::vector<std::string>> {
    std::vector<std::string> names;
    for (auto& [name] : session_.kept().rows<std::string>(
           "SELECT name FROM image WHERE engine_id = :engine AND pulled = 1 AND used_at < :at ORDER BY used_at",
           engine_id, number_of(before)))
      names.push_back(std::move(name));
    return names;
  });
}

result<void> sql_images::forget_image(const std::string& engine_id, const std::string& name) {
  return session_.transaction<void>([&]() -> result<void> {
    session_.kept().run("DELETE FROM image WHERE engine_id = :engine AND name = :name", engine_id, name);
    written_.erase({engine_id, name});
    return {};
  });
}

/// An image that is used all the time need not be written down each time.
void sql_images::write_last() {
  constexpr number often_enough = 30'000'000'000;
  auto now = now_number();
  for (const auto& [engine, name] : std::exchange(used_, {})) {
    if (auto known = written_.find({engine, name}); known != written_.end() && now - known->second < often_enough)
      continue;
    session_.kept().run("INSERT INTO image (engine_id, name, used_at, pulled) VALUES (:engine, :name, :now, 0)"
                        " ON CONFLICT (engine_id, name) DO UPDATE SET used_at = excluded.used_at",
                        engine, name, now);
    if (written_.size() > 10'000)
      written_.clear();
    written_[{engine, name}] = now;
  }
}

void sql_images::forget() {
  used_.clear();
  written_.clear();
}

// -- attempts ---------------------------------------------------------------------------------------------------------

result<void> sql_attempts::record(const attempt_progress& progress) {
  return session_.transaction<void>([&]() -> result<void> {
    auto& kept = session_.kept();
    auto id = to_string(progress.token.key.task);
    number n = progress.token.key.number;
    if (kept.run("UPDATE attempt SET container = :container, image_id = :image, started_at = :started"
                 " WHERE task = :task AND number = :number AND incarnation = :incarnation AND outcome IS NULL",
                 progress.container, progress.image_id, number_of(progress.started_at), id, n,
                 to_string(progress.token.incarnation))
        == 0)
      return fenced(progress.token);
    if (!progress.caches.empty())
      kept.run("UPDATE attempt SET caches = :caches WHERE task = :task AND number = :number",
               json::write(progress.caches), id, n);
    // The claim has made it `starting`; and again if nothing of it had run in what was started.
    if (progress.state == task_state::starting && progress.container.empty()) {
      kept.run("UPDATE task SET state = 'starting' WHERE id = :id AND state = 'running'", id);
      kept.run("UPDATE attempt SET message = '', evidence = '{}' WHERE task = :task AND number = :number", id, n);
    }
    if (progress.state == task_state::running
        && kept.run("UPDATE task SET state = 'running' WHERE id = :id AND state <> 'running'", id) != 0)
      events_.add(id, n, "started", progress.state, std::nullopt, "");
    return {};
  });
}

/// What is to be known of an attempt that has not ended, if its executor dies.
result<task_state> sql_attempts::record_meanwhile(const attempt_result& what) {
  return session_.transaction<task_state>([&]() -> result<task_state> {
    if (session_.kept().run(
          "UPDATE attempt SET message = :message, evidence = :evidence"
          " WHERE task = :task AND number = :number AND incarnation = :incarnation AND outcome IS NULL",
          text_of(what.message), json::write(what.evidence), to_string(what.token.key.task),
          number{what.token.key.number}, to_string(what.token.incarnation))
        == 0)
      return fenced(what.token);
    return task_state::running;
  });
}

result<task_state> sql_attempts::finish(const attempt_result& ended) {
  if (ended.finished_at == timestamp{})
    return record_meanwhile(ended);
  return session_.transaction<task_state>([&]() -> result<task_state> {
    auto& kept = session_.kept();
    auto id = to_string(ended.token.key.task);
    number n = ended.token.key.number;
    auto finished = number_of(std::optional{ended.finished_at});
    auto outcome = outcome_text(ended.outcome);
    auto code = exit_number(ended.exit_code);
    auto message = text_of(ended.message);
    if (kept.run(
          "UPDATE attempt SET finished_at = :finished, outcome = :outcome, exit_code = :code, message = :message,"
          " phases = :phases, outputs = :outputs, caches = :caches, memo = :memo, answer_of = :answer,"
          " evidence = :evidence"
          " WHERE task = :task AND number = :number AND incarnation = :incarnation AND outcome IS NULL",
          finished, outcome, code, message, json::write(ended.phases), json::write(ended.outputs),
          json::write(ended.caches), ended.memo, ended.answer_of, json::write(ended.evidence), id, n,
          to_string(ended.token.incarnation))
        == 0) {
      if (auto state = ended_before(ended))
        return *state;
      return fenced(ended.token);
    }
    if (!ended.image.empty())
      images_.use(ended.engine_id, ended.image);
    if (!ended.volumes.empty())
      if (auto owner = kept.row<std::string>("SELECT owner FROM task WHERE id = :id", id))
        volumes_.used(ended.engine_id, std::get<0>(*owner), ended.volumes);
    if (!ended.outputs.empty())
      use_outputs(ended);
    if (!ended.log.empty())
      write_log(id, n, 0, 1, ended.log);
    if (ended.retry_at) {
      auto [cancelled, text]
        = kept.row<number, std::string>("SELECT cancel_requested, spec FROM task WHERE id = :id", id).value();
      if (cancelled == 0) {
        auto due = number_of(*ended.retry_at);
        kept.run(
          "UPDATE task SET state = 'queued', ready = 0, not_before = :due, queue_until = :until, message = :message"
          " WHERE id = :id",
          due, queue_end(read_json<task_spec>(text), due), message, id);
        events_.add(id, n, "retrying", task_state::queued, ended.outcome, message);
        return task_state::queued;
      }
    }
    kept.run("UPDATE task SET state = 'finished', outcome = :outcome, exit_code = :code, message = :message,"
             " finished_at = :finished WHERE id = :id",
             outcome, code, message, finished, id);
    events_.add(id, n, "finished", task_state::finished, ended.outcome, message);
    return task_state::finished;
  });
}

/// The task's owner keeps the trees for as long as the task is kept.
void sql_attempts::use_outputs(const attempt_result& ended) {
  auto id = to_string(ended.token.key.task);
  auto owner = session_.kept().row<std::string>("SELECT owner FROM task WHERE id = :id", id);
  for (const auto& one : ended.outputs)
    if (auto tree = blobs::parse_digest(one.tree); tree && owner)
      blobs_.use(std::get<0>(*owner), *tree, ended.token.key.task);
}

result<memo_answer> sql_attempts::recall(const attempt_token& token, const std::string& memo) {
  return session_.transaction<memo_answer>([&]() -> result<memo_answer> {
    auto& kept = session_.kept();
    auto id = to_string(token.key.task);
    number n = token.key.number;
    session_.how().lock(session_.sql(), memo_lock);
    auto found = kept.row<std::string, number, std::string, number, std::string, std::string>(
      "SELECT a.task, a.number, a.agent, a.finished_at, a.outputs, a.image_id FROM attempt a JOIN task t ON t.id = "
      "a.task"
      " WHERE a.memo = :memo AND a.memo <> '' AND a.outcome = 'succeeded' AND t.state = 'finished'"
      " AND t.owner = (SELECT owner FROM task WHERE id = :id) ORDER BY a.finished_at DESC LIMIT 1",
      memo, id);
    memo_answer answer;
    std::string image;
    if (found) {
      auto& [task, number, agent, finished, outputs, image_id] = *found;
      image = std::move(image_id);
      answer.attempt = task + '/' + std::to_string(number);
      answer.agent = std::move(agent);
      answer.finished_at = read_time(finished);
      answer.outputs = read_json<std::vector<collected_output>>(outputs);
    }
    if (kept.run("UPDATE attempt SET answer_of = :answer, image_id = :image WHERE task = :task AND number = :number"
                 " AND incarnation = :incarnation AND outcome IS NULL",
                 answer.attempt, image, id, n, to_string(token.incarnation))
        == 0)
      return fenced(token);
    return answer;
  });
}

/// The same result was stored before, and the answer to that was lost: the state that the task has now.
std::optional<task_state> sql_attempts::ended_before(const attempt_result& ended) {
  auto there = session_.kept().row<std::string>(
    "SELECT t.state FROM attempt a JOIN task t ON t.id = a.task WHERE a.task = :task AND a.number = :number"
    " AND a.incarnation = :incarnation AND a.outcome = :outcome AND a.finished_at = :finished",
    to_string(ended.token.key.task), number{ended.token.key.number}, to_string(ended.token.incarnation),
    to_string(ended.outcome), number_of(ended.finished_at));
  return there ? std::optional{read_enum<task_state>(std::get<0>(*there))} : std::nullopt;
}

result<task> sql_attempts::cancel(task_id id, std::optional<duration> within) {
  return session_.transaction<task>([&]() -> result<task> {
    auto text = to_string(id);
    if (!cancel_row(text, within))
      return sql_tasks::missing(id);
    return tasks_.load(text);
  });
}

void sql_attempts::cancel_pinned(const std::string& agent) {
  for (const auto& part : unfinished)
    for (const auto& [id] :
         session_.kept().rows<std::string>("SELECT id FROM task WHERE pinned = :agent AND " + part, agent))
      cancel_row(id);
}

result<duration> sql_attempts::time_to_kill(task_id id) {
  return session_.guarded<duration>([&]() -> result<duration> {
    auto found = session_.kept().row<number>("SELECT cancel_requested FROM task WHERE id = :id", to_string(id));
    if (!found)
      return sql_tasks::missing(id);
    auto by = std::get<0>(*found);
    if (by <= cancelled_at_leisure)
      return duration::max();
    return std::chrono::ceil<duration>(std::chrono::nanoseconds{std::max(by - clock(), number{0})});
  });
}

number sql_attempts::clock() {
  return std::get<0>(session_.kept().row<number>("SELECT " + session_.how().clock()).value());
}

/// False: there is no such task.
bool sql_attempts::cancel_row(const std::string& id, std::optional<duration> within) {
  auto& kept = session_.kept();
  auto found = kept.row<std::string>("SELECT state FROM task WHERE id = :id", id);
  if (!found)
    return false;
  auto [state] = *found;
  if (state == "queued") {
    const std::string message = "cancelled while it was queued";
    kept.run("UPDATE task SET state = 'finished', cancel_requested = 1, outcome = 'cancelled', finished_at = :now,"
             " message = :message WHERE id = :id",
             now_number(), message, id);
    events_.add(id, 0, "finished", task_state::finished, outcome::cancelled, message);
  } else if (state != "finished") {
    auto by = within ? clock() + number_of(*within) : cancelled_at_leisure;
    // Also if another session has just cancelled it: a limit is never lengthened.
    if (kept.run("UPDATE task SET cancel_requested = :by WHERE id = :id AND (cancel_requested = 0"
                 " OR (:limited = 1 AND (cancel_requested = 1 OR cancel_requested > :by2)))",
                 by, id, number{within ? 1 : 0}, by)
        == 0)
      return true;
    events_.add(id, 0, "cancel_requested", read_enum<task_state>(state), std::nullopt,
                within ? "its container is killed within " + format_duration(*within) : "");
  }
  return true;
}

// -- logs -------------------------------------------------------------------------------------------------------------

result<void>
sql_attempts::put_log(const attempt_key& key, std::uint32_t index, std::uint32_t count, const std::string& bytes) {
  return session_.transaction<void>([&]() -> result<void> {
    write_log(to_string(key.task), key.number, index, count, bytes);
    return {};
  });
}

void sql_attempts::write_log(const std::string& task, number attempt, number block, number blocks,
                             const std::string& bytes) {
  session_.kept().run(
    "INSERT INTO log (task, number, block, blocks, bytes) VALUES (:task, :number, :block, :blocks, :bytes)"
    " ON CONFLICT (task, number, block) DO UPDATE SET blocks = excluded.blocks, bytes = excluded.bytes",
    task, attempt, block, blocks, bytes);
}

result<log_block> sql_attempts::get_log(const attempt_key& key, std::uint32_t index) {
  return session_.guarded<log_block>([&]() -> result<log_block> {
    auto id = to_string(key.task);
    number n = key.number;
    auto row = session_.kept().row<number, std::string>(
      "SELECT blocks, bytes FROM log WHERE task = :task AND number = :number AND block = :block", id, n, number{index});
    if (!row)
      return log_block{};
    auto& [blocks, bytes] = *row;
    auto [there]
      = session_.kept().row<number>("SELECT COUNT(*) FROM log WHERE task = :task AND number = :number", id, n).value();
    return log_block{there == blocks ? static_cast<std::uint32_t>(blocks) : 0, std::move(bytes)};
  });
}

} // namespace davit::store
