#include "actors/store_keeper.hpp"

#include "actors/blocking_actor.hpp"
#include "actors/crash_point.hpp"
#include "actors/disk.hpp"
#include "actors/metrics.hpp"
#include "actors/owner_totals.hpp"
#include "policy/placement.hpp"
#include "policy/profiles.hpp"
#include "store/task_store.hpp"

#include <caf/actor_system.hpp>
#include <caf/sec.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>

namespace davit {

namespace {

/// How often a store that others write to is asked for news; peers tell of theirs at once. But no more often than the
/// second, in either direction: many commits are one piece of news.
constexpr duration news_interval{500}, news_pause{20};

/// How often the agent looks whether its files are where they were (it looks after each commit too); and how often what
/// is wrong with the store is told while it lasts.
constexpr duration files_interval{1000}, warning_interval{60'000};

/// How long a write is repeated of which nobody knows whether it was done, and how often.
constexpr duration doubt_limit{60'000}, doubt_pause{200};

/// A write that waits for the next commit: what it does, and who is told afterwards.
struct pending_write {
  std::function<void()> run;
  std::function<void(const store::error*)> answer; ///< With the batch's error, if it failed as a whole.
  bool certain = false; ///< While it is not known whether it was done, it is done again before anybody is answered.
  std::optional<std::chrono::steady_clock::time_point> doubted{}; ///< Since when that is not known.
};

struct store_keeper_state {
  static inline const char* name = "store_keeper";

  std::unique_ptr<store::task_store> store;
  std::shared_ptr<const data_files> files; ///< None: nobody looks.
  std::vector<pending_write> writes;       ///< Gathered since the last commit.
  std::vector<pending_write> doubtful;     ///< Done or not, nobody knows: they are in the next commit too.
  std::vector<event_listener> listeners;
  fleet_actor fleet;
  std::chrono::steady_clock::time_point told{},
    asked{};                            ///< When peers were told of news last, and the store was asked for theirs.
  bool telling = false, asking = false; ///< It will be done when the pause is over.
  std::string warning;                  ///< What the store had to say last.
  std::chrono::steady_clock::time_point warned{};
  std::optional<std::chrono::steady_clock::time_point> told_away; ///< When the log last said that the store is away.
  std::vector<owner_counts> counts;                               ///< As they were at `counted`.
  std::chrono::steady_clock::time_point counted{};
  duration count_again{0}; ///< How long they are good enough.
};

using self_pointer = store_actor::stateful_pointer<store_keeper_state>;

caf::error to_caf(const store::error& e) {
  if (e.in_doubt) // as if nobody had answered
    return caf::sec::request_timeout;
  return make_failure(e.code, e.message);
}

template <class T>
caf::result<T> to_caf(store::result<T> result) {
  if (!result)
    return to_caf(result.error());
  if constexpr (std::is_void_v<T>)
    return caf::unit;
  else
    return std::move(*result);
}

/// Puts a write into the next commit. Whatever else has come by then is committed with it.
/// `work` may be run more than once, also after it was committed: it makes nothing anew that was made before.
/// `committed` is run once, afterwards. `certain`: see pending_write.
template <class T>
caf::result<T> write(
  self_pointer self, std::function<store::result<T>()> work, const char* crash_before_answer = nullptr,
  std::function<void()> committed = [] {}, bool certain = false) {
  auto promise = self->make_response_promise<T>();
  auto outcome = std::make_shared<std::optional<store::result<T>>>();
  auto answer
    = [promise, outcome, crash_before_answer, committed = std::move(committed)](const store::error* failed) mutable {
        if (!failed && **outcome)
          committed();
        if (crash_before_answer)
          crash_point(crash_before_answer);
        if (failed)
          promise.deliver(to_caf(*failed));
        else if (!**outcome)
          promise.deliver(to_caf((*outcome)->error()));
        else if constexpr (std::is_void_v<T>)
          promise.deliver();
        else
          promise.deliver(std::move(***outcome));
      };
  auto& writes = self->state.writes;
  writes.push_back({[work = std::move(work), outcome] { outcome->emplace(work()); }, std::move(answer), certain});
  if (writes.size() == 1)
    self->send(self, commit_atom_v); // comes after what is in the mailbox by now
  return promise;
}

/// Tells the listeners what is new; whether anything was.
bool publish(self_pointer self) {
  auto& state = self->state;
  if (state.listeners.empty())
    return false;
  for (bool any = false;; any = true) {
    auto events = state.store->news();
    if (!events || events->empty())
      return any;
    for (const auto& event : *events)
      for (const auto& listener : state.listeners)
        self->send(listener, event);
  }
}

/// At once, or when the pause since the last time is over: once then, however often it was wanted.
void after_pause(self_pointer self, std::chrono::steady_clock::time_point& last, bool& waits,
                 std::function<void()> act) {
  if (waits)
    return;
  auto now = std::chrono::steady_clock::now();
  auto left = std::chrono::duration_cast<duration>(last + news_pause - now);
  if (left.count() <= 0) {
    last = now;
    act();
    return;
  }
  waits = true;
  self->run_delayed(left, [&last, &waits, act = std::move(act)] {
    waits = false;
    last = std::chrono::steady_clock::now();
    act();
  });
}

using write_iterator = std::vector<pending_write>::iterator;

/// What is to be certain and is in doubt is done again in a moment.
void ask_again(self_pointer self, write_iterator from, write_iterator to) {
  auto& doubtful = self->state.doubtful;
  if (from == to)
    return;
  if (doubtful.empty())
    self->run_delayed(doubt_pause, [self] { self->send(self, commit_atom_v); });
  std::move(from, to, std::back_inserter(doubtful));
}

/// Logs refused writes; while the store is away, only once a minute.
void refuse(self_pointer self, write_iterator from, write_iterator to, store::error why) {
  auto& told = self->state.told_away;
  auto now = std::chrono::steady_clock::now();
  auto refused = std::stable_partition(
    from, to, [&](const pending_write& one) { return one.certain && one.doubted && now - *one.doubted < doubt_limit; });
  ask_again(self, from, refused);
  if (refused != to && !(why.away && told && now - *told < warning_interval)) {
    spdlog::error("the store {} {} writes: {}", why.away ? "can't be reached for" : "refused", to - refused,
                  why.message);
    if (why.away)
      told = now;
  }
  for (; refused != to; ++refused) {
    why.in_doubt = refused->certain && refused->doubted;
    refused->answer(&why);
  }
}

/// What was committed to a file that has no name is not durable: nothing is accepted any more. The next keeper goes on
/// if the files have come back.
std::optional<store::error> lost_files(self_pointer self) {
  auto& state = self->state;
  auto why = state.files ? state.files->why_gone() : std::string{};
  if (why.empty())
    return std::nullopt;
  store::error lost{store_errc::unavailable, why};
  self->quit(to_caf(lost));
  return lost;
}

void watch_files(self_pointer self) {
  if (!lost_files(self))
    self->run_delayed(files_interval, [self] { watch_files(self); });
}

/// It is not known whether these were done.
void doubt(write_iterator from, write_iterator to) {
  spdlog::warn("the answer to a COMMIT was lost: the store is asked again for {} writes", to - from);
  for (; from != to; ++from)
    if (!from->doubted)
      from->doubted = std::chrono::steady_clock::now();
}

void commit(self_pointer self, metrics& metrics) {
  auto& state = self->state;
  auto writes = std::exchange(state.doubtful, {});
  std::move(state.writes.begin(), state.writes.end(), std::back_inserter(writes));
  state.writes.clear();
  if (writes.empty()) // they were in an earlier commit
    return;
  auto begun = std::chrono::steady_clock::now();
  auto done = state.store->batch([&] {
    for (auto& one : writes)
      one.run();
  });
  if (!done && done.error().in_doubt)
    doubt(writes.begin(), writes.end());
  if (auto text = state.store->warning();
      text.empty() != state.warning.empty() || (!text.empty() && begun - state.warned > warning_interval)) {
    if (text.empty())
      spdlog::info("the store's write-ahead log is written back again");
    else
      spdlog::warn("{}", text);
    state.warning = text;
    state.warned = begun;
  }
  metrics.store_committed(std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
  if (auto lost = lost_files(self))
    return refuse(self, writes.begin(), writes.end(), *lost);
  if (done) {
    if (std::exchange(state.told_away, std::nullopt))
      spdlog::info("the store is reached again");
    for (auto& one : writes)
      one.answer(nullptr);
  } else if (done.error().away || (writes.size() == 1 && !state.store->shared())) {
    refuse(self, writes.begin(), writes.end(), done.error());
  } else {
    // One bad write must not take the others with it. And where the answer to a COMMIT was lost on its way, each finds
    // out when it is run again whether it was done: that is why each can be run twice.
    for (auto one = writes.begin(); one != writes.end();) {
      auto single = state.store->batch(one->run);
      if (!single && single.error().in_doubt)
        doubt(one, one + 1);
      auto next = !single && single.error().away ? writes.end() : one + 1; // the others would not reach it either
      if (single)
        one->answer(nullptr);
      else
        refuse(self, one, next, single.error());
      one = next;
    }
  }
  if (publish(self) && state.fleet)
    after_pause(self, state.told, state.telling, [self] {
      if (self->state.fleet)
        self->send(self->state.fleet, news_atom_v);
    });
}

/// Other agents may have pulled such an image; none is ever forgotten.
void look_for_guards(self_pointer self, const agent_context& context) {
  if (context.images_guarded->load())
    return;
  if (auto guards = self->state.store->guards_images(); !guards || *guards)
    context.images_guarded->store(true);
}

/// Counts the tasks, unless that was done lately: a million that wait take a while to be counted, and whoever asks must
/// not keep the store from its work. None: it is done.
std::optional<caf::error> count_tasks(self_pointer self, const agent_context& context) {
  auto& state = self->state;
  auto begun = std::chrono::steady_clock::now();
  if (begun - state.counted < state.count_again)
    return std::nullopt;
  auto counts = state.store->counts();
  if (!counts)
    return to_caf(counts.error());
  state.counts = std::move(*counts);
  state.counted = std::chrono::steady_clock::now();
  state.count_again = std::chrono::duration_cast<duration>(
    std::min<std::chrono::steady_clock::duration>((state.counted - begun) * 50, std::chrono::seconds{15}));
  auto all = store::sum_of(state.counts);
  context.metrics->tasks_in_state(all.queued, all.starting, all.running);
  return std::nullopt;
}

/// What a task's engine must offer: a profile that the policy has nothing against, with all its ceilings.
std::string label_for(const task_spec& spec, const agent_context& context) {
  const auto& settings = context.settings;
  if (settings.policy.profiles.empty())
    return label_wanted(spec);
  auto widest = widest_profile(settings.engines, settings.policy.profile, spec);
  auto least = context.policy->least_profile(spec, std::min(widest, spec.profile.value_or(widest)));
  return least ? label_of(*least) : label_wanted(spec);
}

store_actor::behavior_type store_keeper(self_pointer self, context_ptr context, const store_opener& open,
                                        std::shared_ptr<const data_files> files) {
  self->state.files = std::move(files);
  if (lost_files(self)) // before the store makes a new file of the name
    return store_actor::behavior_type::make_empty_behavior();
  auto opened = open(context->settings.store_url);
  if (!opened) {
    spdlog::critical("{}", opened.error().message);
    self->quit(to_caf(opened.error()));
    return store_actor::behavior_type::make_empty_behavior();
  }
  self->state.store = std::move(*opened);
  auto& store = *self->state.store;
  look_for_guards(self, *context);
  if (store.shared())
    self->delayed_send(self, news_interval, news_atom_v);
  if (self->state.files)
    watch_files(self);
  return {
    [=, &store](accept_atom, const task_spec& spec, const std::string& owner) -> caf::result<task_receipt> {
      // The room that is left is for what was accepted before. (A store elsewhere has room of its own.)
      if (!store.shared())
        if (auto why = why_no_room(context->settings, free_disk(context->settings)); !why.empty())
          return make_failure(log_errc::unwritable, why); // not the store's own words: whoever asks may read them
      auto created = std::make_shared<bool>(false);
      const auto& settings = context->settings;
      // Made here, and not when it is run: that may be twice.
      store::new_task made{uuid::make_v7(),
                           spec,
                           settings.private_tasks ? settings.name : "",
                           std::chrono::system_clock::now(),
                           {label_for(spec, *context)},
                           owner};
      return write<task_receipt>(
        self,
        [=, &store, made = std::move(made)]() -> store::result<task_receipt> {
          auto receipt = store.accept(made);
          *created = receipt && receipt->created;
          return receipt;
        },
        "task accepted",
        [=, owner = std::string{owner}] {
          if (*created)
            context->metrics->task_accepted(owner);
        },
        true);
    },
    [=, &store](claim_atom, const claim_request& request) {
      return write<claim_answer>(self, [=, &store] { return store.claim(request, context->settings.private_tasks); });
    },
    [=, &store](limits_atom, const task& queued) -> caf::result<std::vector<std::string>> {
      return to_caf(store.limits_reached(queued, context->settings.placement));
    },
    [=, &store](beat_atom, const agent_status& agent, duration lease) {
      // Before all that is only asked for: an agent whose heartbeat comes too late gives up its tasks.
      self->send<caf::message_priority::high>(self, commit_atom_v);
      return write<bool>(self, [=, &store] { return store.heartbeat(agent, lease); });
    },
    [=, &store](retire_atom, const std::string& agent, uuid incarnation) {
      return write<void>(self, [=, &store] { return store.retire(agent, incarnation); });
    },
    [&store](agents_atom) -> caf::result<std::vector<agent_status>> { return to_caf(store.agents()); },
    [=, &store](adopt_atom, const adopt_request& request) {
      return write<adoption>(self, [=, &store] { return store.adopt(request); });
    },
    [=](news_atom) {
      if (self->current_sender() == self) {
        self->delayed_send(self, news_interval, news_atom_v);
        publish(self);
        look_for_guards(self, *context);
      } else {
        after_pause(self, self->state.asked, self->state.asking, [self] { publish(self); });
      }
    },
    [=, &store](record_atom, const attempt_progress& progress) {
      return write<void>(self, [=, &store] { return store.record(progress); });
    },
    [=, &store](finish_atom, const attempt_result& result) {
      return write<void>(
        self,
        [=, &store]() -> store::result<void> {
          if (auto finished = store.finish(result); !finished)
            return finished.error();
          return {};
        },
        "outcome stored");
    },
    [=, &store](expire_atom) -> caf::result<void> {
      auto count = std::make_shared<std::uint32_t>(0);
      return write<void>(
        self,
        [=, &store]() -> store::result<void> {
          auto expired = store.expire(std::chrono::system_clock::now());
          if (!expired)
            return expired.error();
          *count = *expired;
          return {};
        },
        nullptr,
        [=] {
          for (std::uint32_t i = 0; i < *count; ++i)
            context->metrics->task_finished("timed_out");
        });
    },
    [=, &store](pull_atom, const std::string& engine, const std::string& image) {
      return write<void>(self, [=, &store] { return store.image_pulled(engine, image); });
    },
    [=, &store](pull_atom, const image_grant& what, pull_stage stage) {
      context->images_guarded->store(true); // before it is
      return write<void>(self, [=, &store] { return store.pull_of_image(what, stage); });
    },
    [&store](grant_atom, const image_grant& wanted) -> caf::result<bool> {
      return to_caf(store.may_use_image(wanted));
    },
    [&store](images_atom, const std::string& engine, timestamp before) -> caf::result<std::vector<std::string>> {
      return to_caf(store.images_unused(engine, before));
    },
    [=, &store](forget_atom, const std::string& engine, const std::string& image) {
      return write<void>(self, [=, &store] { return store.forget_image(engine, image); });
    },
    [=, &store](volumes_atom, const std::string& engine, duration age, const std::vector<volume_key>& seen) {
      return write<std::vector<volume_key>>(self, [=, &store] { return store.take_unused_volume(engine, age, seen); });
    },
    [=, &store](volumes_atom, const std::string& engine, const volume_key& volume, bool gone) {
      return write<void>(self, [=, &store] { return store.volume_removal_ended(engine, volume, gone); });
    },
    [&store](list_atom, timestamp before, std::uint32_t limit) -> caf::result<std::vector<task_id>> {
      return to_caf(store.finished_before(before, limit));
    },
    [=, &store](log_atom, const attempt_key& key, std::uint32_t index, std::uint32_t count, const std::string& bytes) {
      return write<void>(self, [=, &store] { return store.put_log(key, index, count, bytes); });
    },
    [&store](log_atom, const attempt_key& key, std::uint32_t index) -> caf::result<log_block> {
      return to_caf(store.get_log(key, index));
    },
    [=, &store](forget_atom, const std::vector<task_id>& tasks) {
      return write<void>(self, [=, &store] { return store.forget(tasks); });
    },
    [=, &store](cancel_atom, task_id id) { return write<task>(self, [=, &store] { return store.cancel(id); }); },
    [=, &store](cancel_atom, task_id id, duration within) {
      return write<task>(self, [=, &store] { return store.cancel(id, within); });
    },
    [=, &store](memo_atom, const attempt_token& token, const std::string& memo) {
      return write<memo_answer>(self, [=, &store] { return store.recall(token, memo); });
    },
    [&store](cancel_atom, find_atom, task_id id) -> caf::result<duration> { return to_caf(store.time_to_kill(id)); },
    [&store](find_atom, task_id id) -> caf::result<task> { return to_caf(store.get(id)); },
    [&store](find_atom, task_id id, const std::string& owner) -> caf::result<task> {
      return to_caf(store.get(id, owner));
    },
    [&store](list_atom, const task_query& query) -> caf::result<task_page> { return to_caf(store.list(query)); },
    [=, &store](list_atom, const std::vector<std::string>& labels, std::uint32_t limit) -> caf::result<task_page> {
      return to_caf(store.next_tasks(context->settings.name, context->settings.private_tasks, labels, limit));
    },
    [&store](events_atom, std::int64_t after, task_id only, const std::string& owner, std::uint32_t limit)
      -> caf::result<std::vector<task_event>> { return to_caf(store.events(after, only, limit, owner)); },
    [&store](since_atom, const std::string& agent, timestamp since, std::int64_t after) -> caf::result<ended_attempts> {
      return to_caf(store.ended_since(agent, since, after));
    },
    [=](count_atom) -> caf::result<task_counts> {
      if (auto failed = count_tasks(self, *context))
        return *failed;
      return store::sum_of(self->state.counts);
    },
    [=](count_atom, const std::string& owner) -> caf::result<task_counts> {
      if (auto failed = count_tasks(self, *context))
        return *failed;
      const auto& all = self->state.counts;
      auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.owner == owner; });
      return found == all.end() ? task_counts{} : found->tasks;
    },
    [=](count_atom, std::uint32_t most) -> caf::result<std::vector<owner_counts>> {
      if (auto failed = count_tasks(self, *context))
        return *failed;
      return busiest_owners(self->state.counts, most);
    },
    [=, &store](const catalogue_work& work) {
      return write<void>(self, [&store, run = work.run]() -> store::result<void> {
        run(store.blobs());
        return {};
      });
    },
    [&store](ping_atom) -> caf::result<void> {
      auto last = store.last_event(); // costs the same however long the queue is
      if (!last)
        return to_caf(last.error());
      return caf::unit;
    },
    [=](commit_atom) { commit(self, *context->metrics); },
    [=](wire_atom, const store_handles& handles) {
      self->state.listeners = handles.listeners;
      self->state.fleet = handles.fleet;
    },
  };
}

} // namespace

store_actor spawn_store_keeper(caf::actor_system& system, context_ptr context, store_opener open,
                               std::shared_ptr<const data_files> files) {
  return spawn_blocking(system, context, store_keeper, std::move(open), std::move(files));
}

} // namespace davit
