#include "store/sql_agents.hpp"

#include "policy/adoption.hpp"

#include <algorithm>

namespace davit::store {

result<bool> sql_agents::heartbeat(const agent_status& agent, duration lease) {
  return session_.transaction<bool>([&]() -> result<bool> {
    auto now = clock();
    auto home = to_string(agent.home);
    auto known
      = session_.kept().row<std::string, number>("SELECT home, lease_until FROM agent WHERE name = :name", agent.name);
    if (known && std::get<0>(*known) != home && std::get<1>(*known) > now)
      return false;
    session_.kept().run(
      "INSERT INTO agent (name, home, incarnation, version, state, address, engines, started_at, heartbeat_at,"
      " lease_until)"
      " VALUES (:name, :home, :incarnation, :version, :state, :address, :engines, :now, :now2, :until)"
      " ON CONFLICT (name) DO UPDATE SET home = excluded.home, incarnation = excluded.incarnation,"
      " version = excluded.version,"
      " state = excluded.state, address = excluded.address, engines = excluded.engines,"
      " heartbeat_at = excluded.heartbeat_at,"
      " lease_until = excluded.lease_until,"
      " started_at = CASE WHEN agent.incarnation = excluded.incarnation THEN agent.started_at"
      " ELSE excluded.started_at END",
      agent.name, home, to_string(agent.incarnation), agent.version, to_string(agent.state), agent.address,
      json::write(agent.engines), now, now, now + number_of(lease));
    return true;
  });
}

result<void> sql_agents::retire(const std::string& agent, uuid incarnation) {
  return session_.transaction<void>([&]() -> result<void> {
    session_.kept().run(
      "UPDATE agent SET lease_until = 0, state = 'gone' WHERE name = :name AND incarnation = :incarnation", agent,
      to_string(incarnation));
    return {};
  });
}

result<std::vector<agent_status>> sql_agents::agents() {
  return session_.guarded<std::vector<agent_status>>(
    [&]() -> result<std::vector<agent_status>> { return read(clock()); });
}

std::vector<agent_status> sql_agents::read(number now) {
  std::vector<agent_status> list;
  for (auto& [name, home, incarnation, version, state, address, engines, started, heartbeat, until] :
       session_.kept()
         .rows<std::string, std::string, std::string, std::string, std::string, std::string, std::string, number,
               number, number>("SELECT name, home, incarnation, version, state, address, engines, started_at,"
                               " heartbeat_at, lease_until FROM agent ORDER BY name")) {
    agent_status one;
    one.name = std::move(name);
    one.home = read_id(home);
    one.incarnation = read_id(incarnation);
    one.version = std::move(version);
    one.state = until > now ? read_enum<agent_state>(state) : agent_state::gone;
    one.address = std::move(address);
    one.engines = read_json<std::vector<agent_engine>>(engines);
    one.started_at = read_time(started);
    one.heartbeat_at = read_time(heartbeat);
    one.lease_until = read_time(until);
    list.push_back(std::move(one));
  }
  return list;
}

number sql_agents::clock() {
  return std::get<0>(session_.kept().row<number>("SELECT " + session_.how().clock()).value());
}

result<adoption> sql_agents::adopt(const adopt_request& request) {
  return session_.transaction<adoption>([&]() -> result<adoption> {
    adoption found;
    auto now = clock();
    auto left = session_.kept().rows<std::string, number, std::string, std::string>(
      "SELECT task, number, agent, engine_id FROM attempt WHERE outcome IS NULL AND agent <> :me"
      " AND NOT EXISTS (SELECT 1 FROM agent WHERE agent.name = attempt.agent AND agent.lease_until > :now)"
      " ORDER BY task LIMIT 200"
        + session_.how().claim_lock(),
      request.agent, now);
    if (left.empty())
      return found;
    auto agents = read(now);
    auto incarnation = to_string(request.incarnation);
    for (const auto& [task, n, agent, engine_id] : left) {
      left_attempt one{{read_id(task), static_cast<std::int32_t>(n)}, agent, engine_id};
      auto decision = decide_adoption(one, request, agents, read_time(now));
      if (decision.verdict == adoption_verdict::leave)
        continue;
      auto adopted = decision.verdict == adoption_verdict::adopt;
      if (adopted)
        session_.kept().run("UPDATE attempt SET agent = :me, incarnation = :incarnation, engine = :engine"
                            " WHERE task = :task AND number = :n AND outcome IS NULL",
                            request.agent, incarnation, decision.engine, task, n);
      else
        session_.kept().run("UPDATE attempt SET agent = :me, incarnation = :incarnation"
                            " WHERE task = :task AND number = :n AND outcome IS NULL",
                            request.agent, incarnation, task, n);
      auto given = resumed(task, n, request.incarnation, true);
      events_.add(task, n, "adopted", given.task.state, std::nullopt,
                  "by " + request.agent + ", for " + agent + " is gone");
      (adopted ? found.adopted : found.orphans).push_back(std::move(given));
    }
    return found;
  });
}

std::vector<claimed_attempt> sql_agents::open_attempts(const claim_request& request) {
  if (request.first)
    return take_over(request.agent, request);
  std::vector<claimed_attempt> found;
  std::vector<attempt_key> at_work = request.at_work;
  std::sort(at_work.begin(), at_work.end());
  for (const auto& [task, n] : session_.kept().rows<std::string, number>(
         "SELECT task, number FROM attempt WHERE agent = :agent AND outcome IS NULL ORDER BY task", request.agent)) {
    attempt_key key{read_id(task), static_cast<std::int32_t>(n)};
    if (std::binary_search(at_work.begin(), at_work.end(), key))
      continue;
    // An answer to this very incarnation was lost: nothing was begun of what it held.
    auto owned = session_.kept().row<number>("SELECT COUNT(*) FROM attempt WHERE task = :task AND number = :n"
                                             " AND incarnation = :incarnation AND outcome IS NULL",
                                             task, n, to_string(request.incarnation));
    if (std::get<0>(owned.value()) != 0)
      found.push_back(resumed(task, n, request.incarnation, session_.how().shared() && was_adopted(task, n)));
  }
  return found;
}

result<std::size_t> sql_agents::take_name(const std::string& agent) {
  return session_.transaction<std::size_t>([&]() -> result<std::size_t> {
    auto taken = session_.kept().run("UPDATE attempt SET agent = :to WHERE outcome IS NULL AND agent <> :not"
                                     " AND EXISTS (SELECT 1 FROM task t WHERE t.id = attempt.task AND t.pinned = '')",
                                     agent, agent);
    return static_cast<std::size_t>(taken);
  });
}

std::vector<claimed_attempt> sql_agents::take_over(const std::string& from, const claim_request& request) {
  auto open = session_.kept().rows<std::string, number>(
    "SELECT task, number FROM attempt WHERE agent = :agent AND outcome IS NULL ORDER BY task", from);
  session_.kept().run(
    "UPDATE attempt SET agent = :asker, incarnation = :incarnation WHERE agent = :agent AND outcome IS NULL",
    request.agent, to_string(request.incarnation), from);
  std::vector<claimed_attempt> found;
  found.reserve(open.size());
  for (const auto& [task, n] : open)
    found.push_back(resumed(task, n, request.incarnation, session_.how().shared()));
  return found;
}

claimed_attempt sql_agents::resumed(const std::string& task, number attempt, uuid incarnation, bool adopted) {
  return {{{read_id(task), static_cast<std::int32_t>(attempt)}, incarnation}, tasks_.load(task), true, adopted};
}

bool sql_agents::was_adopted(const std::string& task, number attempt) {
  auto [count] = session_.kept()
                   .row<number>("SELECT COUNT(*) FROM event WHERE task = :task AND attempt = :n AND kind = 'adopted'",
                                task, attempt)
                   .value();
  return count != 0;
}

} // namespace davit::store
