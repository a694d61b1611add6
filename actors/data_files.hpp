// The files that an agent works with must stay where they are: what is written to one without a name is lost.
#pragma once

#include "actors/agent_settings.hpp"

#include <filesystem>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

namespace davit {

/// Remembers which files were there: that of the data directory's lock, and the store's if it is SQLite. Constant once
/// made; for any thread.
class data_files {
public:
  /// To be made when they are in use already.
  explicit data_files(const agent_settings& settings);

  /// Why what is written now would be lost; empty: the files are the same. Costs a stat each.
  std::string why_gone() const;

private:
  using identity = std::pair<dev_t, ino_t>;
  std::vector<std::pair<std::filesystem::path, identity>> files_;
};

} // namespace davit
