#include "simulation/world.hpp"

#include "simulation/simulated_agent.hpp"

#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>

#include <algorithm>

namespace davit::simulation {

using namespace std::chrono_literals;

namespace {

/// After the chaos: for all to settle.
constexpr nanoseconds patience = 40min;
constexpr std::uint64_t most_messages = 3'000'000;

} // namespace

world::world(plan all, std::filesystem::path folder, std::function<void(const std::string&)> story)
  : plan_(std::move(all)), folder_(std::move(folder)), story_(std::move(story)), chance_(plan_.seed * 2 + 1),
    faults_now_(plan_.calls) {
  for (const auto& one : plan_.engines) {
    auto model = std::make_unique<engine_model>(one.name, one.live_restore,
                                                [this](nanoseconds when, auto what) { at(when, std::move(what)); });
    model->on_start = [this, name = one.name](const container& begun) {
      tell(name + ": " + begun.name + " begins");
      for (const auto& [engine, other] : engines_)
        for (const auto& [id, there] : other->containers())
          if (there.name == begun.name && there.id != begun.id && there.is == container::state::running)
            broken_.push_back("two containers of one attempt run at once: " + begun.name);
      auto label = begun.labels.find("davit.task");
      uuid id;
      if (label == begun.labels.end() || !from_string(label->second, id))
        broken_.push_back("a container has no task: " + begun.name);
      else
        ++tasks_[id].runs;
    };
    model->on_end = [this, name = one.name](const container& ended) {
      tell(name + ": " + ended.name + " ends with " + std::to_string(ended.code));
    };
    model->on_remove = [this, name = one.name](const container& gone) {
      tell(name + ": " + gone.name + " is removed");
      removed_.push_back(gone);
    };
    engines_[one.name] = std::move(model);
  }
  auto opened = store::task_store::open("sqlite://" + (folder_ / "davit.db").string());
  if (!opened)
    throw std::runtime_error(opened.error().message);
  store_ = std::move(*opened);
  for (std::size_t i = 0; i < plan_.agents.size(); ++i) {
    agents_.push_back(std::make_unique<simulated_agent>());
    agents_.back()->number = i;
    start(*agents_.back());
  }
  for (std::size_t i = 0; i < plan_.tasks.size(); ++i)
    at(plan_.tasks[i].at, [this, i] { submit(i); });
  for (const auto& fault : plan_.faults)
    at(fault.at, [this, fault] { begin_fault(fault); });
  at(plan_.chaos_ends, [this] {
    tell("the chaos ends");
    chaos_ = false;
    faults_now_ = no_faults_;
    plan_.commits_refused = plan_.commits_doubted = 0;
    for (auto& [name, engine] : engines_) {
      engine->thaw();
      engine->come_up();
      look_at(name);
    }
    for (auto& one : agents_) {
      one->frozen = false;
      for (auto& [name, link] : one->links)
        link->cut = false;
    }
  });
}

void world::tell(const std::string& text) {
  if (!story_)
    return;
  char stamp[32];
  std::snprintf(stamp, sizeof stamp, "%12.6f  ", static_cast<double>(now().count()) / 1e9);
  story_(stamp + text);
}

void world::at(nanoseconds when, std::function<void()> what) {
  queue_.emplace(std::max(when, now()), std::move(what));
}

// -- faults ----------------------------------------------------------------------------------------------------------

void world::look_at(const std::string& engine) {
  for (auto& one : agents_)
    if (auto link = one->links.find(engine); link != one->links.end() && link->second->look)
      link->second->look();
}

void world::begin_fault(const planned_fault& fault) {
  if (!chaos_)
    return;
  using kind = planned_fault::kind;
  const auto& engine_name = plan_.engines[fault.engine].name;
  auto& engine = *engines_[engine_name];
  auto found
    = std::find_if(agents_.begin(), agents_.end(), [&](const auto& one) { return one->number == fault.agent; });
  auto agent = found == agents_.end() ? nullptr : found->get();
  auto over = now() + fault.lasts;
  ++faults_;
  tell(to_string(fault.what) + ": " + engine_name + ", " + plan_.agents[fault.agent].name);
  switch (fault.what) {
    case kind::engine_killed:
    case kind::engine_stopped:
      engine.go_down(fault.what == kind::engine_stopped && !engine.live_restore());
      look_at(engine_name);
      at(over, [this, engine_name] {
        tell(engine_name + " is up");
        engines_[engine_name]->come_up();
        look_at(engine_name);
      });
      break;
    case kind::engine_frozen:
      if (engine.up()) {
        engine.freeze();
        at(over, [this, engine_name] {
          tell(engine_name + " goes on");
          engines_[engine_name]->thaw();
          look_at(engine_name);
        });
      }
      break;
    case kind::link_cut:
      if (agent)
        if (auto link = agent->links.find(engine_name); link != agent->links.end()) {
          link->second->cut = true;
          link->second->look();
          at(over, [link = link->second] {
            link->cut = false;
            link->look();
          });
        }
      break;
    case kind::agent_killed:
      if (agent) {
        kill(*agent);
        at(std::min(over, plan_.chaos_ends), [this, number = fault.agent] {
          agents_.push_back(std::make_unique<simulated_agent>());
          agents_.back()->number = number;
          start(*agents_.back());
        });
      }
      break;
    case kind::agent_frozen:
      if (agent) {
        agent->frozen = true;
        at(over, [this, agent] {
          for (auto& one : agents_)
            if (one.get() == agent)
              one->frozen = false;
        });
      }
      break;
    case kind::actor_killed:
      if (agent && !agent->actors.empty()) {
        auto which = std::next(agent->actors.begin(), static_cast<std::ptrdiff_t>(fault.which % agent->actors.size()));
        tell("  it is the " + which->first);
        caf::anon_send_exit(which->second, caf::exit_reason::out_of_workers);
      }
      break;
  }
}

// -- tasks -----------------------------------------------------------------------------------------------------------

void world::submit(std::size_t number) {
  const auto& task = plan_.tasks[number];
  auto agent = living(task.agent);
  auto again = [this, number] { at(now() + 1s, [this, number] { submit(number); }); };
  if (!agent || !agent->store)
    return again();
  auto answered = std::make_shared<bool>(false);
  agent->system.spawn([=, this](caf::event_based_actor* self) {
    self->request(agent->store, caf::infinite, accept_atom_v, task.spec, std::string{"somebody"})
      .then(
        [=, this](const task_receipt& receipt) {
          *answered = true;
          auto& truth = tasks_[receipt.id];
          truth.planned = number;
          truth.accepted = true;
          tell("accepted: t" + std::to_string(number) + " is " + to_string(receipt.id));
          if (auto after = plan_.tasks[number].cancelled_after)
            at(now() + *after, [this, id = receipt.id] { cancel(id); });
        },
        [=](const caf::error&) {
          *answered = true;
          again();
        });
  });
  // The agent may die before it answers.
  at(now() + 60s, [answered, again] {
    if (!*answered)
      again();
  });
}

void world::cancel(task_id id) {
  auto agent = living(plan_.tasks[tasks_[id].planned].agent);
  auto again = [this, id] { at(now() + 1s, [this, id] { cancel(id); }); };
  if (!agent || !agent->store)
    return again();
  tasks_[id].cancel_asked = true;
  tell("cancel " + to_string(id));
  agent->system.spawn([=](caf::event_based_actor* self) {
    self->request(agent->store, caf::infinite, cancel_atom_v, id).then([](const task&) {}, [](const caf::error&) {});
  });
}

// -- the run ---------------------------------------------------------------------------------------------------------

bool world::step() {
  std::vector<simulated_agent*> ready;
  for (auto& one : agents_)
    if (one->runs() && one->coordinator.has_job())
      ready.push_back(one.get());
  if (ready.empty())
    return false;
  auto& agent = *ready[chance_.pick(ready.size())];
  auto& jobs = agent.coordinator.jobs;
  auto which = static_cast<std::ptrdiff_t>(chance_.pick(std::min<std::size_t>(jobs.size(), 16)));
  std::rotate(jobs.begin(), jobs.begin() + which, jobs.begin() + which + 1);
  if (story_)
    if (auto actor = dynamic_cast<caf::scheduled_actor*>(jobs.front()))
      if (auto message = actor->mailbox().peek()) {
        auto text = to_string(message->payload);
        tell("  " + plan_.agents[agent.number].name + ": " + actor->name() + '#' + std::to_string(actor->id()) + " <- "
             + text.substr(0, 160));
      }
  agent.coordinator.run_once();
  ++messages_;
  return true;
}

bool world::pass_time(nanoseconds limit) {
  auto next = limit + 1ns;
  if (!queue_.empty())
    next = std::min(next, queue_.begin()->first);
  for (auto& one : agents_)
    if (auto& schedule = one->clock().schedule; one->runs() && !schedule.empty())
      next = std::min(
        next, std::max(now(), std::chrono::duration_cast<nanoseconds>(schedule.begin()->first.time_since_epoch())));
  if (next > limit)
    return false;
  move_to(next);
  for (auto& one : agents_)
    if (one->runs())
      one->clock().advance_time(
        std::max<caf::timespan>(now() - one->clock().now().time_since_epoch(), caf::timespan{0}));
  while (!queue_.empty() && queue_.begin()->first <= now()) {
    auto what = std::move(queue_.extract(queue_.begin()).mapped());
    what();
  }
  for (std::size_t i = 0; i < agents_.size(); ++i)
    if (agents_[i]->ended) { // what keeps processes alive starts it again
      auto number = agents_[i]->number;
      tell(plan_.agents[number].name + " has ended");
      kill(*agents_[i]);
      at(now() + 1s, [this, number] {
        agents_.push_back(std::make_unique<simulated_agent>());
        agents_.back()->number = number;
        start(*agents_.back());
      });
      break;
    }
  return true;
}

bool world::settled() {
  if (chaos_)
    return false;
  auto accepted = std::count_if(tasks_.begin(), tasks_.end(), [](const auto& one) { return one.second.accepted; });
  if (static_cast<std::size_t>(accepted) < plan_.tasks.size())
    return false;
  for (auto& [name, engine] : engines_)
    if (!engine->containers().empty())
      return false;
  for (auto state : {task_state::queued, task_state::starting, task_state::running}) {
    task_query query;
    query.state = state;
    query.limit = 1;
    auto page = store_->list(query);
    if (!page || !page->tasks.empty())
      return false;
  }
  return true;
}

bool world::run() {
  auto limit = plan_.chaos_ends + patience;
  for (auto look = plan_.chaos_ends; !settled(); look += 2s) {
    auto until = std::min(look, limit);
    while (step() || pass_time(until))
      if (messages_ > most_messages) {
        broken_.push_back("there is no end to the messages");
        return false;
      }
    if (look > limit)
      return false;
    move_to(until);
  }
  return true;
}

} // namespace davit::simulation
