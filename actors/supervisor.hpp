// The supervisor: starts actors, watches them, restarts them, and decides what a failing one takes down with it.
#pragma once

#include "actors/agent_context.hpp"
#include "messages/actors.hpp"

#include <caf/actor.hpp>
#include <caf/message.hpp>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace davit {

/// An actor that is kept alive.
struct child_plan {
  std::string name;    ///< Unique. The first word is the actor's in metrics: "engine_connection a".
  std::string subtree; ///< The name of the subtree that it fails with.
  /// Starts it with the handles that it uses, and puts its own handle into the directory.
  std::function<caf::actor(directory&)> start;
  /// The message with the handles that it uses; nothing if it has just these. After each start there is one.
  std::function<std::optional<caf::message>(const directory&)> news;
};

/// Actors that are suspended together.
struct subtree_plan {
  std::string name;  ///< Unique.
  bool core = false; ///< The agent can't do without: if it can't be healed, the supervisor ends.
  /// Tells others that it is suspended, why and since when: at once, and again whenever an actor was started meanwhile.
  /// May be empty.
  std::function<void(const directory&, const std::string& why, timestamp since)> tell_suspended;
};

struct supervision_plan {
  std::vector<subtree_plan> subtrees;
  /// In the order of their start. Whoever waits for the start waits for the last one.
  std::vector<child_plan> children;
};

/// A child that fails is started again after a backoff, and those who use it are given its new handle. One that has
/// failed more often than its `restart_budget` allows
/// - ends the supervisor, if its subtree is core. The reason names the child and its last error; `context->ending` is
/// true by then.
/// - suspends its subtree otherwise: the other children of the subtree are ended, and 30 s later all are started again,
/// for ever. Whatever ends the supervisor ends its children; the last one that was started is told first.
supervisor_actor spawn_supervisor(caf::actor_system& system, context_ptr context, supervision_plan plan);

} // namespace davit
