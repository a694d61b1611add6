#include "simulation/engine_model.hpp"

#include <algorithm>

namespace davit::simulation {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t most_events = 256; // the engine's ring
constexpr std::int64_t killed = 137, terminated = 143;

timestamp stamp(nanoseconds when) {
  return std::chrono::time_point_cast<timestamp::duration>(beginning() + when);
}

engine_failure no_such(const std::string& which) {
  return {engine_errc::not_found, "No such container: " + which};
}

script read_words(const std::vector<std::string>& words) {
  script what;
  if (words.size() == 6) {
    what.code = std::stoll(words[1]);
    what.takes = std::chrono::milliseconds{std::stoll(words[2])};
    what.lines = static_cast<std::uint32_t>(std::stoul(words[3]));
    what.obeys = words[4] == "obeys";
    what.tag = words[5];
  }
  return what;
}

} // namespace

std::vector<std::string> words_of(const script& what) {
  return {"work",
          std::to_string(what.code),
          std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(what.takes).count()),
          std::to_string(what.lines),
          what.obeys ? "obeys" : "stubborn",
          what.tag};
}

engine_model::engine_model(std::string name, bool live_restore, later at)
  : name_(std::move(name)), live_restore_(live_restore), at_(std::move(at)) {}

container* engine_model::find(const std::string& which) {
  if (auto found = containers_.find(which); found != containers_.end())
    return &found->second;
  for (auto& [id, one] : containers_)
    if (one.name == which)
      return &one;
  return nullptr;
}

const container* engine_model::find(const std::string& which) const {
  return const_cast<engine_model*>(this)->find(which);
}

answer<std::string> engine_model::create(const container_plan& plan) {
  if (auto there = find(plan.name))
    return engine_failure{engine_errc::conflict, "Conflict. The container name \"/" + plan.name
                                                   + "\" is already in use by container \"" + there->id + "\"."};
  auto number = std::to_string(++made_);
  container one;
  one.id = name_ + std::string(64 - name_.size() - number.size(), '0') + number;
  one.name = plan.name;
  one.labels = plan.labels;
  one.does = read_words(plan.command);
  one.made = now();
  auto id = one.id;
  tell("create", containers_.emplace(id, std::move(one)).first->second);
  return id;
}

answer<bool> engine_model::start(const std::string& which) {
  auto one = find(which);
  if (!one)
    return no_such(which);
  if (one->is == container::state::running)
    return false;
  one->is = container::state::running;
  one->started = now();
  one->ends_at = now() + one->does.takes;
  one->printed = 0;
  tell("start", *one);
  if (on_start)
    on_start(*one);
  schedule_line(one->id);
  at_(one->ends_at, [this, id = one->id, begun = one->started] {
    if (auto one = find(id); one && one->is == container::state::running && one->started == begun)
      end(*one, one->does.code);
  });
  return true;
}

void engine_model::schedule_line(const std::string& id) {
  auto one = find(id);
  if (!one || one->is != container::state::running || one->printed >= one->does.lines)
    return;
  auto when = one->started + one->does.takes * (one->printed + 1) / (one->does.lines + 1);
  at_(when, [this, id, begun = one->started] {
    auto one = find(id);
    if (!one || one->is != container::state::running || one->started != begun)
      return;
    print(*one);
    schedule_line(id);
  });
}

void engine_model::print(container& one) {
  log_record line{one.printed % 5 == 4 ? log_stream::err : log_stream::out, stamp(now()),
                  one.does.tag + ' ' + std::to_string(one.printed) + '\n'};
  ++one.printed;
  if (!up_ || frozen_) { // it stays in the pipe, unless the engine comes back in time
    one.unread.push_back(std::move(line));
    return;
  }
  keep(one, std::move(line));
  changed(one.id);
}

/// No two lines have the same stamp.
void engine_model::keep(container& one, log_record line) {
  one.last_stamp = std::max(now(), one.last_stamp + 1ns);
  line.at = stamp(one.last_stamp);
  one.kept.push_back(std::move(line));
}

void engine_model::end(container& one, std::int64_t code) {
  one.is = container::state::ended;
  one.code = code;
  one.finished = now();
  if (on_end)
    on_end(one);
  if (!up_) { // nobody reads what was in its pipes
    one.lost += static_cast<std::uint32_t>(one.unread.size());
    one.unread.clear();
  }
  if (up_ && !frozen_) {
    tell("die", one);
    changed(one.id);
  }
}

answer<container_status> engine_model::inspect(const std::string& which) const {
  auto one = find(which);
  if (!one)
    return no_such(which);
  container_status status;
  status.id = one->id;
  status.name = one->name;
  status.image_id = "sha256:1";
  status.labels = one->labels;
  auto ended = one->is == container::state::ended;
  status.state = ended ? "exited" : one->is == container::state::running ? "running" : "created";
  status.exit_code = ended ? one->code : 0;
  if (one->is != container::state::created)
    status.started_at = stamp(one->started);
  if (ended)
    status.finished_at = stamp(one->finished);
  status.raw_state = "{\"Status\":\"" + status.state + "\",\"ExitCode\":" + std::to_string(status.exit_code) + "}";
  return status;
}

answer<bool> engine_model::stop(const std::string& which, nanoseconds grace, std::function<void()> then) {
  auto one = find(which);
  if (!one)
    return no_such(which);
  if (one->is != container::state::running) {
    then();
    return false;
  }
  tell("kill", *one);
  auto wait = one->does.obeys ? std::min<nanoseconds>(grace, 100ms) : grace;
  auto code = one->does.obeys && grace >= 100ms ? terminated : killed;
  at_(now() + wait, [this, id = one->id, begun = one->started, code, then = std::move(then)] {
    if (auto one = find(id); one && one->is == container::state::running && one->started == begun && up_)
      end(*one, code);
    then();
  });
  return true;
}

answer<std::string> engine_model::remove(const std::string& which) {
  auto one = find(which);
  if (!one)
    return no_such(which);
  if (one->is == container::state::running)
    end(*one, killed);
  tell("destroy", *one);
  if (on_remove)
    on_remove(*one);
  auto id = one->id;
  containers_.erase(id);
  changed(id);
  return id;
}

answer<std::string> engine_model::rename(const std::string& which, const std::string& name) {
  auto one = find(which);
  if (!one)
    return no_such(which);
  if (auto other = find(name); other && other != one)
    return engine_failure{engine_errc::conflict, "the name is in use"};
  one->name = name;
  tell("rename", *one);
  return one->id;
}

std::vector<container_summary> engine_model::list(const std::vector<std::string>& labels) const {
  std::vector<container_summary> all;
  for (const auto& entry : containers_) {
    const auto& one = entry.second;
    auto fits = std::all_of(labels.begin(), labels.end(), [&](const std::string& wanted) {
      auto cut = wanted.find('=');
      auto found = one.labels.find(wanted.substr(0, cut));
      return found != one.labels.end() && (cut == wanted.npos || found->second == wanted.substr(cut + 1));
    });
    if (fits)
      all.push_back({one.id, one.name,
                     one.is == container::state::ended     ? "exited"
                     : one.is == container::state::running ? "running"
                                                           : "created",
                     one.labels});
  }
  return all;
}

std::vector<engine_event>
engine_model::history(const std::string& which, std::chrono::system_clock::time_point since) const {
  std::vector<engine_event> found;
  auto one = find(which);
  for (const auto& event : events_)
    if (event.at >= since && (event.id == which || (one && event.id == one->id)))
      found.push_back(event);
  return found;
}

void engine_model::tell(const std::string& action, const container& one) {
  if (!up_)
    return;
  events_.push_back({"container", action, one.id, {{"name", one.name}}, stamp(now()), "{\"" + action + "\"}"});
  if (events_.size() > most_events)
    events_.pop_front();
}

void engine_model::on_change(const std::string& id, std::function<void()> what) {
  waiting_.emplace(id, std::move(what));
}

void engine_model::changed(const std::string& id) {
  auto [first, last] = waiting_.equal_range(id);
  std::vector<std::function<void()>> told;
  for (auto one = first; one != last; ++one)
    told.push_back(std::move(one->second));
  waiting_.erase(first, last);
  for (auto& one : told)
    one();
}

void engine_model::go_down(bool kills_containers) {
  if (!up_)
    return;
  if (frozen_)
    thaw();
  for (auto& [id, one] : containers_)
    if (kills_containers && one.is == container::state::running)
      end(one, one.does.obeys ? terminated : killed);
  up_ = false;
  events_.clear();
  auto all = std::exchange(waiting_, {});
  for (auto& [id, what] : all)
    what();
}

/// One that starts again ends what it finds running, unless it has live-restore.
void engine_model::come_up() {
  if (up_)
    return;
  ++epoch_;
  up_since_ = now();
  for (auto& [id, one] : containers_) {
    if (one.is == container::state::running && !live_restore_)
      end(one, killed);
    if (one.is == container::state::running)
      for (auto& line : std::exchange(one.unread, {}))
        keep(one, std::move(line));
  }
  up_ = true;
}

void engine_model::thaw() {
  if (!frozen_)
    return;
  frozen_ = false;
  for (auto& entry : containers_) {
    auto& one = entry.second;
    for (auto& line : std::exchange(one.unread, {}))
      keep(one, std::move(line));
    if (one.is == container::state::ended && one.finished >= up_since_
        && std::none_of(events_.begin(), events_.end(),
                        [&](const auto& event) { return event.id == one.id && event.action == "die"; }))
      tell("die", one);
  }
  for (auto& what : std::exchange(thaws_, {}))
    what();
  auto all = std::exchange(waiting_, {});
  for (auto& [id, what] : all)
    what();
}

void engine_model::when_thawed(std::function<void()> what) {
  if (frozen_)
    thaws_.push_back(std::move(what));
  else
    what();
}

} // namespace davit::simulation
