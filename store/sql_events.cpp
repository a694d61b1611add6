#include "store/sql_events.hpp"

#include "store/sql_values.hpp"

#include <algorithm>

namespace davit::store {

namespace {

const std::string insert = "INSERT INTO event (task, attempt, at, kind, state, outcome, message) VALUES ";

} // namespace

result<void> sql_events::open() {
  auto there = last();
  if (!there)
    return there.error();
  told_ = *there;
  return {};
}

void sql_events::add(const std::string& task, long long attempt, const std::string& kind, task_state state,
                     std::optional<outcome> ended, const std::string& message) {
  events_.push_back({0, read_id(task), static_cast<std::int32_t>(attempt), std::chrono::system_clock::now(), kind,
                     state, ended, text_of(message)});
}

/// The last thing in a transaction: whoever reads a sequence number knows that no smaller one is still to come.
void sql_events::write_last() {
  if (events_.empty())
    return;
  session_.how().lock(session_.sql(), "events");
  if (session_.how().shared())
    write_together();
  else
    write_singly();
}

void sql_events::write_singly() {
  for (auto& one : events_) {
    session_.kept().run(insert + "(:task, :attempt, :at, :kind, :state, :outcome, :message)", to_string(one.task),
                        number{one.attempt}, number_of(one.at), one.kind, to_string(one.state),
                        outcome_text(one.outcome), one.message);
    number sequence = 0;
    session_.sql().get_last_insert_id("event", sequence);
    one.sequence = sequence;
  }
}

/// Many rows in a statement: each statement is a way to the database and back.
void sql_events::write_together() {
  constexpr std::ptrdiff_t most = 100;
  for (auto from = events_.begin(); from != events_.end();) {
    auto to = from + std::min(most, events_.end() - from);
    std::string rows;
    for (; from != to; ++from)
      rows += (rows.empty() ? "(" : ", (") + literal(to_string(from->task)) + ", " + std::to_string(from->attempt)
            + ", " + std::to_string(number_of(from->at)) + ", " + literal(from->kind) + ", "
            + literal(to_string(from->state)) + ", " + (from->outcome ? literal(to_string(*from->outcome)) : "NULL")
            + ", " + literal(from->message) + ")";
    session_.sql() << insert + rows;
  }
}

void sql_events::forget() {
  events_.clear();
  unsure_ = true;
}

/// Of a store that nobody else writes to, what was written is what there is to tell.
void sql_events::committed() {
  if (!events_.empty())
    session_.how().reached(events_.back().sequence);
  auto events = std::exchange(events_, {});
  if (!session_.how().shared() && !unsure_)
    news_.insert(news_.end(), std::make_move_iterator(events.begin()), std::make_move_iterator(events.end()));
}

result<std::vector<task_event>>
sql_events::after(std::int64_t sequence, task_id only, std::uint32_t limit, const std::string& owner) {
  return session_.guarded<std::vector<task_event>>([&]() -> result<std::vector<task_event>> {
    std::vector<task_event> list;
    number from = sequence, most = std::clamp<std::uint32_t>(limit, 1, 10'000);
    std::string condition = only.nil() ? "'' = :task" : "task = :task";
    condition += owner.empty() ? " AND '' = :owner"
                               : " AND EXISTS (SELECT 1 FROM task t WHERE t.id = event.task AND t.owner = :owner)";
    for (auto& [seq, task, attempt, at, kind, state, outcome, message] :
         session_.kept()
           .rows<number, std::string, number, number, std::string, std::string, std::optional<std::string>,
                 std::string>("SELECT sequence, task, attempt, at, kind, state, outcome, message FROM event WHERE "
                                + condition + " AND sequence > :after ORDER BY sequence LIMIT :most",
                              only.nil() ? std::string{} : to_string(only), text_of(owner), from, most))
      list.push_back({seq, read_id(task), static_cast<std::int32_t>(attempt), read_time(at), std::move(kind),
                      read_enum<task_state>(state), read_outcome(outcome), std::move(message)});
    return list;
  });
}

result<std::int64_t> sql_events::last() {
  return session_.guarded<std::int64_t>([&]() -> result<std::int64_t> {
    auto [sequence] = session_.kept().row<std::optional<number>>("SELECT MAX(sequence) FROM event").value();
    return static_cast<std::int64_t>(sequence.value_or(0));
  });
}

result<std::vector<task_event>> sql_events::news() {
  if (!unsure_ && !session_.how().shared()) {
    if (!news_.empty())
      told_ = news_.back().sequence;
    return std::exchange(news_, {});
  }
  news_.clear();
  auto list = after(told_, {}, 1000);
  if (list && list->empty())
    unsure_ = false;
  else if (list)
    told_ = list->back().sequence;
  return list;
}

result<ended_attempts> sql_events::ended_since(const std::string& agent, timestamp since, std::int64_t after) {
  auto newest = last();
  if (!newest)
    return newest.error();
  return session_.guarded<ended_attempts>([&]() -> result<ended_attempts> {
    auto& kept = session_.kept();
    number from = after;
    if (after == 0) { // events are in the order of time, and have no index by it
      number earliest = since.time_since_epoch().count(), to = *newest;
      while (from < to) {
        number middle = from + (to - from) / 2;
        auto next
          = kept.rows<number>("SELECT at FROM event WHERE sequence > :middle ORDER BY sequence LIMIT 1", middle);
        if (!next.empty() && std::get<0>(next.front()) < earliest)
          from = middle + 1;
        else
          to = middle;
      }
    }
    number to = std::min<number>(from + 10'000, *newest);
    ended_attempts found;
    for (const auto& [task, n] : kept.rows<std::string, number>(
           "SELECT event.task, event.attempt FROM event"
           " JOIN attempt ON attempt.task = event.task AND attempt.number = event.attempt"
           " WHERE event.sequence > :after AND event.sequence <= :to AND event.kind IN ('finished', 'retrying')"
           " AND attempt.agent = :agent ORDER BY event.sequence",
           from, to, agent))
      found.keys.push_back({read_id(task), static_cast<std::int32_t>(n)});
    found.next = to < *newest ? to : 0;
    return found;
  });
}

} // namespace davit::store
