#include "store/dialect.hpp"
#include "store/statements.hpp"

#include "json/read.hpp"
#include "json/write.hpp"

#include <soci/soci.h>

#include <algorithm>
#include <bit>
#include <deque>
#include <filesystem>
#include <functional>
#include <set>

namespace davit::store {

namespace {

using soci::into;
using soci::use;

using number = long long;

std::optional<number> time_number(std::optional<timestamp> at) {
  return at ? std::optional<number>{at->time_since_epoch().count()} : std::nullopt;
}

std::optional<timestamp> read_time(std::optional<number> value) {
  return value ? std::optional{timestamp{std::chrono::nanoseconds{*value}}} : std::nullopt;
}

template <class Enum>
Enum read_enum(const std::string& text) {
  Enum value{};
  if (!from_string(text, value))
    throw std::runtime_error("the database holds \"" + text + "\", which is not " + expected_text(value));
  return value;
}

std::optional<outcome> read_outcome(const std::optional<std::string>& text) {
  return text ? std::optional{read_enum<outcome>(*text)} : std::nullopt;
}

std::optional<std::string> outcome_text(std::optional<outcome> value) {
  return value ? std::optional{to_string(*value)} : std::nullopt;
}

uuid read_id(const std::string& text) {
  uuid id;
  if (!from_string(text, id))
    throw std::runtime_error("the database holds \"" + text + "\", which is no id");
  return id;
}

template <class T>
T read_json(const std::string& text) {
  // Ignores what a newer davit may have added: a rolled-back upgrade can still read.
  auto value = json::read<T>(std::string_view{text}, json::unknown_fields::ignore);
  if (!value)
    throw std::runtime_error("the database holds malformed JSON: " + value.error().text());
  return std::move(*value);
}

number now_number() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// The spec without its secrets.
std::string spec_text(task_spec spec) {
  spec.secrets.clear();
  return json::write(spec);
}

/// What two tasks of one dedupe key must have in common: whoever asks again may do so within another trace.
std::string without_trace(const std::string& text) {
  auto spec = read_json<task_spec>(text);
  spec.traceparent.clear();
  return json::write(spec);
}

/// The secrets, which are sealed by now; empty if there are none.
std::string secrets_text(const task_spec& spec) {
  std::map<std::string, std::string> sealed;
  for (const auto& [name, one] : spec.secrets) {
    if (!one.sealed)
      throw std::runtime_error("a secret must be sealed before it is stored");
    sealed[name] = one.value;
  }
  return sealed.empty() ? std::string{} : json::write(sealed);
}

/// What PostgreSQL takes as a text: no NUL, and UTF-8 throughout. Messages come from engines, names from anywhere.
std::string text_of(const std::string& bytes) {
  auto text = json::detail::valid_utf8(bytes);
  std::replace(text.begin(), text.end(), '\0', '?');
  return text;
}

/// A text as SQL has it, for what can't be bound.
std::string literal(const std::string& text) {
  std::string sql = "'";
  for (char c : text)
    sql.append(c == '\'' ? "''" : std::string(1, c));
  return sql + "'";
}

constexpr std::size_t most_passed_over = 1000;
constexpr int most_turns = 5;

class sql_store final : public task_store {
public:
  explicit sql_store(std::unique_ptr<dialect> how) : dialect_(std::move(how)) {}

  result<void> open() {
    lost_ = true;
    auto last = last_event();
    if (!last)
      return last.error();
    told_ = *last;
    return {};
  }

  bool shared() const override { return dialect_->shared(); }
  std::string warning() const override { return upkeep_.warning; }

  result<void> batch(const std::function<void()>& work) override {
    return until_alone<void>([&] {
      auto outcome = guarded<void>([&] {
        sql_ << dialect_->begin();
        batching_ = true;
        work();
        batching_ = false;
        if (broken_)
          throw std::runtime_error(*std::exchange(broken_, std::nullopt));
        write_last();
        sql_ << "COMMIT";
        remember_news();
      });
      if (!outcome) {
        batching_ = false;
        broken_.reset();
        undo();
      }
      return outcome;
    });
  }

  result<task_receipt> accept(const new_task& task) override {
    if (upkeep_.full)
      upkeep_ = dialect_->look_after(sql_);
    if (upkeep_.full)
      return error{errc::unavailable, upkeep_.warning + "; no task is accepted meanwhile"};
    return transaction<task_receipt>([&]() -> result<task_receipt> {
      auto id = to_string(task.id), spec = spec_text(task.spec), secrets = secrets_text(task.spec);
      if (!task.spec.dedupe_key.empty()) {
        auto key = text_of(task.spec.dedupe_key);
        soci::statement insert = (sql_.prepare << "INSERT INTO dedupe (name, task) VALUES (:name, :task) ON CONFLICT (name) DO NOTHING", use(key), use(id));
        insert.execute(true);
        if (insert.get_affected_rows() == 0) {
          std::string existing, old_spec, old_secrets;
          sql_ << "SELECT t.id, t.spec, t.secrets FROM task t JOIN dedupe d ON d.task = t.id WHERE d.name = :key", use(key), into(existing), into(old_spec), into(old_secrets);
          if (!sql_.got_data())
            throw std::runtime_error("a dedupe key names a task that is not there");
          if (without_trace(old_spec) != without_trace(spec) || old_secrets != secrets)
            return error{errc::conflict, "the key \"" + task.spec.dedupe_key + "\" was used for another task, " + existing};
          return task_receipt{read_id(existing), false};
        }
      }
      std::set<std::string> wanted{task.spec.engine.labels.begin(), task.spec.engine.labels.end()};
      wanted.insert(task.wants.begin(), task.wants.end());
      auto placement = json::write(wanted);
      number priority = task.spec.priority, created = task.created_at.time_since_epoch().count();
      auto until = queue_end(task.spec, created);
      auto name = text_of(task.spec.name), owner = text_of(task.owner);
      auto fair = next_turn(owner, priority, task.pinned, placement);
      kept_.run("INSERT INTO task (id, name, state, priority, placement, pinned, owner, fair, spec, created_at, not_before, cancel_requested,"
                " attempts, message, queue_until, secrets) VALUES (:id, :name, 'queued', :priority, :placement, :pinned, :owner, :fair, :spec, :created, 0, 0, 0, '', :until, :secrets)",
                id, name, priority, placement, task.pinned, owner, fair, spec, created, until, secrets);
      for (const auto& [name, value] : task.spec.labels)
        add_label(id, text_of(name), text_of(value));
      add_event(id, 0, "accepted", task_state::queued, std::nullopt, "");
      return task_receipt{task.id, true};
    });
  }

  result<claim_answer> claim(const claim_request& request, bool private_only, const chooser& choose) override {
    return transaction<claim_answer>([&]() -> result<claim_answer> {
      claim_answer answer;
      auto now = now_number();
      auto patience = static_cast<number>(std::chrono::nanoseconds{request.rules.image_patience}.count());
      std::optional<number> patient_until;
      auto due = ready_what_is_due(now);
      std::size_t passed_over = 0;
      queue waiting{*this, pins(request.agent, private_only), now, dialect_->claim_lock(), [&](const auto& wanted) { return choose(request.offers, wanted, {}) != nullptr; }};
      if (waiting.empty()) { // mostly, where many agents hear of one task: nothing is locked then
        answer.next_due = read_time(due);
        return answer;
      }
      auto offers = shared_room(request);
      usage used{*this, request.rules, true};
      image_places images{*this, request};
      while (choose(offers, {}, {}) && passed_over < most_passed_over) {
        std::size_t room = 0;
        for (const auto& one : offers)
          room += one.free;
        auto next = waiting.next(room, used.exclusions());
        if (!next)
          break;
        auto whole = waiting_task(next->row);
        if (used.reached(whole.owner, whole.spec.labels)) // filled up by this very claim
          continue;
        const auto& holders = images.of(whole.spec.image);
        auto offer = choose(offers, next->wanted, holders);
        if (!offer) {
          waiting.leave(next->placement);
          continue;
        }
        auto until = whole.not_before.value_or(whole.created_at).time_since_epoch().count() + patience;
        if (until > now && !holders.empty() && std::find(holders.begin(), holders.end(), offer->id) == holders.end()) {
          patient_until = std::min(patient_until.value_or(until), until);
          ++passed_over;
          continue;
        }
        auto taken = std::find_if(offers.begin(), offers.end(), [&](const auto& each) { return &each == offer; });
        --taken->free;
        used.add(whole.owner, whole.spec.labels);
        answer.attempts.push_back(make_attempt(std::get<0>(next->row), std::move(whole), std::get<1>(next->row) + 1, request, *taken, now));
      }
      if (patient_until && (!due || *patient_until < *due))
        due = patient_until;
      answer.next_due = read_time(due);
      return answer;
    });
  }

  result<task_page> next_tasks(const std::string& agent, bool private_only, const std::vector<std::string>& labels, std::uint32_t limit) override {
    return guarded<task_page>([&]() -> result<task_page> {
      task_page page;
      std::set<std::string> there{labels.begin(), labels.end()};
      queue waiting{*this, pins(agent, private_only), now_number(), "", [&](const auto& wanted) { return std::all_of(wanted.begin(), wanted.end(), [&](const auto& one) { return there.contains(one); }); }};
      while (page.tasks.size() < limit) {
        auto next = waiting.next(limit, "");
        if (!next)
          break;
        page.tasks.push_back(waiting_task(next->row));
      }
      return page;
    });
  }

  result<std::vector<std::string>> limits_reached(const task& queued, const placement_rules& rules) override {
    return guarded<std::vector<std::string>>([&]() -> result<std::vector<std::string>> { return usage{*this, rules, false}.sentences(queued.owner, queued.spec.labels); });
  }

  result<std::vector<claimed_attempt>> take_over(const std::string& agent, const std::string& heir, uuid incarnation) override {
    return transaction<std::vector<claimed_attempt>>([&]() -> result<std::vector<claimed_attempt>> {
      std::vector<std::pair<std::string, number>> open;
      std::string id;
      number attempt_number = 0;
      soci::statement rows = (sql_.prepare << "SELECT task, number FROM attempt WHERE agent = :agent AND outcome IS NULL ORDER BY task",
                              use(agent), into(id), into(attempt_number));
      rows.execute();
      while (rows.fetch())
        open.emplace_back(id, attempt_number);
      auto text = to_string(incarnation);
      sql_ << "UPDATE attempt SET agent = :heir, incarnation = :incarnation WHERE agent = :agent AND outcome IS NULL", use(heir), use(text), use(agent);
      for (const auto& open : unfinished)
        kept_.run("UPDATE task SET pinned = :heir WHERE pinned = :agent AND " + open, heir, agent);
      std::vector<claimed_attempt> attempts;
      for (const auto& [task, n] : open)
        attempts.push_back({{{read_id(task), static_cast<std::int32_t>(n)}, incarnation}, load(task), true, false});
      return attempts;
    });
  }

  result<std::uint32_t> expire(timestamp at) override {
    auto due = guarded<std::vector<std::string>>([&]() -> result<std::vector<std::string>> {
      return ids_of("SELECT id FROM task WHERE state = 'queued' AND queue_until > 0 AND queue_until <= :at", at.time_since_epoch().count());
    });
    if (!due)
      return due.error();
    if (due->empty()) // mostly: nothing is written then
      return std::uint32_t{0};
    return transaction<std::uint32_t>([&]() -> result<std::uint32_t> {
      number now = at.time_since_epoch().count();
      std::string message = "it waited in the queue for longer than its queue_timeout";
      for (const auto& id : *due) {
        sql_ << "UPDATE task SET state = 'finished', outcome = 'timed_out', finished_at = :now, message = :message WHERE id = :id AND state = 'queued'", use(now),
          use(message), use(id);
        add_event(id, 0, "finished", task_state::finished, outcome::timed_out, message);
      }
      return static_cast<std::uint32_t>(due->size());
    });
  }

  result<std::vector<task_id>> finished_before(timestamp before, std::uint32_t limit) override {
    return guarded<std::vector<task_id>>([&]() -> result<std::vector<task_id>> {
      std::vector<task_id> tasks;
      for (const auto& id : ids_of("SELECT id FROM task WHERE state = 'finished' AND finished_at < :at ORDER BY finished_at LIMIT " + std::to_string(limit),
                                   before.time_since_epoch().count()))
        tasks.push_back(read_id(id));
      return tasks;
    });
  }

  result<void> put_log(const attempt_key& key, std::uint32_t index, std::uint32_t count, const std::string& bytes) override {
    return transaction<void>([&]() -> result<void> {
      auto id = to_string(key.task);
      number n = key.number, block = index, blocks = count;
      sql_ << "INSERT INTO log (task, number, block, blocks, bytes) VALUES (:task, :number, :block, :blocks, :bytes)"
              " ON CONFLICT (task, number, block) DO UPDATE SET blocks = excluded.blocks, bytes = excluded.bytes",
        use(id), use(n), use(block), use(blocks), use(bytes);
      return {};
    });
  }

  result<log_block> get_log(const attempt_key& key, std::uint32_t index) override {
    return guarded<log_block>([&]() -> result<log_block> {
      auto id = to_string(key.task);
      number n = key.number, block = index, blocks = 0, there = 0;
      log_block found;
      sql_ << "SELECT blocks, bytes FROM log WHERE task = :task AND number = :number AND block = :block", use(id), use(n), use(block), into(blocks), into(found.bytes);
      if (!sql_.got_data())
        return log_block{};
      sql_ << "SELECT COUNT(*) FROM log WHERE task = :task AND number = :number", use(id), use(n), into(there);
      if (there == blocks)
        found.count = static_cast<std::uint32_t>(blocks);
      return found;
    });
  }

  result<void> forget(const std::vector<task_id>& tasks) override {
    return transaction<void>([&]() -> result<void> {
      for (auto task : tasks) {
        auto id = to_string(task);
        std::string state;
        sql_ << "SELECT state FROM task WHERE id = :id", use(id), into(state);
        if (!sql_.got_data() || state != "finished")
          continue;
        for (auto statement : {"DELETE FROM event WHERE task = :id", "DELETE FROM attempt WHERE task = :id", "DELETE FROM label WHERE task = :id", "DELETE FROM log WHERE task = :id", "DELETE FROM dedupe WHERE task = :id", "DELETE FROM task WHERE id = :id"})
          sql_ << statement, use(id);
      }
      return {};
    });
  }

  result<void> image_pulled(const std::string& engine_id, const std::string& name) override {
    return transaction<void>([&]() -> result<void> {
      auto now = now_number();
      sql_ << "INSERT INTO image (engine_id, name, used_at) VALUES (:engine, :name, :now) ON CONFLICT (engine_id, name) DO UPDATE SET used_at = excluded.used_at, pulled = 1", use(engine_id),
        use(name), use(now);
      return {};
    });
  }

  result<std::vector<std::string>> images_unused(const std::string& engine_id, timestamp before) override {
    return guarded<std::vector<std::string>>([&]() -> result<std::vector<std::string>> {
      std::vector<std::string> names;
      std::string name;
      number at = before.time_since_epoch().count();
      soci::statement rows = (sql_.prepare << "SELECT name FROM image WHERE engine_id = :engine AND pulled = 1 AND used_at < :at ORDER BY used_at", use(engine_id), use(at), into(name));
      rows.execute();
      while (rows.fetch())
        names.push_back(name);
      return names;
    });
  }

  result<void> forget_image(const std::string& engine_id, const std::string& name) override {
    return transaction<void>([&]() -> result<void> {
      sql_ << "DELETE FROM image WHERE engine_id = :engine AND name = :name", use(engine_id), use(name);
      image_written_.erase({engine_id, name});
      return {};
    });
  }

  result<void> record(const attempt_progress& progress) override {
    return transaction<void>([&]() -> result<void> {
      auto id = to_string(progress.token.key.task), incarnation = to_string(progress.token.incarnation);
      number n = progress.token.key.number;
      if (kept_.run("UPDATE attempt SET container = :container, image_id = :image, started_at = :started"
                    " WHERE task = :task AND number = :number AND incarnation = :incarnation AND outcome IS NULL",
                    progress.container, progress.image_id, time_number(progress.started_at), id, n, incarnation) == 0)
        return fenced(progress.token);
      // The claim has made it `starting`; and again if nothing of it had run in what was started.
      if (progress.state == task_state::starting && progress.container.empty())
        kept_.run("UPDATE task SET state = 'starting' WHERE id = :id AND state = 'running'", id);
      if (progress.state == task_state::running && kept_.run("UPDATE task SET state = 'running' WHERE id = :id AND state <> 'running'", id) != 0)
        add_event(id, n, "started", progress.state, std::nullopt, "");
      return {};
    });
  }

  result<task_state> finish(const attempt_result& ended) override {
    return transaction<task_state>([&]() -> result<task_state> {
      auto id = to_string(ended.token.key.task), incarnation = to_string(ended.token.incarnation);
      number n = ended.token.key.number;
      auto finished = time_number(ended.finished_at);
      auto outcome = outcome_text(ended.outcome);
      auto code = ended.exit_code ? std::optional<number>{*ended.exit_code} : std::nullopt;
      auto message = text_of(ended.message);
      if (kept_.run("UPDATE attempt SET finished_at = :finished, outcome = :outcome, exit_code = :code, message = :message, phases = :phases, evidence = :evidence"
                    " WHERE task = :task AND number = :number AND incarnation = :incarnation AND outcome IS NULL",
                    finished, outcome, code, message, json::write(ended.phases), json::write(ended.evidence), id, n, incarnation) == 0)
        return fenced(ended.token);
      if (!ended.image.empty())
        used_images_.emplace(ended.engine_id, ended.image);
      if (!ended.log.empty())
        kept_.run("INSERT INTO log (task, number, block, blocks, bytes) VALUES (:task, :number, 0, 1, :bytes)"
                  " ON CONFLICT (task, number, block) DO UPDATE SET blocks = excluded.blocks, bytes = excluded.bytes",
                  id, n, ended.log);
      if (ended.retry_at) {
        auto [cancelled, text] = kept_.row<number, std::string>("SELECT cancel_requested, spec FROM task WHERE id = :id", id).value();
        if (cancelled == 0) {
          auto spec = read_json<task_spec>(text);
          number due = ended.retry_at->time_since_epoch().count();
          kept_.run("UPDATE task SET state = 'queued', ready = 0, not_before = :due, queue_until = :until, message = :message WHERE id = :id", due, queue_end(spec, due), message, id);
          add_event(id, n, "retrying", task_state::queued, ended.outcome, message);
          return task_state::queued;
        }
      }
      kept_.run("UPDATE task SET state = 'finished', outcome = :outcome, exit_code = :code, message = :message, finished_at = :finished WHERE id = :id", outcome, code, message, finished, id);
      add_event(id, n, "finished", task_state::finished, ended.outcome, message);
      return task_state::finished;
    });
  }

  result<task> cancel(task_id task) override {
    return transaction<davit::task>([&]() -> result<davit::task> {
      auto id = to_string(task);
      if (!cancel_row(id))
        return missing(task);
      return load(id);
    });
  }

  result<void> cancel_pinned(const std::string& agent) override {
    return transaction<void>([&]() -> result<void> {
      for (const auto& open : unfinished)
        for (const auto& [id] : kept_.rows<std::string>("SELECT id FROM task WHERE pinned = :agent AND " + open, agent))
          cancel_row(id);
      return {};
    });
  }

  result<bool> heartbeat(const agent_status& agent, duration lease) override {
    return transaction<bool>([&]() -> result<bool> {
      auto now = clock();
      std::string home, incarnation;
      number until = 0;
      sql_ << "SELECT home, incarnation, lease_until FROM agent WHERE name = :name", use(agent.name), into(home), into(incarnation), into(until);
      if (sql_.got_data() && home != to_string(agent.home) && until > now)
        return false;
      auto own_home = to_string(agent.home), own_incarnation = to_string(agent.incarnation), state = to_string(agent.state), engines = json::write(agent.engines);
      number lease_until = now + static_cast<number>(std::chrono::nanoseconds{lease}.count());
      sql_ << "INSERT INTO agent (name, home, incarnation, version, state, address, engines, started_at, heartbeat_at, lease_until)"
              " VALUES (:name, :home, :incarnation, :version, :state, :address, :engines, :now, :now2, :until)"
              " ON CONFLICT (name) DO UPDATE SET home = excluded.home, incarnation = excluded.incarnation, version = excluded.version, state = excluded.state,"
              " address = excluded.address, engines = excluded.engines, heartbeat_at = excluded.heartbeat_at, lease_until = excluded.lease_until,"
              " started_at = CASE WHEN agent.incarnation = excluded.incarnation THEN agent.started_at ELSE excluded.started_at END",
        use(agent.name), use(own_home), use(own_incarnation), use(agent.version), use(state), use(agent.address), use(engines), use(now), use(now), use(lease_until);
      return true;
    });
  }

  result<void> retire(const std::string& agent, uuid incarnation) override {
    return transaction<void>([&]() -> result<void> {
      auto text = to_string(incarnation);
      sql_ << "UPDATE agent SET lease_until = 0, state = 'gone' WHERE name = :name AND incarnation = :incarnation", use(agent), use(text);
      return {};
    });
  }

  result<std::vector<agent_status>> agents() override {
    return guarded<std::vector<agent_status>>([&]() -> result<std::vector<agent_status>> { return read_agents(clock()); });
  }

  result<adoption> adopt(const adopt_request& request) override {
    return transaction<adoption>([&]() -> result<adoption> {
      adoption found;
      auto now = clock();
      struct left {
        std::string task, agent, engine_id;
        number n = 0;
      };
      std::vector<left> all;
      left row;
      soci::statement rows = (sql_.prepare << "SELECT task, number, agent, engine_id FROM attempt WHERE outcome IS NULL AND agent <> :me"
                                              " AND NOT EXISTS (SELECT 1 FROM agent WHERE agent.name = attempt.agent AND agent.lease_until > :now) ORDER BY task LIMIT 200"
                                                + dialect_->claim_lock(),
                              use(request.agent), use(now), into(row.task), into(row.n), into(row.agent), into(row.engine_id));
      rows.execute();
      while (rows.fetch())
        all.push_back(row);
      if (all.empty())
        return found;
      auto agents = read_agents(now);
      auto incarnation = to_string(request.incarnation);
      auto reaches = [](const std::vector<agent_engine>& engines, const std::string& id) {
        return std::find_if(engines.begin(), engines.end(), [&](const auto& one) { return one.id == id && one.state == engine_state::ready; });
      };
      for (const auto& one : all) {
        auto mine = reaches(request.engines, one.engine_id);
        auto adopted = mine != request.engines.end();
        if (!adopted) {
          auto others = std::any_of(agents.begin(), agents.end(), [&](const agent_status& agent) {
            return agent.state != agent_state::gone && agent.name != request.agent && reaches(agent.engines, one.engine_id) != agent.engines.end();
          });
          auto dead = std::find_if(agents.begin(), agents.end(), [&](const agent_status& agent) { return agent.name == one.agent; });
          auto over = dead == agents.end() || !dead->lease_until || dead->lease_until->time_since_epoch().count() + std::chrono::nanoseconds{request.patience}.count() < now;
          if (others || !over)
            continue;
        }
        if (adopted)
          sql_ << "UPDATE attempt SET agent = :me, incarnation = :incarnation, engine = :engine WHERE task = :task AND number = :n AND outcome IS NULL", use(request.agent), use(incarnation),
            use(mine->name), use(one.task), use(one.n);
        else
          sql_ << "UPDATE attempt SET agent = :me, incarnation = :incarnation WHERE task = :task AND number = :n AND outcome IS NULL", use(request.agent), use(incarnation), use(one.task), use(one.n);
        auto whole = load(one.task);
        add_event(one.task, one.n, "adopted", whole.state, std::nullopt, "by " + request.agent + ", for " + one.agent + " is gone");
        (adopted ? found.adopted : found.orphans).push_back({{{read_id(one.task), static_cast<std::int32_t>(one.n)}, request.incarnation}, std::move(whole), true, true});
      }
      return found;
    });
  }

  result<task> get(task_id id) override {
    return guarded<task>([&]() -> result<task> {
      auto text = to_string(id);
      auto found = find(text);
      if (!found)
        return missing(id);
      return std::move(*found);
    });
  }

  result<task_page> list(const task_query& query) override {
    return guarded<task_page>([&]() -> result<task_page> {
      std::string text = "SELECT id FROM task t WHERE 1 = 1";
      std::vector<std::string> values;
      auto add = [&](const std::string& condition, std::string value) {
        text += condition + std::to_string(values.size());
        values.push_back(std::move(value));
      };
      if (query.state)
        add(" AND state = :v", to_string(*query.state));
      if (!query.name.empty())
        add(" AND name = :v", query.name);
      if (query.before)
        add(" AND id < :v", to_string(*query.before));
      for (const auto& [name, value] : query.labels) {
        add(" AND EXISTS (SELECT 1 FROM label l WHERE l.task = t.id AND l.name = :v", name);
        if (!value.empty())
          add(" AND l.value = :v", value);
        text += ")";
      }
      auto limit = std::clamp<std::uint32_t>(query.limit, 1, 1000);
      text += " ORDER BY id DESC LIMIT " + std::to_string(limit + 1);
      std::vector<std::string> ids;
      std::string id;
      soci::statement rows(sql_);
      rows.exchange(into(id));
      for (const auto& value : values)
        rows.exchange(use(value));
      rows.alloc();
      rows.prepare(text);
      rows.define_and_bind();
      rows.execute();
      while (rows.fetch())
        ids.push_back(id);
      task_page page;
      if (ids.size() > limit) {
        ids.resize(limit);
        page.next = read_id(ids.back());
      }
      for (const auto& one : ids)
        page.tasks.push_back(load(one));
      return page;
    });
  }

  result<std::vector<task_event>> events(std::int64_t sequence, task_id only, std::uint32_t limit) override {
    return guarded<std::vector<task_event>>([&]() -> result<std::vector<task_event>> {
      std::vector<task_event> list;
      number after = sequence, most = std::clamp<std::uint32_t>(limit, 1, 10'000);
      std::string condition = only.nil() ? "'' = :task" : "task = :task";
      for (auto& [seq, task, attempt_number, at, kind, state, outcome, message] :
           kept_.rows<number, std::string, number, number, std::string, std::string, std::optional<std::string>, std::string>(
             "SELECT sequence, task, attempt, at, kind, state, outcome, message FROM event WHERE " + condition + " AND sequence > :after ORDER BY sequence LIMIT :most",
             only.nil() ? std::string{} : to_string(only), after, most))
        list.push_back({seq, read_id(task), static_cast<std::int32_t>(attempt_number), timestamp{std::chrono::nanoseconds{at}}, std::move(kind),
                        read_enum<task_state>(state), read_outcome(outcome), std::move(message)});
      return list;
    });
  }

  result<std::vector<task_event>> news() override {
    if (!unsure_ && !dialect_->shared()) {
      if (!news_.empty())
        told_ = news_.back().sequence;
      return std::exchange(news_, {});
    }
    news_.clear();
    auto list = events(told_, {}, 1000);
    if (list && list->empty())
      unsure_ = false;
    else if (list)
      told_ = list->back().sequence;
    return list;
  }

  result<std::int64_t> last_event() override {
    return guarded<std::int64_t>([&]() -> result<std::int64_t> {
      return static_cast<std::int64_t>(std::get<0>(kept_.row<std::optional<number>>("SELECT MAX(sequence) FROM event").value()).value_or(0));
    });
  }

  result<ended_attempts> ended_since(const std::string& agent, timestamp since, std::int64_t after) override {
    auto last = last_event();
    if (!last)
      return last.error();
    return guarded<ended_attempts>([&]() -> result<ended_attempts> {
      number from = after;
      if (after == 0) { // events are in the order of time, and have no index by it
        number earliest = since.time_since_epoch().count(), to = *last;
        while (from < to) {
          number middle = from + (to - from) / 2;
          auto next = kept_.rows<number>("SELECT at FROM event WHERE sequence > :middle ORDER BY sequence LIMIT 1", middle);
          if (!next.empty() && std::get<0>(next.front()) < earliest)
            from = middle + 1;
          else
            to = middle;
        }
      }
      number to = std::min<number>(from + 10'000, *last);
      ended_attempts found;
      for (const auto& [task, n] : kept_.rows<std::string, number>(
             "SELECT event.task, event.attempt FROM event JOIN attempt ON attempt.task = event.task AND attempt.number = event.attempt"
             " WHERE event.sequence > :after AND event.sequence <= :to AND event.kind IN ('finished', 'retrying') AND attempt.agent = :agent"
             " ORDER BY event.sequence",
             from, to, agent))
        found.keys.push_back({read_id(task), static_cast<std::int32_t>(n)});
      found.next = to < *last ? to : 0;
      return found;
    });
  }

  result<task_counts> counts() override {
    return guarded<task_counts>([&]() -> result<task_counts> {
      task_counts counts;
      for (const auto& open : unfinished)
        for (const auto& [state, count] : kept_.rows<std::string, number>("SELECT state, COUNT(*) FROM task WHERE " + open + " GROUP BY state"))
          (state == "queued" ? counts.queued : state == "starting" ? counts.starting : counts.running) += count;
      return counts;
    });
  }

private:
  /// Runs `work`; what the database throws becomes an error here, at the folder's edge.
  template <class T, class Work>
  result<T> guarded(Work work) {
    try {
      if (lost_ && !batching_) {
        kept_.clear();
        sql_.close();
        dialect_->open(sql_);
        lost_ = false;
      }
      if constexpr (std::is_void_v<std::invoke_result_t<Work>>) {
        work();
        return {};
      } else {
        return work();
      }
    } catch (const std::exception& e) {
      auto described = dialect_->describe(e);
      lost_ |= dialect_->lost(e);
      crossed_ |= dialect_->crossed(e);
      if (batching_ && !broken_)
        broken_ = e.what();
      return described;
    }
  }

  /// Does a whole transaction; once more if another agent's came between.
  template <class T, class Work>
  result<T> until_alone(Work work) {
    for (int turn = 1;; ++turn) {
      crossed_ = false;
      result<T> outcome = work();
      if (outcome || !crossed_ || turn == most_turns)
        return outcome;
    }
  }

  /// As guarded, in a transaction of its own unless a batch is open. A refusal writes nothing.
  template <class T, class Work>
  result<T> transaction(Work work) {
    if (batching_)
      return guarded<T>(work);
    return until_alone<T>([&] {
      auto outcome = guarded<T>([&]() -> result<T> {
        sql_ << dialect_->begin();
        result<T> inner = work();
        if (inner)
          write_last();
        sql_ << (inner ? "COMMIT" : "ROLLBACK");
        if (inner)
          remember_news();
        else
          forget_last();
        return inner;
      });
      if (!outcome)
        undo();
      return outcome;
    });
  }

  void undo() {
    forget_last();
    unsure_ = true;
    image_written_.clear();
    if (lost_)
      return;
    try {
      sql_ << "ROLLBACK";
    } catch (const soci::soci_error&) {
      // There is none open: the failure came before BEGIN, or the database has rolled back by itself.
    }
  }

  /// How much of the fleet's limits is taken by what runs now. Asks the database for nothing if there are no limits.
  class usage {
  public:
    usage(sql_store& store, const placement_rules& rules, bool claiming) : rules_(rules) {
      if (rules.most_per_owner == 0 && rules.label_limits.empty())
        return;
      if (claiming) // two agents must not both take the last place
        store.dialect_->lock(store.sql_, "limits");
      std::string owner, name, value;
      number count = 0;
      if (rules.most_per_owner != 0) {
        soci::statement rows = (store.sql_.prepare << "SELECT owner, COUNT(*) FROM task WHERE state IN ('starting', 'running') GROUP BY owner", into(owner), into(count));
        rows.execute();
        while (rows.fetch())
          owners_[owner] = count;
      }
      if (rules.label_limits.empty())
        return;
      std::string names;
      for (const auto& one : rules.label_limits)
        names += (names.empty() ? "" : ", ") + literal(one.name);
      soci::statement rows = (store.sql_.prepare << "SELECT l.name, l.value, COUNT(*) FROM task t JOIN label l ON l.task = t.id WHERE t.state IN ('starting', 'running') AND l.name IN (" + names
                                                      + ") GROUP BY l.name, l.value",
                              into(name), into(value), into(count));
      rows.execute();
      while (rows.fetch())
        labels_[{name, value}] = count;
    }

    bool reached(const std::string& owner, const std::map<std::string, std::string>& labels) const { return !sentences(owner, labels).empty(); }

    std::vector<std::string> sentences(const std::string& owner, const std::map<std::string, std::string>& labels) const {
      std::vector<std::string> all;
      auto full = [&](const auto& counts, const auto& key, std::uint32_t most, const std::string& what) {
        auto found = counts.find(key);
        if (found != counts.end() && found->second >= most)
          all.push_back(std::to_string(found->second) + " tasks " + what + " run, and no more than " + std::to_string(most) + " may at once");
      };
      if (rules_.most_per_owner != 0)
        full(owners_, owner, rules_.most_per_owner, "of " + (owner.empty() ? std::string{"the same owner"} : owner));
      for (const auto& limit : rules_.label_limits)
        if (auto label = labels.find(limit.name); label != labels.end() && (limit.value.empty() || limit.value == label->second))
          full(labels_, std::pair{limit.name, label->second}, limit.most, "with the label " + limit.name + '=' + label->second);
      return all;
    }

    void add(const std::string& owner, const std::map<std::string, std::string>& labels) {
      ++owners_[owner];
      for (const auto& limit : rules_.label_limits)
        if (auto label = labels.find(limit.name); label != labels.end())
          counted_.insert({limit.name, label->second});
      for (const auto& one : std::exchange(counted_, {}))
        ++labels_[one];
    }

    /// What a query for tasks leaves out, so that those behind are seen.
    std::string exclusions() const {
      std::string sql;
      if (rules_.most_per_owner != 0)
        for (const auto& [owner, count] : owners_)
          if (count >= rules_.most_per_owner)
            sql += " AND owner <> " + literal(owner);
      for (const auto& limit : rules_.label_limits)
        for (const auto& [label, count] : labels_)
          if (label.first == limit.name && (limit.value.empty() || limit.value == label.second) && count >= limit.most)
            sql += " AND id NOT IN (SELECT task FROM label WHERE name = " + literal(label.first) + " AND value = " + literal(label.second) + ")";
      return sql;
    }

  private:
    const placement_rules& rules_;
    std::map<std::string, number> owners_;
    std::map<std::pair<std::string, std::string>, number> labels_;
    std::set<std::pair<std::string, std::string>> counted_;
  };

  /// The queue as it may be claimed: first by priority, then each owner in its turn. It is read by placement, so that what no engine of ours can take costs nothing.
  class queue {
  public:
    using columns = std::tuple<std::string, number, std::string, std::string, number, number, std::string, std::string, std::string, number, number>;

    struct waiting {
      std::string placement;
      std::vector<std::string> wanted;
      columns row;
    };

    queue(sql_store& store, const std::vector<std::string>& pins, number now, std::string lock, const std::function<bool(const std::vector<std::string>&)>& possible)
        : store_(store), now_(now), lock_(std::move(lock)) {
      for (const auto& pinned : pins)
        // With each comes where its first task stands.
        for (auto& [placement, priority, fair] : store.kept_.rows<std::string, std::optional<number>, std::optional<number>>(
               store.placements + "SELECT placement, (SELECT priority" + first_of + ":pinned3" + in_order + "), (SELECT fair" + first_of + ":pinned4" + in_order + ") FROM p WHERE placement IS NOT NULL",
               pinned, pinned, pinned, pinned)) {
          auto wanted = read_json<std::vector<std::string>>(placement);
          if (priority && fair && possible(wanted))
            lanes_.push_back({pinned, std::move(placement), std::move(wanted), {}, {*priority, -*fair, ""}, false, true});
        }
    }

    /// There is nothing in it. If not, there may be something.
    bool empty() const { return lanes_.empty(); }

    /// The next one, which (with a lock) is the caller's to claim until the transaction's end; reads about as many at a time as are wanted. The queue's end: nothing.
    std::optional<waiting> next(std::size_t room, const std::string& exclusions) {
      for (;;) {
        lane* first = nullptr;
        for (auto& one : lanes_)
          if ((one.more || !one.read.empty()) && (!first || before(one, *first)))
            first = &one;
        if (!first)
          return std::nullopt;
        if (first->read.empty()) {
          fill(*first, room, exclusions);
          continue;
        }
        waiting found{first->placement, first->wanted, std::move(first->read.front())};
        first->read.pop_front();
        return found;
      }
    }

    /// Nothing more of this placement: the engines that could take it are full.
    void leave(const std::string& placement) {
      std::erase_if(lanes_, [&](const lane& one) { return one.placement == placement; });
    }

  private:
    struct place {
      number priority = 0, later = 0; ///< Of two places the larger comes first; of two equal ones the smaller id.
      std::string id;
    };

    /// What waits for the same engines.
    struct lane {
      std::string pinned, placement;
      std::vector<std::string> wanted;
      std::deque<columns> read;
      place last;          ///< What was read last; before anything was, where the first stands.
      bool begun = false;
      bool more = true;
    };

    static place of(const lane& one) {
      return one.read.empty() ? one.last : place{std::get<9>(one.read.front()), -std::get<10>(one.read.front()), std::get<0>(one.read.front())};
    }

    static bool before(const lane& one, const lane& other) {
      auto a = of(one), b = of(other);
      return std::tie(a.priority, a.later, b.id) > std::tie(b.priority, b.later, a.id);
    }

    void fill(lane& from, std::size_t room, const std::string& exclusions) {
      auto page = std::bit_ceil(std::clamp<std::size_t>(room, 16, 256)); // few different statements
      std::string text = "SELECT id, attempts, owner, spec, created_at, not_before, name, message, secrets, priority, fair FROM task"
                         " WHERE state = 'queued' AND ready = 1 AND pinned = :pinned AND placement = :placement AND cancel_requested = 0 AND not_before <= :now";
      auto rest = exclusions + " ORDER BY priority DESC, fair, id LIMIT " + std::to_string(page) + lock_;
      std::vector<columns> rows;
      if (!from.begun)
        rows = ask(exclusions.empty(), text + rest, from.pinned, from.placement, now_);
      else
        rows = ask(exclusions.empty(), text + " AND priority <= :most AND (priority < :priority OR fair > :fair OR (fair = :same AND id > :id))" + rest, from.pinned, from.placement, now_,
                   from.last.priority, from.last.priority, -from.last.later, -from.last.later, from.last.id);
      from.begun = true;
      from.more = rows.size() == page;
      if (rows.empty())
        return;
      from.last = {std::get<9>(rows.back()), -std::get<10>(rows.back()), std::get<0>(rows.back())};
      from.read.assign(std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end()));
    }

    /// A statement with exclusions is asked once and not kept.
    template <class... In>
    std::vector<columns> ask(bool usual, const std::string& text, const In&... in) {
      auto rows = [&]<class... Out>(std::tuple<Out...>*) { return usual ? store_.kept_.rows<Out...>(text, in...) : store_.kept_.rows_once<Out...>(text, in...); };
      return rows(static_cast<columns*>(nullptr));
    }

    static inline const std::string first_of = " FROM task WHERE state = 'queued' AND ready = 1 AND placement = p.placement AND pinned = ";
    static inline const std::string in_order = " ORDER BY priority DESC, fair, id LIMIT 1";

    sql_store& store_;
    number now_;
    std::string lock_; ///< Goes behind each SELECT.
    std::vector<lane> lanes_;
  };

  /// Whose tasks an agent may have: everybody's and its own, or its own alone.
  static std::vector<std::string> pins(const std::string& agent, bool private_only) {
    return private_only ? std::vector{agent} : std::vector<std::string>{"", agent};
  }

  /// A task of the queue, but for the attempts that it may have had.
  static task waiting_task(const queue::columns& row) {
    const auto& [id, attempts, owner, spec, created, not_before, name, message, secrets, priority, fair] = row;
    task one;
    one.id = read_id(id);
    one.name = name;
    one.message = message;
    one.owner = owner;
    one.created_at = timestamp{std::chrono::nanoseconds{created}};
    if (not_before != 0)
      one.not_before = timestamp{std::chrono::nanoseconds{not_before}};
    one.spec = read_json<task_spec>(spec);
    read_secrets(secrets, one.spec);
    return one;
  }

  /// Puts retries whose time has come back into the queue; when the next is due.
  std::optional<number> ready_what_is_due(number now) {
    auto next = [&] { return std::get<0>(*kept_.row<std::optional<number>>("SELECT MIN(not_before) FROM task WHERE state = 'queued' AND ready = 0")); };
    auto due = next();
    if (!due || *due > now)
      return due;
    kept_.run("UPDATE task SET ready = 1 WHERE state = 'queued' AND id IN (SELECT id FROM task WHERE state = 'queued' AND ready = 0 AND not_before <= :now ORDER BY not_before LIMIT 1000"
                + dialect_->claim_lock() + ")",
              now);
    return next();
  }

  /// Which of the fleet's engines hold an image, as far as davit has used it there.
  class image_places {
  public:
    image_places(sql_store& store, const claim_request& request) : store_(store), request_(request) {}

    const std::vector<std::string>& of(const std::string& image) {
      auto [entry, added] = known_.try_emplace(image);
      if (!added || request_.rules.image_patience.count() == 0)
        return entry->second;
      for (auto& [id] : store_.kept_.rows<std::string>("SELECT engine_id FROM image WHERE name = :name", image))
        if (living().contains(id))
          entry->second.push_back(std::move(id));
      return entry->second;
    }

  private:
    /// The engines that some agent reaches now.
    const std::set<std::string>& living() {
      if (!living_) {
        living_.emplace(request_.reached.begin(), request_.reached.end());
        for (const auto& offer : request_.offers)
          living_->insert(offer.id);
        if (store_.dialect_->shared())
          for (const auto& agent : store_.read_agents(store_.clock()))
            if (agent.state == agent_state::ready)
              for (const auto& engine : agent.engines)
                if (engine.state == engine_state::ready)
                  living_->insert(engine.id);
      }
      return *living_;
    }

    sql_store& store_;
    const claim_request& request_;
    std::map<std::string, std::vector<std::string>> known_;
    std::optional<std::set<std::string>> living_;
  };

  /// The owner's next place in the queue: behind those it has taken, and not before the others' (start-time fair queueing). Of one who submits at several agents at the same time
  /// some tasks may share a place; those that come later make up for it.
  number next_turn(const std::string& owner, number priority, const std::string& pinned, const std::string& placement) {
    auto [entry, added] = turns_.try_emplace(owner);
    auto& mine = entry->second;
    if (added)
      mine.last = std::get<0>(kept_.row<number>("SELECT COALESCE((SELECT fair FROM owner WHERE name = :name), 0)", owner).value());
    auto [now, first] = queue_now_.try_emplace({pinned, placement, priority});
    if (first) // asked once for all that are accepted together
      now->second = first_place(pinned, placement, priority);
    mine.last = std::max(now->second, mine.last + 1);
    ++mine.taken;
    return mine.last;
  }

  /// Where the first of those stands that such a task would wait with; if none does, of those that wait for other engines.
  number first_place(const std::string& pinned, const std::string& placement, number priority) {
    const std::string first = "SELECT MIN(fair) FROM task WHERE state = 'queued' AND ready = 1 AND pinned = :with AND placement = ";
    auto place = std::get<0>(kept_.row<std::optional<number>>(first + ":placement AND priority = :priority", pinned, placement, priority).value());
    if (place)
      return *place;
    for (const auto& one : pins(pinned, pinned.empty()))
      if (auto other = std::get<0>(kept_.row<std::optional<number>>(placements + "SELECT MIN((" + first + "p.placement AND priority = :priority)) FROM p", one, one, one, priority).value()))
        place = std::min(place.value_or(*other), *other);
    return place ? *place : std::get<0>(kept_.row<number>("SELECT COALESCE((SELECT MAX(fair) FROM owner), 0)").value());
  }

  void add_label(const std::string& task, const std::string& name, const std::string& value) {
    kept_.run("INSERT INTO label (name, value, task) VALUES (:name, :value, :task)", name, value, task);
  }

  /// The offers, less what other agents run on the same engines: an engine's slots are shared by all who reach it.
  std::vector<engine_offer> shared_room(const claim_request& request) {
    auto offers = request.offers;
    if (!dialect_->shared())
      return offers;
    std::set<std::string> engines;
    for (const auto& one : offers)
      engines.insert(one.id);
    for (const auto& id : engines) // in one order, so that nobody waits in a circle
      dialect_->lock(sql_, "engine " + id);
    for (auto& one : offers) {
      auto used = std::get<0>(kept_.row<number>("SELECT COUNT(*) FROM attempt WHERE outcome IS NULL AND engine_id = :id AND agent <> :agent", one.id, request.agent).value());
      one.free -= static_cast<std::uint32_t>(std::min<number>(used, one.free));
    }
    return offers;
  }

  /// The next attempt of a queued task, which is loaded but for the attempts that it may have had.
  claimed_attempt make_attempt(const std::string& id, task whole, number n, const claim_request& request, const engine_offer& offer, number now) {
    kept_.run("UPDATE task SET state = 'starting', attempts = :n WHERE id = :id AND state = 'queued'", n, id);
    kept_.run("INSERT INTO attempt (task, number, agent, incarnation, engine, engine_id, container, image_id, created_at, phases, message, evidence)"
              " VALUES (:task, :number, :agent, :incarnation, :engine, :engine_id, '', '', :at, '{}', '', '{}')",
              id, n, request.agent, to_string(request.incarnation), offer.name, offer.id, now);
    add_event(id, n, "claimed", task_state::starting, std::nullopt, "by " + request.agent + " for engine " + offer.name);
    whole.state = task_state::starting;
    if (n == 1) {
      attempt first;
      first.number = 1;
      first.agent = request.agent;
      first.engine = offer.name;
      first.engine_id = offer.id;
      first.created_at = timestamp{std::chrono::nanoseconds{now}};
      whole.attempts.push_back(std::move(first));
    } else {
      whole.attempts = attempts_of(id);
    }
    return {{{whole.id, static_cast<std::int32_t>(n)}, request.incarnation}, std::move(whole), false, false};
  }

  /// The database's own time, which is the only one that leases know.
  number clock() {
    return std::get<0>(kept_.row<number>("SELECT " + dialect_->clock()).value());
  }

  std::vector<agent_status> read_agents(number now) {
    std::vector<agent_status> list;
    for (auto& [name, home, incarnation, version, state, address, engines, started, heartbeat, until] :
         kept_.rows<std::string, std::string, std::string, std::string, std::string, std::string, std::string, number, number, number>(
           "SELECT name, home, incarnation, version, state, address, engines, started_at, heartbeat_at, lease_until FROM agent ORDER BY name")) {
      agent_status one;
      one.name = std::move(name);
      one.home = read_id(home);
      one.incarnation = read_id(incarnation);
      one.version = std::move(version);
      one.state = until > now ? read_enum<agent_state>(state) : agent_state::gone;
      one.address = std::move(address);
      one.engines = read_json<std::vector<agent_engine>>(engines);
      one.started_at = timestamp{std::chrono::nanoseconds{started}};
      one.heartbeat_at = timestamp{std::chrono::nanoseconds{heartbeat}};
      one.lease_until = timestamp{std::chrono::nanoseconds{until}};
      list.push_back(std::move(one));
    }
    return list;
  }

  /// False: there is no such task.
  bool cancel_row(const std::string& id) {
    std::string state;
    number requested = 0;
    sql_ << "SELECT state, cancel_requested FROM task WHERE id = :id", use(id), into(state), into(requested);
    if (!sql_.got_data())
      return false;
    if (state == "queued") {
      auto now = now_number();
      sql_ << "UPDATE task SET state = 'finished', cancel_requested = 1, outcome = 'cancelled', finished_at = :now,"
              " message = 'cancelled while it was queued' WHERE id = :id",
        use(now), use(id);
      add_event(id, 0, "finished", task_state::finished, outcome::cancelled, "cancelled while it was queued");
    } else if (state != "finished" && requested == 0) {
      sql_ << "UPDATE task SET cancel_requested = 1 WHERE id = :id", use(id);
      add_event(id, 0, "cancel_requested", read_enum<task_state>(state), std::nullopt, "");
    }
    return true;
  }

  static number queue_end(const task_spec& spec, number from) {
    return spec.queue_timeout ? from + static_cast<number>(std::chrono::nanoseconds{*spec.queue_timeout}.count()) : 0;
  }

  /// The ids that a query with one number `:at` finds.
  std::vector<std::string> ids_of(const std::string& query, number at) {
    std::vector<std::string> ids;
    std::string id;
    soci::statement rows = (sql_.prepare << query, use(at), into(id));
    rows.execute();
    while (rows.fetch())
      ids.push_back(id);
    return ids;
  }

  void add_event(const std::string& task, number attempt_number, const std::string& kind, task_state state, std::optional<outcome> ended,
                 const std::string& message) {
    events_.push_back({0, read_id(task), static_cast<std::int32_t>(attempt_number), std::chrono::system_clock::now(), kind, state, ended, text_of(message)});
  }

  /// What every agent writes to is written at a transaction's end, and in one order: so none waits long for another, and no two for each other.
  void write_last() {
    queue_now_.clear();
    for (const auto& [owner, mine] : std::exchange(turns_, {}))
      kept_.run("INSERT INTO owner (name, fair) VALUES (:name, :last) ON CONFLICT (name) DO UPDATE SET fair = " + dialect_->larger("owner.fair", "CAST(:before AS BIGINT)") + " + CAST(:taken AS BIGINT)", owner,
                mine.last, mine.last - mine.taken, mine.taken);
    for (const auto& image : std::exchange(used_images_, {}))
      use_image(image);
    write_events();
  }

  void forget_last() {
    turns_.clear();
    queue_now_.clear();
    used_images_.clear();
    events_.clear();
  }

  /// An image that is used all the time need not be written down each time.
  void use_image(const std::pair<std::string, std::string>& image) {
    constexpr number often_enough = 30'000'000'000;
    auto now = now_number();
    if (auto known = image_written_.find(image); known != image_written_.end() && now - known->second < often_enough)
      return;
    kept_.run("INSERT INTO image (engine_id, name, used_at, pulled) VALUES (:engine, :name, :now, 0) ON CONFLICT (engine_id, name) DO UPDATE SET used_at = excluded.used_at", image.first, image.second, now);
    if (image_written_.size() > 10'000)
      image_written_.clear();
    image_written_[image] = now;
  }

  /// The last thing in a transaction: whoever reads a sequence number knows that no smaller one is still to come.
  void write_events() {
    if (events_.empty())
      return;
    dialect_->lock(sql_, "events");
    if (!dialect_->shared()) {
      for (auto& one : events_) {
        kept_.run("INSERT INTO event (task, attempt, at, kind, state, outcome, message) VALUES (:task, :attempt, :at, :kind, :state, :outcome, :message)", to_string(one.task), number{one.attempt},
                  one.at.time_since_epoch().count(), one.kind, to_string(one.state), outcome_text(one.outcome), one.message);
        number sequence = 0;
        sql_.get_last_insert_id("event", sequence);
        one.sequence = sequence;
      }
      return;
    }
    // Many rows in a statement: each statement is a way to the database and back.
    for (std::size_t from = 0; from < events_.size(); from += 100) {
      std::string rows;
      for (auto one = events_.begin() + static_cast<std::ptrdiff_t>(from); one != events_.end() && one < events_.begin() + static_cast<std::ptrdiff_t>(from + 100); ++one)
        rows += (rows.empty() ? "(" : ", (") + literal(to_string(one->task)) + ", " + std::to_string(one->attempt) + ", " + std::to_string(one->at.time_since_epoch().count()) + ", " + literal(one->kind)
                + ", " + literal(to_string(one->state)) + ", " + (one->outcome ? literal(to_string(*one->outcome)) : "NULL") + ", " + literal(one->message) + ")";
      sql_ << "INSERT INTO event (task, attempt, at, kind, state, outcome, message) VALUES " + rows;
    }
  }

  /// After a commit. Of a store that nobody else writes to, what was written is what there is to tell.
  void remember_news() {
    if (!events_.empty())
      dialect_->reached(events_.back().sequence);
    upkeep_ = dialect_->look_after(sql_);
    auto events = std::exchange(events_, {});
    if (!dialect_->shared() && !unsure_)
      news_.insert(news_.end(), std::make_move_iterator(events.begin()), std::make_move_iterator(events.end()));
  }

  static error fenced(const attempt_token& token) {
    return {errc::fenced, "attempt " + std::to_string(token.key.number) + " of task " + to_string(token.key.task)
                            + " has ended or belongs to another incarnation of an agent; the write is refused"};
  }

  static error missing(task_id id) { return {errc::not_found, "there is no task " + to_string(id)}; }

  /// The task of an id that is known to be there.
  task load(const std::string& id) { return find(id).value(); }

  std::optional<task> find(const std::string& id) {
    auto row = kept_.row<std::string, std::string, std::optional<std::string>, std::optional<number>, std::string, number, number, number, std::optional<number>, std::string, std::string, std::string>(
      "SELECT name, state, outcome, exit_code, message, cancel_requested, created_at, not_before, finished_at, spec, secrets, owner FROM task WHERE id = :id", id);
    if (!row)
      return std::nullopt;
    auto& [name, state, outcome, code, message, cancelled, created, not_before, finished, spec, secrets, owner] = *row;
    task one;
    one.id = read_id(id);
    one.name = std::move(name);
    one.state = read_enum<task_state>(state);
    one.outcome = read_outcome(outcome);
    one.exit_code = code;
    one.message = std::move(message);
    one.cancel_requested = cancelled != 0;
    one.created_at = timestamp{std::chrono::nanoseconds{created}};
    if (not_before != 0)
      one.not_before = timestamp{std::chrono::nanoseconds{not_before}};
    one.finished_at = read_time(finished);
    one.spec = read_json<task_spec>(spec);
    read_secrets(secrets, one.spec);
    one.owner = std::move(owner);
    one.attempts = attempts_of(id);
    return one;
  }

  static void read_secrets(const std::string& secrets, task_spec& spec) {
    if (!secrets.empty())
      for (auto& [name, sealed] : read_json<std::map<std::string, std::string>>(secrets))
        spec.secrets[name] = {std::move(sealed), true};
  }

  std::vector<attempt> attempts_of(const std::string& id) {
    std::vector<attempt> all;
    for (auto& [n, agent, engine, engine_id, container, image_id, created, started, finished, phases, outcome, code, message, evidence] :
         kept_.rows<number, std::string, std::string, std::string, std::string, std::string, std::optional<number>, std::optional<number>, std::optional<number>, std::string,
                    std::optional<std::string>, std::optional<number>, std::string, std::string>(
           "SELECT number, agent, engine, engine_id, container, image_id, created_at, started_at, finished_at, phases, outcome, exit_code, message, evidence"
           " FROM attempt WHERE task = :id ORDER BY number",
           id)) {
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
      all.push_back(std::move(one));
    }
    return all;
  }

  /// What is not finished, by indices that have nothing else.
  static inline const std::string unfinished[] = {"state = 'queued' AND ready = 1", "state = 'queued' AND ready = 0", "state IN ('starting', 'running')"};

  /// The placements of what is queued and pinned alike: from one to the next, each time by the index.
  static inline const std::string placements =
    "WITH RECURSIVE p (placement) AS (SELECT MIN(placement) FROM task WHERE state = 'queued' AND ready = 1 AND pinned = :pinned"
    " UNION ALL SELECT (SELECT MIN(placement) FROM task WHERE state = 'queued' AND ready = 1 AND pinned = :pinned2 AND placement > p.placement) FROM p WHERE p.placement IS NOT NULL) ";

  std::unique_ptr<dialect> dialect_;
  soci::session sql_;
  statements kept_{sql_};
  bool lost_ = false;     ///< The session is to be opened before it is used.
  bool crossed_ = false;  ///< Another session's transaction came between: the same may work at once.
  bool batching_ = false;
  std::vector<task_event> events_; ///< Of this transaction.
  std::vector<task_event> news_;   ///< Committed, and not asked for yet.
  std::int64_t told_ = 0;          ///< The last event that was.
  bool unsure_ = true;             ///< The database alone knows the news.
  struct owner_turns {
    number last = 0, taken = 0;
  };
  std::map<std::tuple<std::string, std::string, number>, number> queue_now_; ///< By pinned, placement, priority: the place that was first when this transaction asked.
  std::map<std::string, owner_turns> turns_;                   ///< Places in the queue that this transaction has given.
  std::set<std::pair<std::string, std::string>> used_images_;  ///< By engine and name: what this transaction's attempts were made from.
  std::map<std::pair<std::string, std::string>, number> image_written_; ///< When this session has written an image down last.
  upkeep upkeep_;
  std::optional<std::string> broken_; ///< What went wrong within a batch: all of it is undone.
};

} // namespace

result<std::unique_ptr<task_store>> task_store::open(const std::string& url, sqlite_limits limits) {
  constexpr std::string_view scheme = "sqlite://";
  std::unique_ptr<dialect> how;
  if (url.starts_with("postgresql://") || url.starts_with("postgres://")) {
    how = make_postgresql(url);
  } else if (url.starts_with(scheme) && url.size() > scheme.size()) {
    auto path = url.substr(scheme.size());
    if (path.find_first_of(" '\"") != std::string::npos)
      return error{errc::unavailable, "the store's path \"" + path + "\" has blanks or quotes, which are not supported"};
    auto folder = std::filesystem::path{path}.parent_path();
    std::error_code ec;
    if (!folder.empty() && !std::filesystem::is_directory(folder, ec))
      return error{errc::unavailable, "the store's folder " + folder.string() + " is not there"};
    how = make_sqlite(path, limits);
  } else {
    return error{errc::unavailable, "\"" + url + "\" is no store; write sqlite:///path/to/davit.db or postgresql://user@host/database"};
  }
  auto made = std::make_unique<sql_store>(std::move(how));
  if (auto opened = made->open(); !opened)
    return opened.error();
  return std::unique_ptr<task_store>{std::move(made)};
}

} // namespace davit::store
