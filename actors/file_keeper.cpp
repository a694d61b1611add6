#include "actors/file_keeper.hpp"

#include "actors/file_caches.hpp"
#include "actors/file_sweep.hpp"
#include "actors/file_transfer.hpp"
#include "actors/file_uploads.hpp"
#include "actors/metrics.hpp"
#include "actors/prepared_keeping.hpp"
#include "blobs/medium.hpp"

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <deque>

namespace davit {

namespace {

using namespace std::chrono_literals;

/// Threads that work at once at the same engine's files, and at uploads. What one engine does not take keeps no other
/// waiting.
constexpr std::size_t most_in_lane = 4;

constexpr duration tick_interval = 60s;
constexpr duration sweep_interval = 10min;
constexpr std::chrono::minutes upload_patience{10};

const char* const upload_lane = "uploads";

/// What one thread does.
struct job {
  std::string lane;
  std::optional<attempt_key> attempt;
  std::shared_ptr<transfer_stop> stop = std::make_shared<transfer_stop>();
  std::string engine;                                  ///< Its name, if it is about one.
  std::function<std::function<void()>(transfer)> work; ///< On the thread; what it returns is run by the keeper.
  std::function<void()> withdrawn;                     ///< Instead, if it has not begun.
};

struct file_keeper_state {
  static inline const char* name = "file_keeper";

  ~file_keeper_state() {
    for (auto& [id, one] : running)
      one.stop->stop();
  }

  context_ptr context;
  files_handles handles;
  uuid incarnation = uuid::make_v4();
  std::uint64_t last = 0;
  std::map<std::uint64_t, job> running;
  std::map<std::string, std::deque<job>> waiting; ///< By lane.
  upload_table uploads;
  std::optional<prepared_keeping> prepared;
  bool sweeping = false;
  std::chrono::steady_clock::time_point swept{};
};

using self_pointer = files_actor::stateful_pointer<file_keeper_state>;

void finished(self_pointer self, std::uint64_t id);

void begin(self_pointer self, job one) {
  auto& state = self->state;
  auto id = ++state.last;
  transfer with;
  with.context = state.context;
  with.store = state.handles.store;
  if (auto found = state.handles.engines.find(one.engine); found != state.handles.engines.end())
    with.engine = found->second;
  with.stop = one.stop;
  with.incarnation = state.incarnation;
  auto keeper = caf::actor_cast<caf::weak_actor_ptr>(files_actor{self});
  self->spawn<caf::detached>([=, work = one.work](caf::blocking_actor* thread) mutable {
    with.self = thread;
    std::function<void()> after;
    try {
      after = work(with);
    } catch (const std::exception& e) { // out of memory, for instance: nobody is left waiting
      spdlog::error("a transfer of files has failed: {}", e.what());
    }
    if (auto strong = keeper.lock())
      caf::anon_send(caf::actor_cast<files_actor>(strong), continuation{[=] {
                       if (after)
                         after();
                       finished(self, id);
                     }});
  });
  state.running.emplace(id, std::move(one));
}

std::size_t running_in(self_pointer self, const std::string& lane) {
  const auto& all = self->state.running;
  return static_cast<std::size_t>(
    std::count_if(all.begin(), all.end(), [&](const auto& one) { return one.second.lane == lane; }));
}

void finished(self_pointer self, std::uint64_t id) {
  auto& state = self->state;
  auto found = state.running.extract(id);
  if (found.empty())
    return;
  auto& queue = state.waiting[found.mapped().lane];
  if (!queue.empty() && running_in(self, found.mapped().lane) < most_in_lane) {
    auto next = std::move(queue.front());
    queue.pop_front();
    begin(self, std::move(next));
  }
}

template <class T>
void deliver(caf::typed_response_promise<T>& promise, caf::expected<T>& value) {
  if (!value)
    promise.deliver(std::move(value.error()));
  else if constexpr (std::is_void_v<T>)
    promise.deliver();
  else
    promise.deliver(std::move(*value));
}

/// Does the work on a thread, when its lane has room, and answers with what it gives. `after` is run by the keeper, and
/// also if the work was withdrawn.
template <class T>
caf::result<T> run(self_pointer self, job one, std::function<caf::expected<T>(const transfer&)> work,
                   std::function<void()> after = {}) {
  auto& state = self->state;
  if (!state.context->blobs)
    return make_failure(files_errc::failed, "this agent keeps no files");
  auto promise = self->make_response_promise<T>();
  one.work = [=](const transfer& with) -> std::function<void()> {
    auto value = std::make_shared<caf::expected<T>>(make_failure(files_errc::failed, "an internal error"));
    try {
      *value = work(with);
    } catch (const std::exception& e) {
      *value = make_failure(files_errc::failed, e.what());
    }
    return [=]() mutable {
      if (after)
        after();
      deliver(promise, *value);
    };
  };
  one.withdrawn = [=]() mutable {
    if (after)
      after();
    promise.deliver(make_failure(engine_errc::cancelled, "it was withdrawn"));
  };
  if (running_in(self, one.lane) < most_in_lane)
    begin(self, std::move(one));
  else
    state.waiting[one.lane].push_back(std::move(one));
  return promise;
}

job engine_job(const std::string& engine, const attempt_key& attempt) {
  job one;
  one.lane = "engine " + engine;
  one.engine = engine;
  one.attempt = attempt;
  return one;
}

job upload_job() {
  job one;
  one.lane = upload_lane;
  return one;
}

void withdraw(self_pointer self, const attempt_key& key) {
  auto& state = self->state;
  for (auto& [id, one] : state.running)
    if (one.attempt == key)
      one.stop->stop();
  for (auto& [lane, queue] : state.waiting)
    for (auto one = queue.begin(); one != queue.end();)
      if (one->attempt == key) {
        auto withdrawn = std::move(one->withdrawn);
        one = queue.erase(one);
        withdrawn();
      } else {
        ++one;
      }
}

// -- uploads ---------------------------------------------------------------------------------------------------------

/// Works at an owner's upload. With `last` it is forgotten afterwards, unless the work was refused.
template <class T>
caf::result<T> at_upload(self_pointer self, const std::string& owner, const uuid& id,
                         std::function<caf::expected<T>(file_upload&, const transfer&)> work, bool last = false) {
  auto taken = self->state.uploads.take(owner, id);
  if (!taken)
    return taken.error();
  auto good = std::make_shared<bool>(false);
  return run<T>(
    self, upload_job(),
    [=, upload = *taken](const transfer& with) {
      auto value = work(*upload, with);
      *good = static_cast<bool>(value);
      return value;
    },
    [=] {
      self->state.uploads.give_back(id, std::chrono::steady_clock::now());
      if (last && *good)
        self->state.uploads.remove(id);
    });
}

void abandon(self_pointer self, std::shared_ptr<file_upload> upload) {
  auto one = upload_job();
  one.work = [upload](const transfer& with) -> std::function<void()> {
    upload->abandon(with);
    return {};
  };
  begin(self, std::move(one));
}

// -- sweeping --------------------------------------------------------------------------------------------------------

void sweep(self_pointer self) {
  auto& state = self->state;
  auto now = std::chrono::steady_clock::now();
  if (state.sweeping || now - state.swept < std::min<duration>(sweep_interval, state.context->settings.files.unused))
    return;
  state.sweeping = true;
  state.swept = now;
  job one;
  one.lane = "sweep";
  one.work = [self](const transfer& with) -> std::function<void()> {
    const auto& settings = with.context->settings;
    auto done = sweep_blobs(with.context->blobs, catalogue_of(with.self, with.store), settings.name, with.incarnation,
                            settings.files.unused, settings.files.caches_unused);
    if (done)
      with.context->metrics->blobs_kept(static_cast<std::int64_t>(done->kept_blobs),
                                        static_cast<std::int64_t>(done->kept_bytes));
    if (!done)
      spdlog::warn("unused files can't be removed now: {}", done.error().message);
    else if (done->blobs + done->trees + done->packs > 0)
      spdlog::info("removed {} unused trees, and {} blobs with {} bytes in {} packs", done->trees, done->blobs,
                   done->bytes, done->packs);
    return [self] { self->state.sweeping = false; };
  };
  begin(self, std::move(one));
}

/// Says at the start if the files can't be reached: a bucket may be misspelt.
void probe(self_pointer self) {
  job one;
  one.lane = "sweep";
  one.work = [](const transfer& with) -> std::function<void()> {
    if (auto first = with.context->blobs->list({}, 1); !first)
      spdlog::error("tasks with files will wait: {}", first.error().message);
    return {};
  };
  begin(self, std::move(one));
}

files_actor::behavior_type file_keeper(self_pointer self, context_ptr context, files_handles handles) {
  auto& state = self->state;
  state.context = std::move(context);
  state.handles = std::move(handles);
  state.prepared.emplace(self, state.context, state.handles,
                         [self](const std::string& engine, prepared_keeping::thread_work work) {
                           job one;
                           one.lane = "trees of " + engine;
                           one.engine = engine;
                           one.work = std::move(work);
                           begin(self, std::move(one));
                         });
  if (state.context->blobs) {
    self->delayed_send(self, tick_interval, tick_atom_v);
    probe(self);
  }
  return {
    [=](find_atom, const cache_order& order) {
      auto one = upload_job();
      one.lane = "caches";
      one.attempt = order.attempt;
      return run<std::vector<used_cache>>(self, std::move(one),
                                          [order](const transfer& with) { return choose_caches(with, order); });
    },
    [=](fill_atom, const fill_order& order) {
      auto done = std::make_shared<std::optional<filled_files>>();
      return run<void>(
        self, engine_job(order.engine, order.attempt),
        [order, done](const transfer& with) -> caf::expected<void> {
          auto filled = fill(with, order);
          if (!filled)
            return filled.error();
          *done = *filled;
          return caf::unit;
        },
        [=] {
          if (*done)
            self->state.prepared->unpacked(order, **done);
        });
    },
    [=](find_atom, const prepared_query& query) { return self->state.prepared->find(query); },
    [=](forget_atom, const attempt_key& attempt, const std::string& engine) {
      self->state.prepared->release(attempt, engine);
    },
    [=](collect_atom, const collect_order& order) {
      return run<collected_files>(self, engine_job(order.engine, order.attempt),
                                  [order](const transfer& with) { return collect(with, order); });
    },
    [=](withdraw_atom, const attempt_key& key) { withdraw(self, key); },
    [=](upload_atom, const std::string& owner, std::string& bytes) {
      auto frames = std::make_shared<const std::string>(std::move(bytes)); // megabytes, which nobody copies
      return run<upload_summary>(
        self, upload_job(),
        [=, context = self->state.context, incarnation = self->state.incarnation,
         under_way = self->state.uploads.under_way(owner)](const transfer& with) -> caf::expected<upload_summary> {
          file_upload upload{context, owner, incarnation, under_way};
          if (auto taken = upload.append(with, 0, *frames); !taken) {
            upload.abandon(with);
            return taken.error();
          }
          auto done = upload.commit(with);
          upload.abandon(with); // what is left of it
          return done;
        });
    },
    [=](upload_atom, open_atom, const std::string& owner) -> caf::result<uuid> {
      auto& state = self->state;
      if (!state.context->blobs)
        return make_failure(files_errc::failed, "this agent keeps no files");
      auto added = state.uploads.add(
        std::make_shared<file_upload>(state.context, owner, state.incarnation, state.uploads.under_way(owner)),
        std::chrono::steady_clock::now());
      if (!added)
        return added.error();
      return *added;
    },
    [=](upload_atom, const std::string& owner, const uuid& id, std::uint64_t offset, std::string& bytes) {
      auto next = std::make_shared<const std::string>(std::move(bytes));
      return at_upload<std::uint64_t>(
        self, owner, id, [=](file_upload& upload, const transfer& with) { return upload.append(with, offset, *next); });
    },
    [=](upload_atom, find_atom, const std::string& owner, const uuid& id) -> caf::result<std::uint64_t> {
      auto found = self->state.uploads.find(owner, id);
      if (!found)
        return found.error();
      if ((*found)->busy)
        return make_failure(files_errc::busy, "another request of this upload is under way");
      return (*found)->upload->offset();
    },
    [=](upload_atom, close_atom, const std::string& owner, const uuid& id) {
      return at_upload<upload_summary>(
        self, owner, id, [](file_upload& upload, const transfer& with) { return upload.commit(with); }, true);
    },
    [=](upload_atom, forget_atom, const std::string& owner, const uuid& id) {
      return at_upload<void>(
        self, owner, id,
        [](file_upload& upload, const transfer& with) -> caf::expected<void> {
          upload.abandon(with);
          return caf::unit;
        },
        true);
    },
    [](const continuation& work) { work.run(); },
    [=](tick_atom) {
      self->delayed_send(self, tick_interval, tick_atom_v);
      for (auto& one : self->state.uploads.lapse(std::chrono::steady_clock::now() - upload_patience))
        abandon(self, std::move(one));
      self->state.prepared->look();
      sweep(self);
    },
    [=](wire_atom, const files_handles& now) { self->state.handles = now; },
  };
}

} // namespace

files_actor spawn_file_keeper(caf::actor_system& system, context_ptr context, files_handles handles) {
  return system.spawn(file_keeper, std::move(context), std::move(handles));
}

} // namespace davit
