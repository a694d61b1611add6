#include "store/sql_queue.hpp"

#include "policy/placement.hpp"
#include "policy/volumes.hpp"

#include <algorithm>
#include <set>

namespace davit::store {

namespace {

std::string placement_of(const new_task& task) {
  std::set<std::string> wanted{task.spec.engine.labels.begin(), task.spec.engine.labels.end()};
  wanted.insert(task.wants.begin(), task.wants.end());
  return json::write(wanted);
}

std::string without_labels(const full_limits& full) {
  std::string sql;
  for (const auto& [name, value, owner] : full.labels)
    sql += std::string{" AND NOT ("} + (owner ? "owner = " + literal(*owner) + " AND " : "")
         + "id IN (SELECT task FROM label WHERE name = " + literal(name) + " AND value = " + literal(value) + "))";
  return sql;
}

/// The owners of what waits, as a table `o`: from one to the next, each found at once by the index, however much it
/// has.
const std::string owners
  = "WITH RECURSIVE o (owner) AS (SELECT MIN(owner) FROM task WHERE state = 'queued' AND ready = 1"
    " UNION ALL SELECT (SELECT MIN(owner) FROM task WHERE state = 'queued' AND ready = 1"
    " AND owner > o.owner) FROM o WHERE o.owner IS NOT NULL) ";

/// Reads the queue; what it gives is the caller's until the transaction's end, if `lock` says so.
class reader final : public queue_reader {
public:
  reader(sql_session& session, number now, std::string lock) : session_(session), now_(now), lock_(std::move(lock)) {}

  std::vector<queued_row> rows(const queue_lane& lane, const std::optional<queue_place>& after, std::size_t count,
                               const full_limits& full) override {
    std::string which = "state = 'queued' AND ready = 1 AND pinned = :pinned AND placement = :placement"
                        " AND cancel_requested = 0 AND not_before <= :now";
    if (after)
      which += " AND priority <= :most AND (priority < :priority OR fair > :fair OR (fair = :same AND id > :id))";
    which += without_labels(full);
    auto in_order = " ORDER BY priority DESC, fair, id LIMIT " + std::to_string(count);
    std::string text
      = "SELECT id, priority, fair, attempts, created_at, not_before, owner, name, message, spec, secrets"
        " FROM task WHERE ";
    if (full.owners.empty()) {
      text += which;
    } else { // nothing of a full owner's is passed over one by one
      std::string names;
      for (const auto& owner : full.owners)
        names += (names.empty() ? "" : ", ") + literal(owner);
      text = owners + text + "state = 'queued' AND id IN (SELECT t.id"
           + session_.how().of_each_owner("SELECT id FROM task WHERE owner = o.owner AND " + which + in_order)
           + " WHERE o.owner IS NOT NULL AND o.owner NOT IN (" + names + "))";
    }
    text += in_order + lock_;
    auto usual = full.empty(); // what a full limit adds is rarely asked twice
    auto found = after ? ask(usual, text, lane.pinned, lane.placement, now_, number{after->priority},
                             number{after->priority}, number{after->turn}, number{after->turn}, after->id)
                       : ask(usual, text, lane.pinned, lane.placement, now_);
    std::vector<queued_row> rows;
    rows.reserve(found.size());
    for (auto& [id, priority, turn, attempts, created, not_before, owner, name, message, spec, secrets] : found)
      rows.push_back({{priority, turn, std::move(id)},
                      attempts,
                      created,
                      not_before,
                      std::move(owner),
                      std::move(name),
                      std::move(message),
                      std::move(spec),
                      std::move(secrets)});
    return rows;
  }

  task whole(const queued_row& row) override {
    task one;
    one.id = read_id(row.place.id);
    one.name = row.name;
    one.message = row.message;
    one.owner = row.owner;
    one.created_at = read_time(number{row.created_at});
    if (row.not_before != 0)
      one.not_before = read_time(number{row.not_before});
    one.spec = read_json<task_spec>(row.spec);
    read_secrets(row.secrets, one.spec);
    return one;
  }

  const std::vector<std::string>& holders(const std::string&) override { return nobody_; }

private:
  using columns = std::tuple<std::string, number, number, number, number, number, std::string, std::string, std::string,
                             std::string, std::string>;

  template <class... In>
  std::vector<columns> ask(bool keep, const std::string& text, const In&... in) {
    auto& kept = session_.kept();
    return [&]<class... Out>(std::tuple<Out...>*) {
      return keep ? kept.rows<Out...>(text, in...) : kept.rows_once<Out...>(text, in...);
    }(static_cast<columns*>(nullptr));
  }

  sql_session& session_;
  number now_;
  std::string lock_; ///< Goes behind each SELECT.
  const std::vector<std::string> nobody_{};
};

/// Knows too which of the fleet's engines hold an image, as far as davit has used it there.
class claim_reader final : public queue_reader {
public:
  claim_reader(reader& rows, sql_images& images, sql_agents& agents, const claim_request& request, bool shared)
    : reader_(rows), images_(images), agents_(agents), request_(request), shared_(shared) {}

  std::vector<queued_row> rows(const queue_lane& lane, const std::optional<queue_place>& after, std::size_t count,
                               const full_limits& full) override {
    return reader_.rows(lane, after, count, full);
  }

  task whole(const queued_row& row) override { return reader_.whole(row); }

  const std::vector<std::string>& holders(const std::string& image) override {
    auto [entry, added] = known_.try_emplace(image);
    if (added && request_.rules.image_patience.count() != 0)
      for (auto& id : images_.engines_with(image))
        if (living().contains(id))
          entry->second.push_back(std::move(id));
    return entry->second;
  }

private:
  /// The engines that some agent reaches now.
  const std::set<std::string>& living() {
    if (living_)
      return *living_;
    living_.emplace(request_.reached.begin(), request_.reached.end());
    for (const auto& offer : request_.offers)
      living_->insert(offer.id);
    if (shared_)
      for (const auto& agent : agents_.read(agents_.clock()))
        if (agent.state == agent_state::ready)
          for (const auto& engine : agent.engines)
            if (engine.state == engine_state::ready)
              living_->insert(engine.id);
    return *living_;
  }

  reader& reader_;
  sql_images& images_;
  sql_agents& agents_;
  const claim_request& request_;
  bool shared_;
  std::map<std::string, std::vector<std::string>> known_;
  std::optional<std::set<std::string>> living_;
};

} // namespace

// -- accepting --------------------------------------------------------------------------------------------------------

result<task_receipt> sql_queue::accept(const new_task& task) {
  if (auto full = why_full())
    return *full;
  return session_.transaction<task_receipt>([&] { return insert(task); });
}

std::optional<error> sql_queue::why_full() {
  if (session_.upkeep().full)
    session_.look_after(); // not within a transaction of its own
  if (session_.upkeep().full)
    return error{errc::unavailable, session_.upkeep().warning + "; no task is accepted meanwhile"};
  return std::nullopt;
}

result<task_receipt> sql_queue::insert(const new_task& task) {
  auto id = to_string(task.id), spec = spec_text(task.spec), secrets = secrets_text(task.spec);
  if (!task.spec.dedupe_key.empty())
    if (auto known = known_by_key(task, id, spec, secrets))
      return *known;
  auto placement = placement_of(task), owner = text_of(task.owner);
  auto created = number_of(task.created_at);
  auto turn = turns_.take(task, owner, placement);
  // The task is there already if this is done again because the COMMIT's answer was lost; by now in any state.
  auto inserted = session_.kept().run(
    "INSERT INTO task (name, state, priority, placement, pinned, owner, fair, spec, created_at, not_before,"
    " cancel_requested, attempts, message, queue_until, secrets, id)"
      + session_.how().new_row("task", ":name, 'queued', CAST(:priority AS BIGINT), :placement, :pinned, :owner,"
                                       " CAST(:turn AS BIGINT), :spec, CAST(:created AS BIGINT), 0, 0, 0, '',"
                                       " CAST(:until AS BIGINT), :secrets"),
    text_of(task.spec.name), number{task.spec.priority}, placement, task.pinned, owner, number{turn}, spec, created,
    queue_end(task.spec, created), secrets, id);
  if (inserted == 0) {
    turns_.give_back(owner);
    return task_receipt{task.id, true};
  }
  for (const auto& [name, value] : task.spec.labels)
    session_.kept().run("INSERT INTO label (name, value, task) VALUES (:name, :value, :task)", text_of(name),
                        text_of(value), id);
  events_.add(id, 0, "accepted", task_state::queued, std::nullopt, "");
  return task_receipt{task.id, true};
}

/// What a task's dedupe key says: its owner's task that has it already, or a refusal; nothing if the key is new, and
/// now its own.
std::optional<result<task_receipt>> sql_queue::known_by_key(const new_task& task, const std::string& id,
                                                            const std::string& spec, const std::string& secrets) {
  auto key = text_of(task.owner) + '\n' + text_of(task.spec.dedupe_key); // each owner has keys of its own
  if (session_.kept().run("INSERT INTO dedupe (name, task) VALUES (:name, :task) ON CONFLICT (name) DO NOTHING", key,
                          id)
      != 0)
    return std::nullopt;
  auto there = session_.kept().row<std::string, std::string, std::string>(
    "SELECT t.id, t.spec, t.secrets FROM task t JOIN dedupe d ON d.task = t.id WHERE d.name = :key", key);
  if (!there)
    throw std::runtime_error("a dedupe key names a task that is not there");
  auto& [existing, old_spec, old_secrets] = *there;
  if (without_trace(old_spec) != without_trace(spec) || old_secrets != secrets)
    return error{errc::conflict, "the key \"" + task.spec.dedupe_key + "\" was used for another task, " + existing};
  return task_receipt{read_id(existing), existing == id};
}

result<std::uint32_t> sql_queue::expire(timestamp now) {
  auto due
    = session_.guarded<std::vector<std::tuple<std::string>>>([&]() -> result<std::vector<std::tuple<std::string>>> {
        return session_.kept().rows<std::string>(
          "SELECT id FROM task WHERE state = 'queued' AND queue_until > 0 AND queue_until <= :at", number_of(now));
      });
  if (!due)
    return due.error();
  if (due->empty()) // mostly: nothing is written then
    return std::uint32_t{0};
  return session_.transaction<std::uint32_t>([&]() -> result<std::uint32_t> {
    for (const auto& [id] : *due)
      time_out(id, number_of(now));
    return static_cast<std::uint32_t>(due->size());
  });
}

void sql_queue::time_out(const std::string& id, number now) {
  const std::string message = "it waited in the queue for longer than its queue_timeout";
  session_.kept().run(
    "UPDATE task SET state = 'finished', outcome = 'timed_out', finished_at = :now, message = :message"
    " WHERE id = :id AND state = 'queued'",
    now, message, id);
  events_.add(id, 0, "finished", task_state::finished, outcome::timed_out, message);
}

// -- claiming ---------------------------------------------------------------------------------------------------------

result<claim_answer> sql_queue::claim(const claim_request& request, bool private_only) {
  return session_.transaction<claim_answer>([&]() -> result<claim_answer> {
    claim_answer answer;
    auto add = [&](std::vector<claimed_attempt> open) {
      std::move(open.begin(), open.end(), std::back_inserter(answer.attempts));
    };
    add(agents_.open_attempts(request));
    for (const auto& dead : request.dead_agents) {
      attempts_.cancel_pinned(dead);
      add(agents_.take_over(dead, request));
    }
    if (request.first || request.offers.empty())
      return answer;
    auto now = now_number();
    answer.next_due = ready_what_is_due(now);
    auto open = lanes(pins(request.agent, private_only), [&](const std::vector<std::string>& wanted) {
      return choose_engine(request.offers, wanted) != nullptr;
    });
    if (open.empty()) // mostly, where many agents hear of one task: nothing is locked then
      return answer;
    auto offers = shared_room(request);
    if (request.rules.most_per_owner != 0 || !request.rules.label_limits.empty())
      session_.how().lock(session_.sql(), "limits"); // two agents must not both take the last place
    limit_usage usage{request.rules, count_running(request.rules)};
    reader rows{session_, now, session_.how().claim_lock()};
    claim_reader reading{rows, images_, agents_, request, session_.how().shared()};
    auto plan = plan_claim(std::move(open), offers, request.rules, std::move(usage), read_time(now), reading);
    for (auto& one : plan.taken) {
      const auto& offer = offers.at(one.offer);
      if (auto end = queue_end(one.task.spec, number_of(one.task.not_before.value_or(one.task.created_at)));
          end != 0 && end <= now) { // nobody has looked since
        time_out(one.row.place.id, now);
        answer.next_due = read_time(now);
        continue;
      }
      if (!volumes_.use(offer.id, one.task.owner, named_volumes(one.task.spec))) {
        auto due = read_time(put_off(one, now));
        answer.next_due = std::min(answer.next_due.value_or(due), due);
        continue;
      }
      answer.attempts.push_back(make_attempt(std::move(one), request, offer, now));
    }
    if (plan.look_again && (!answer.next_due || *plan.look_again < *answer.next_due))
      answer.next_due = plan.look_again;
    return answer;
  });
}

result<task_page> sql_queue::next_tasks(const std::string& agent, bool private_only,
                                        const std::vector<std::string>& labels, std::uint32_t limit) {
  return session_.guarded<task_page>([&]() -> result<task_page> {
    task_page page;
    reader rows{session_, now_number(), ""};
    merged_queue waiting{
      lanes(pins(agent, private_only), [&](const std::vector<std::string>& wanted) { return carries(labels, wanted); }),
      rows};
    while (page.tasks.size() < limit) {
      auto next = waiting.next(limit, {});
      if (!next)
        break;
      page.tasks.push_back(rows.whole(next->row));
    }
    return page;
  });
}

result<std::vector<std::string>> sql_queue::limits_reached(const task& queued, const placement_rules& rules) {
  return session_.guarded<std::vector<std::string>>([&]() -> result<std::vector<std::string>> {
    return limit_usage{rules, count_running(rules)}.reached(queued.owner, queued.spec.labels);
  });
}

/// What the agent may have: by placement, so that what no engine of its can take costs nothing.
std::vector<queue_lane> sql_queue::lanes(const std::vector<std::string>& pins, const can_take& possible) {
  const std::string first = " FROM task WHERE state = 'queued' AND ready = 1 AND placement = p.placement AND pinned = ";
  const std::string in_order = " ORDER BY priority DESC, fair, id LIMIT 1";
  std::vector<queue_lane> found;
  for (const auto& pinned : pins)
    for (auto& [placement, priority, turn] :
         session_.kept().rows<std::string, std::optional<number>, std::optional<number>>(
           placements + "SELECT placement, (SELECT priority" + first + ":pinned3" + in_order + "), (SELECT fair" + first
             + ":pinned4" + in_order + ") FROM p WHERE placement IS NOT NULL",
           pinned, pinned, pinned, pinned)) {
      auto wanted = read_json<std::vector<std::string>>(placement);
      if (priority && turn && possible(wanted))
        found.push_back({pinned, std::move(placement), std::move(wanted), {*priority, *turn, ""}});
    }
  return found;
}

/// Puts retries whose time has come back into the queue; when the next is due.
std::optional<timestamp> sql_queue::ready_what_is_due(number now) {
  auto& kept = session_.kept();
  auto next = [&] {
    return std::get<0>(
      kept.row<std::optional<number>>("SELECT MIN(not_before) FROM task WHERE state = 'queued' AND ready = 0").value());
  };
  auto due = next();
  if (due && *due <= now) {
    kept.run("UPDATE task SET ready = 1 WHERE state = 'queued' AND id IN (SELECT id FROM task WHERE state = 'queued'"
             " AND ready = 0 AND not_before <= :now ORDER BY not_before LIMIT 1000"
               + session_.how().claim_lock() + ")",
             now);
    due = next();
  }
  return read_time(due);
}

/// The offers, less what other agents run on the same engines: an engine's slots are shared by all who reach it.
std::vector<engine_offer> sql_queue::shared_room(const claim_request& request) {
  auto offers = request.offers;
  if (!session_.how().shared())
    return offers;
  std::set<std::string> engines;
  for (const auto& one : offers)
    engines.insert(one.id);
  for (const auto& id : engines) // in one order, so that nobody waits in a circle
    session_.how().lock(session_.sql(), "engine " + id);
  for (auto& one : offers) {
    auto [used]
      = session_.kept()
          .row<number>("SELECT COUNT(*) FROM attempt WHERE outcome IS NULL AND engine_id = :id AND agent <> :agent",
                       one.id, request.agent)
          .value();
    one.free -= static_cast<std::uint32_t>(std::min<number>(used, one.free));
  }
  return offers;
}

/// What runs, by what the rules limit. Asks the database for nothing if they limit nothing.
running_counts sql_queue::count_running(const placement_rules& rules) {
  running_counts running;
  if (rules.most_per_owner != 0)
    for (auto& [owner, count] : session_.kept().rows<std::string, number>(
           "SELECT owner, COUNT(*) FROM task WHERE state IN ('starting', 'running') GROUP BY owner"))
      running.owners[owner] = count;
  if (rules.label_limits.empty())
    return running;
  std::string names;
  for (const auto& one : rules.label_limits)
    names += (names.empty() ? "" : ", ") + literal(one.name);
  for (auto& [name, value, owner, count] : session_.kept().rows<std::string, std::string, std::string, number>(
         "SELECT l.name, l.value, t.owner, COUNT(*) FROM task t JOIN label l ON l.task = t.id"
         " WHERE t.state IN ('starting', 'running') AND l.name IN ("
         + names + ") GROUP BY l.name, l.value, t.owner"))
    running.labels[{name, value, owner}] = count;
  return running;
}

/// A task whose volume is being removed where it would run comes again in a moment; when.
number sql_queue::put_off(const claim_choice& choice, number now) {
  constexpr number moment = 500'000'000;
  session_.kept().run("UPDATE task SET ready = 0, not_before = :due WHERE id = :id AND state = 'queued'", now + moment,
                      choice.row.place.id);
  return now + moment;
}

/// The next attempt of a queued task, which is loaded but for the attempts that it may have had.
claimed_attempt
sql_queue::make_attempt(claim_choice choice, const claim_request& request, const engine_offer& offer, number now) {
  const auto& id = choice.row.place.id;
  auto n = number{choice.row.attempts} + 1;
  auto& kept = session_.kept();
  kept.run("UPDATE task SET state = 'starting', attempts = :n WHERE id = :id AND state = 'queued'", n, id);
  kept.run(
    "INSERT INTO attempt (task, number, agent, incarnation, engine, engine_id, container, image_id, created_at, phases,"
    " message, evidence)"
    " VALUES (:task, :number, :agent, :incarnation, :engine, :engine_id, '', '', :at, '{}', '', '{}')",
    id, n, request.agent, to_string(request.incarnation), offer.name, offer.id, now);
  events_.add(id, n, "claimed", task_state::starting, std::nullopt,
              "by " + request.agent + " for engine " + offer.name);
  auto& whole = choice.task;
  whole.state = task_state::starting;
  if (n == 1) {
    attempt first;
    first.number = 1;
    first.agent = request.agent;
    first.engine = offer.name;
    first.engine_id = offer.id;
    first.created_at = read_time(now);
    whole.attempts.push_back(std::move(first));
  } else {
    whole.attempts = tasks_.attempts_of(id);
  }
  return {{{whole.id, static_cast<std::int32_t>(n)}, request.incarnation}, std::move(whole), false, false};
}

} // namespace davit::store
