// When a named volume that davit made may be removed. Pure.
#pragma once

#include "messages/task.hpp"

#include <string>
#include <vector>

namespace davit {

/// The named volumes that a task mounts, by the names that it gives them: each once, in order.
std::vector<std::string> named_volumes(const task_spec& spec);

enum class volume_verdict : std::uint8_t {
  keep,   ///< It was used lately, or somebody removes it already.
  renew,  ///< An unfinished task names it: this counts as a use.
  remove, ///< Ask the engine to remove it.
};
DAVIT_ENUM_TEXT(volume_verdict, 3, "keep", "renew", "remove")

struct volume_facts {
  timestamp used_at;        ///< When an attempt with it was made or ended last, or when davit first saw it.
  timestamp removing_until; ///< Until then somebody else may be removing it.
  bool wanted = false;      ///< An unfinished task names it.
};

/// `age`: how long it must have been unused; 0: nothing is ever removed.
volume_verdict judge_volume(const volume_facts& facts, timestamp now, duration age);

} // namespace davit
