// The inside of a sandbox keeper. For actors/sandbox_keeper*.cpp alone:
//
// sandbox_keeper.cpp        what it answers; what is left over is removed
// sandbox_keeper_making.cpp makes what sandbox_stock.hpp says
// sandbox_keeper_giving.cpp gives tasks what waits
#pragma once

#include "actors/sandbox_demand.hpp"
#include "actors/sandbox_keeper.hpp"
#include "actors/sandbox_plan.hpp"

#include <caf/actor_system.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <spdlog/spdlog.h>

#include <deque>
#include <functional>
#include <map>
#include <set>

namespace davit::keeper {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

/// How long a task waits for one to be made for it.
inline constexpr duration patience = 60s;

struct ready_sandbox {
  std::string name; ///< Of the container, until a task has it.
  std::string container;
  std::string nonce;
  std::string image_id;
  image_info image;
  steady::time_point named; ///< When the image's name stood for it.
  steady::time_point since;
};

/// A task that one is being made for.
struct waiting_task {
  container_plan plan;
  caf::typed_response_promise<sandbox> promise;
  steady::time_point until;
  bool waited = false;

  steady::time_point came() const { return until - patience; }
};

struct sandbox_kind_state {
  bool network = false; ///< They wait for containers that join their network, and not for tasks.
  container_plan plan;  ///< Of the first task that wanted it; what differs between tasks is not looked at.
  sandbox_demand demand;
  std::deque<ready_sandbox> ready;
  std::deque<waiting_task> waiting;
  std::uint32_t making = 0;
  duration backoff{0};
  steady::time_point not_before{};
  std::string trouble; ///< Why the last one could not be made.
  /// What the image's name stood for last. The next one is made of the name, and looked at.
  std::optional<image_info> image;
};

/// What is known of the volume that the init is in.
enum class init_volume : std::uint8_t {
  unknown,
  filling, ///< The init is being put there: nobody else may write to it meanwhile, nor start from it.
  doubted, ///< So it is, but the volume may have become another one since that began.
  filled,
};

struct sandbox_keeper_state {
  static inline const char* name = "sandbox_keeper";
  context_ptr context;
  engine_settings settings;
  sandbox_handles handles;
  engine_status engine;
  std::map<std::string, sandbox_kind_state> kinds;
  std::set<std::string> making; ///< By their names.
  std::set<std::string> giving; ///< By their names: chosen for a task, whose name they do not have yet.
  std::uint32_t removing = 0;
  init_volume volume = init_volume::unknown;
  std::vector<std::function<void(const caf::error&)>> until_installed; ///< Who wants to; no error: it is there.
  bool draining = false, ticking = false;
  std::vector<caf::typed_response_promise<void>> drained;
};

inline bool is_filling(init_volume volume) {
  return volume == init_volume::filling || volume == init_volume::doubted;
}

/// The volume may have become another one: what is in it is compared before it is used again.
inline void doubt_volume(sandbox_keeper_state& state) {
  state.volume = is_filling(state.volume) ? init_volume::doubted : init_volume::unknown;
}

using self_pointer = sandbox_actor::stateful_pointer<sandbox_keeper_state>;

inline engine_actor engine_of(self_pointer self) {
  return self->state.handles.engine;
}

/// Tells the metrics how many wait.
void tell(self_pointer self);
std::uint32_t ready_count(const sandbox_keeper_state& state);
/// Answers those who wait for the end of the drain, if nothing is left.
void answer_if_drained(self_pointer self);
/// By its id or name. What can't be removed now is seen to a little later, or when the engine is ready again.
void remove(self_pointer self, const std::string& container);
/// Removes what an earlier process has left. By name: what was given to a task meanwhile has another one.
void clean(self_pointer self);
void clean_if_ready(self_pointer self);
/// The task gets none.
void answer(waiting_task& task, std::string why);
/// Gives up all that wait.
void empty(self_pointer self, sandbox_kind_state& kind);
void empty_all(self_pointer self);

// -- making: sandbox_keeper_making.cpp ----

/// Calls `then` when the init is in its volume, or could not be put there: once for all who want it. A program that is
/// being written can't be started.
void install_init(self_pointer self, const std::string& image, std::function<void(const caf::error&)> then);
/// Makes what is wanted and not there, and gives up what nobody has asked for.
void fill(self_pointer self);

// -- giving: sandbox_keeper_giving.cpp ----

caf::result<sandbox> take(self_pointer self, const container_plan& plan, bool insists);
caf::result<sandbox> take_network(self_pointer self, const container_plan& plan);
/// Gives the kind's oldest sandbox, if its image is what the name stands for now that there is a task.
void serve(self_pointer self, const std::string& kind, waiting_task task);
/// `fill`, now and once a second while there is something to keep.
void keep_looking(self_pointer self);

} // namespace davit::keeper
