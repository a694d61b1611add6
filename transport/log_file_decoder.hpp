// The file that an engine's log driver `local` writes, as the records that its API makes of it. No I/O in here.
#pragma once

#include "messages/log.hpp"
#include "transport/error.hpp"

#include <functional>
#include <string>
#include <string_view>

namespace davit::transport {

/// Of an entry in the file, at most: the engine cuts lines at 16 KiB.
inline constexpr std::size_t max_entry_bytes = 1024 * 1024;

/// The format is the engine's own affair (daemon/logger/local, api/types/plugins/logdriver/entry.proto), so each entry
/// is looked at with distrust: whoever is told of an error asks the API instead.
class log_file_decoder {
public:
  /// Gives whole entries to `sink` and keeps the rest. After an error it is of no use.
  result<void> feed(std::string_view bytes, const std::function<void(log_record)>& sink);

  /// False: the last entry has not come as a whole.
  bool at_boundary() const noexcept { return held_.empty(); }

private:
  std::string held_;
};

} // namespace davit::transport
