// How far a sink has sent each log, as it is kept on disk. Without CAF.
#pragma once

#include "messages/attempt.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace davit {

struct sink_position {
  task_id task;
  std::int32_t attempt = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0; ///< Of the log, as far as it is known.

  attempt_key key() const { return {task, attempt}; }
};

struct sink_positions {
  timestamp at; ///< What was begun until then is in here.
  std::vector<sink_position> open;
  std::vector<sink_position> done; ///< Lately.
};

/// None: the file is not there, or is empty. A file that can't be read is an error, which names it.
std::optional<sink_positions> load_positions(const std::filesystem::path& file, std::string& error);

/// Replaces the file as a whole; false: it can't be written.
bool save_positions(const std::filesystem::path& file, const sink_positions& positions);

} // namespace davit
