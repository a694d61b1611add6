// The store keeper: tasks in the database, many writes to a commit.
#pragma once

#include "actors/agent_context.hpp"
#include "actors/data_files.hpp"
#include "messages/actors.hpp"
#include "store/task_store.hpp"

#include <functional>
#include <memory>

namespace davit {

/// Opens the store at a URL.
using store_opener = std::function<store::result<std::unique_ptr<store::task_store>>(const std::string& url)>;

/// Spawns it on a thread of its own. It fails at once (and is started again, and escalates) if the store can't be
/// opened, or if one of the `files` is not there any more.
store_actor spawn_store_keeper(
  caf::actor_system& system, context_ptr context,
  store_opener open = [](const std::string& url) { return store::task_store::open(url); },
  std::shared_ptr<const data_files> files = nullptr);

} // namespace davit
