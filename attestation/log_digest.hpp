// What a statement says about the log of a task.
#pragma once

#include "blobs/digest.hpp"
#include "messages/log.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace davit::attestation {

/// What there is of a log.
enum class log_state : std::uint8_t {
  none,       ///< There was no container, and so no log.
  whole,      ///< It has its end. The remarks tell what is missing in it, if something is.
  unfinished, ///< It has no end: whoever wrote it was stopped.
  gone,       ///< There was a container, and there is no log.
};
DAVIT_ENUM_TEXT(log_state, 4, "none", "whole", "unfinished", "gone")

/// A log in short. The bytes are those that `GET /v1/tasks/{id}/logs?attempt=N` gives as text/plain: what the container
/// has written to stdout and stderr in the order it came, without times and without davit's remarks.
struct log_facts {
  log_state state = log_state::none;
  std::int32_t attempt = 0;
  std::uint64_t bytes = 0;
  blobs::digest both, out, err;     ///< Of all bytes, and of each stream alone.
  std::vector<std::string> remarks; ///< davit's own: the first ones, none of them longer than a line or so.
  std::uint64_t remark_count = 0;
};

/// Takes a log record by record; its memory does not grow. One thread at a time.
class log_digest {
public:
  static constexpr std::size_t most_remarks = 32;
  static constexpr std::size_t longest_remark = 512;

  void add(const log_record& record);

  /// All but the attempt. After this it begins anew.
  log_facts finish(log_state state);

private:
  blobs::hasher both_, out_, err_;
  log_facts facts_;
};

} // namespace davit::attestation
