// Attempts in every step, everything that can happen to them, and words for what comes of it: for the tests of
// actors/attempt.hpp.
#pragma once

#include "actors/attempt.hpp"
#include "actors/prepared_plan.hpp"

#include <string>
#include <utility>
#include <vector>

namespace davit::test {

inline const std::string engine_id = "engine-1", container_id = "c0ffee", init_nonce(64, '0');

/// An attempt that was just claimed, of a task that may be run cold or warm, on an engine that is well.
attempt_run fresh_attempt();

/// One for each step, and each thing that a step can be at; by name.
std::vector<std::pair<std::string, attempt_run>> every_step();

/// One for each event, and each answer that matters; by name.
std::vector<std::pair<std::string, event>> every_event();

/// The container of the attempt as an engine tells of it.
container_status container_of(const attempt_run& run, const std::string& state, std::int64_t code = 0);

/// What a cache at /cache begins with.
inline used_cache chosen_cache() {
  return {"/cache", "key", "ke", {}, "sha256:0", false, 0, {}};
}

/// A tree that an engine has ready for the task's input, for this image.
inline prepared_trees ready_tree(const std::string& image) {
  auto name = [](tree_volume::role is) { return name_of_volume({is, std::string(32, 'a'), std::string(32, 'b')}); };
  using enum tree_volume::role;
  return {image, {{"/src", name(tree), name(lower), name(upper), name(work)}}};
}

/// The step and what it is at.
std::string describe(const attempt_run& run);

/// One action, in a few words.
std::string describe(const action& what);

inline instant moment(std::chrono::milliseconds later = {}) {
  return {steady_time{} + std::chrono::hours{1} + later, timestamp{} + std::chrono::hours{1} + later, 0.5, uuid{{1}}};
}

} // namespace davit::test
