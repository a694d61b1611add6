#include "simulation/oracle.hpp"

#include "actors/container_plan.hpp"

#include <algorithm>
#include <set>

namespace davit::simulation {

namespace {

class judgement {
public:
  judgement(world& all, bool settled) : world_(all) {
    broken_ = all.broken();
    for (const auto& one : all.removed())
      containers_[one.name].push_back(&one);
    for (const auto& [name, engine] : all.engines())
      for (const auto& [id, one] : engine->containers()) {
        containers_[one.name].push_back(&one);
        if (settled)
          broke("a container is left: " + one.name + " on " + name);
      }
    std::set<task_id> seen;
    task_query query;
    query.limit = 1000;
    auto page = all.store().list(query);
    if (!page) {
      broke("the tasks can't be read: " + page.error().message);
      return;
    }
    for (const auto& one : page->tasks) {
      seen.insert(one.id);
      auto whole = all.store().get(one.id);
      if (!whole)
        broke("task " + to_string(one.id) + " can't be read");
      else
        look_at(*whole);
    }
    for (const auto& [id, truth] : all.tasks())
      if (truth.accepted && !seen.contains(id))
        broke("a task was accepted and is not there: " + to_string(id));
    if (!settled && broken_.empty())
      broke("it does not settle");
  }

  std::vector<std::string> broken() && { return std::move(broken_); }

private:
  void broke(const std::string& what) { broken_.push_back(what); }

  const container* find(const attempt_key& key) const {
    auto found = containers_.find(container_name(key));
    if (found == containers_.end())
      return nullptr;
    // One that was made again, because the first had not begun, comes later.
    auto begun = std::find_if(found->second.rbegin(), found->second.rend(),
                              [](const auto* one) { return one->is != container::state::created; });
    return begun == found->second.rend() ? found->second.back() : *begun;
  }

  void look_at(const task& one) {
    auto known = world_.tasks().find(one.id);
    auto truth = known == world_.tasks().end() ? task_truth{} : known->second;
    auto who = one.name + " (" + to_string(one.id) + ")";
    if (one.state != task_state::finished)
      return broke(who + " does not end: it is " + to_string(one.state));
    if (one.attempts.empty()) {
      if (one.outcome != outcome::cancelled)
        broke(who + " ended as " + to_string(*one.outcome) + " without an attempt");
      return;
    }
    auto number = static_cast<std::size_t>(std::stoul(one.name.substr(1)));
    const auto& planned = world_.planned().tasks[number];
    if (planned.spec.at_most_once && truth.runs > 1)
      broke(who + " may run once, and ran " + std::to_string(truth.runs) + " times");
    for (const auto& attempt : one.attempts)
      look_at(who + " attempt " + std::to_string(attempt.number), {one.id, attempt.number}, attempt, truth, planned);
    std::size_t ends = 0;
    if (auto events = world_.store().events(0, one.id, 1000))
      ends = static_cast<std::size_t>(
        std::count_if(events->begin(), events->end(), [](const auto& event) { return event.kind == "finished"; }));
    if (ends != 1)
      broke(who + " ends " + std::to_string(ends) + " times");
  }

  void look_at(const std::string& who, const attempt_key& key, const attempt& one, const task_truth& truth,
               const planned_task& planned) {
    auto there = find(key);
    if (!one.outcome)
      return broke(who + " has no outcome");
    auto says = who + " says " + to_string(*one.outcome)
              + (one.exit_code ? " with " + std::to_string(*one.exit_code) : std::string{}) + " (" + one.message + ")";
    auto ran = there && there->is != container::state::created;
    if (one.exit_code && !ran)
      return broke(says + ", and its container never ran");
    if (one.exit_code && there->is == container::state::ended && *one.exit_code != there->code)
      broke(says + ", and its container ended with " + std::to_string(there->code));
    switch (*one.outcome) {
      case outcome::succeeded:
      case outcome::failed:
        if (!ran || there->code != planned.does.code)
          broke(says + ", and its command would have ended with " + std::to_string(planned.does.code));
        break;
      case outcome::timed_out:
        if (!planned.spec.timeout)
          broke(says + ", and has no timeout");
        break;
      case outcome::cancelled:
        if (!truth.cancel_asked)
          broke(says + ", and nobody asked for it");
        break;
      case outcome::engine_lost:
      case outcome::agent_lost:
        if (world_.faults() == 0 && world_.planned().calls.lost_before == 0 && world_.planned().calls.lost_after == 0)
          broke(says + ", and there were no faults");
        break;
      default:
        broke(says);
    }
    if (one.exit_code)
      look_at_log(who, key, *there);
  }

  void look_at_log(const std::string& who, const attempt_key& key, const container& there) {
    auto all = world_.read_log(key);
    if (!all)
      return broke(who + ": its log can't be read");
    auto noted = false;
    std::map<log_stream, std::string> seen, kept;
    for (const auto& one : *all) {
      noted |= one.stream == log_stream::note;
      if (one.stream != log_stream::note)
        seen[one.stream] += one.bytes;
    }
    for (const auto& one : there.kept)
      kept[one.stream] += one.bytes;
    for (auto stream : {log_stream::out, log_stream::err})
      if (seen[stream] != kept[stream] && !(noted && kept[stream].find(seen[stream]) == 0))
        broke(who + ": its " + to_string(stream) + " is\n" + seen[stream] + "and the engine has\n" + kept[stream]);
  }

  world& world_;
  std::vector<std::string> broken_;
  std::map<std::string, std::vector<const container*>> containers_;
};

} // namespace

std::vector<std::string> judge(world& all, bool settled) {
  return judgement{all, settled}.broken();
}

} // namespace davit::simulation
