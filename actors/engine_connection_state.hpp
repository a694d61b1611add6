// The inside of an engine connection. For actors/engine_connection*.cpp alone:
//
// engine_connection.cpp        what it answers
// engine_connection_health.cpp connects, pings, watches the engine's events; engine_health.hpp decides
// engine_connection_pulls.cpp  one pull for all who want an image
// engine_connection_logs.cpp   reads logs into the log keeper
#pragma once

#include "actors/engine_connection.hpp"
#include "actors/engine_continuity.hpp"
#include "actors/metrics.hpp"
#include "sandbox/message.hpp"
#include "transport/container_input.hpp"
#include "transport/engine_calls.hpp"
#include "transport/spawn.hpp"
#include "transport/log_follower.hpp"
#include "secrets/secret_masker.hpp"

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <spdlog/spdlog.h>

#include <filesystem>
#include <random>

namespace davit::connection {

using transport::awaitable;
using transport::call_options;
using transport::engine_client;
using transport::result;
using transport::within;
using namespace std::chrono_literals;

using self_pointer = engine_actor::stateful_pointer<struct engine_connection_state>;

/// A call that is under way on the I/O threads.
struct pending_call {
  std::optional<attempt_key> owner; ///< Whose withdrawal ends it.
  bool until_end = false;           ///< So does the end of the attempt's container.
  std::shared_ptr<void> promise;    ///< Kept here, so that no I/O thread ever holds the last one.
  transport::control_ptr control = std::make_shared<transport::call_control>();
};

/// A log that is being read.
struct pending_log {
  std::uint64_t source = 0;
  std::shared_ptr<transport::log_follower> follower;
  caf::typed_response_promise<log_end> promise;
  bool ended = false;             ///< The follower has; acknowledgements may be missing.
  bool unclear = false;           ///< Whether its last line has ended.
  std::uint64_t batches = 0;      ///< That came so far.
  std::size_t unacknowledged = 0; ///< Batches that the log keeper has not written yet.
  caf::error failure;
  std::unique_ptr<secrets::secret_masker> masker; ///< If there is anything to be masked.
  std::unique_ptr<init::report_reader> reader;    ///< Of a sandbox.
  bool follows = false;
};

/// To a container's standard input.
struct kept_line {
  std::shared_ptr<transport::byte_stream> stream;
  std::string name; ///< The container's, if it was made for an attempt.
};

/// Whoever wants an image that is being pulled already.
struct waiting_pull {
  attempt_key key;
  caf::typed_response_promise<void> promise;
  std::chrono::steady_clock::time_point until;
};

/// One pull for all who want the same image with the same credentials. It ends early when the last of them has left.
struct shared_pull {
  std::uint64_t call = 0;
  std::vector<waiting_pull> waiting;
};

struct engine_connection_state {
  static inline const char* name = "engine_connection";

  explicit engine_connection_state(self_pointer) {}
  ~engine_connection_state() {
    // Coroutines keep what they need alive; here they are told to end.
    for (auto& [id, call] : calls)
      call.control->cancel();
    for (auto& [key, log] : logs)
      log.follower->cancel();
    if (events)
      events->cancel();
  }

  context_ptr context;
  engine_settings settings;
  health_settings limits;
  engine_handles handles;
  std::shared_ptr<engine_client> client;
  engine_status status;
  engine_health fares;
  std::uint64_t tick = 0;        ///< The one timer that counts; older ones are stale.
  transport::control_ptr events; ///< Ends the event stream that is open.
  engine_continuity continuity;
  bool place_to_save = false; ///< Soon: it was seen to go on.

  std::filesystem::path place_file() const {
    return context->settings.data_dir / "engines" / (settings.name + ".json");
  }
  std::uint64_t last_call = 0;
  std::map<std::uint64_t, pending_call> calls;
  std::map<attempt_key, pending_log> logs;
  bool told_of_files = false;               ///< That a log could not be read where `log_files` says.
  std::map<std::string, shared_pull> pulls; ///< By image and credentials.
  /// To the inits of sandboxes that wait, and to containers that are to have standard input; by their containers.
  std::map<std::string, kept_line> lines;
  std::shared_ptr<transport::checked_paths> checked = std::make_shared<transport::checked_paths>();
  std::minstd_rand random{std::random_device{}()};
};

inline caf::error to_caf(const transport::error& e) {
  return make_failure(e.code, e.message);
}

/// Runs `work` among the actor's messages, whatever thread this is.
inline void resume(const caf::weak_actor_ptr& actor, std::function<void()> work) {
  if (auto strong = actor.lock())
    caf::anon_send(caf::actor_cast<engine_actor>(strong), continuation{std::move(work)});
}

inline caf::weak_actor_ptr weak(self_pointer self) {
  return caf::actor_cast<caf::weak_actor_ptr>(engine_actor{self});
}

/// Starts a coroutine and gives its result to `done`, which runs among the actor's messages.
template <class T>
void spawn_call(self_pointer self, awaitable<result<T>> work, std::function<void(result<T>)> done) {
  // The client lives in the coroutine's frame until it ends: cancelled calls finish after the actor is gone.
  boost::asio::co_spawn(self->state.client->executor(), std::move(work),
                        [actor = weak(self), client = self->state.client,
                         done = std::move(done)](std::exception_ptr failed, result<T> value) {
                          transport::log_escaped("a call of an engine", failed);
                          if (failed)
                            value = transport::error{engine_errc::protocol, 0, "an internal error ended the call"};
                          auto shared = std::make_shared<result<T>>(std::move(value));
                          resume(actor, [done, shared] { done(std::move(*shared)); });
                        });
}

/// A container that is not there may be there on the engine that was meant: whoever says so must still be the same.
template <class T>
awaitable<result<T>> from_the_same(std::shared_ptr<engine_client> client, std::string engine_id, call_options options,
                                   awaitable<result<T>> work) {
  auto value = co_await std::move(work);
  if (value || value.error().code != engine_errc::not_found || engine_id.empty())
    co_return value;
  auto info = co_await client->info(std::move(options));
  if (!info)
    co_return info.error();
  if (info->id != engine_id)
    co_return transport::error{engine_errc::lost, 0, "another engine answers at the address now"};
  co_return value;
}

/// What a call is about, and so what `not found` is said of.
enum class subject { container, image };

/// Answers a request with what the engine says to a call. Without a limit, the engine's health alone ends it. `make`
/// gets the call's deadline and control; `keep` is run with a good answer before it is given.
template <class T, class Make>
caf::result<T>
call(self_pointer self, const char* what, std::optional<duration> limit, std::optional<attempt_key> owner, Make make,
     subject about = subject::container, std::function<void()> keep = {}) {
  auto& state = self->state;
  using promise_type = caf::typed_response_promise<T>;
  auto promise = self->make_response_promise<T>();
  auto id = ++state.last_call;
  auto& entry = state.calls[id];
  entry.owner = owner;
  entry.promise = std::make_shared<promise_type>(promise);
  call_options options;
  if (limit)
    options.until = within(*limit);
  options.control = entry.control;
  auto begun = std::chrono::steady_clock::now();
  auto work = about == subject::container ? from_the_same<T>(state.client, state.status.info.id, options, make(options))
                                          : make(options);
  spawn_call<T>(self, std::move(work), [=](result<T> value) {
    auto& state = self->state;
    auto found = state.calls.find(id);
    auto promise = *std::static_pointer_cast<promise_type>(found->second.promise);
    state.calls.erase(found);
    auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    state.context->metrics->engine_request(state.settings.name, what, seconds);
    if (value && keep)
      keep();
    if (!value)
      promise.deliver(to_caf(value.error()));
    else if constexpr (std::is_void_v<T>)
      promise.deliver();
    else
      promise.deliver(std::move(*value));
  });
  return promise;
}

// -- health: engine_connection_health.cpp
// ----------------------------------------------------------------------------------

/// Tells the scheduler and the engine's sandbox keeper how the engine fares.
void tell(self_pointer self);
/// The engine's health has heard this; what follows from it is done.
void hear(self_pointer self, const health_event& event);

// -- pulls: engine_connection_pulls.cpp
// ------------------------------------------------------------------------------------

caf::result<void> pull_image(self_pointer self, const attempt_key& key, const std::string& image, duration limit,
                             const secret& credentials);
/// An attempt wants its image no more.
void withdraw_pull(self_pointer self, const attempt_key& key);

// -- logs: engine_connection_logs.cpp
// --------------------------------------------------------------------------------------

caf::result<log_end> follow_log(self_pointer self, const log_request& request);
/// The container of this log has ended.
void end_log(self_pointer self, const attempt_key& key);

} // namespace davit::connection
