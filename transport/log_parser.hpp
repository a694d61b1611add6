// The answer of GET /containers/{id}/logs?timestamps=1, as records. No I/O in here.
#pragma once

#include "messages/log.hpp"
#include "transport/demultiplexer.hpp"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace davit::transport {

/// How much of one record is kept in memory; the engine cuts lines at 16 KiB, so anything over this is a lie.
inline constexpr std::size_t max_record_bytes = 1024 * 1024;

class log_parser {
public:
  /// `tty`: the stream is raw, as it is for a container with a terminal.
  explicit log_parser(bool tty) : tty_(tty) {}

  result<void> feed(std::string_view bytes, const std::function<void(log_record)>& sink);

  /// The stream has ended: gives what is still held of a raw stream. An error in the middle of a frame.
  result<void> finish(const std::function<void(log_record)>& sink);

  /// True if the stream's last record is the end of a line that was cut: whether a newline followed is not known then.
  bool end_is_unclear(log_stream stream) const { return of(stream).cut && of(stream).open; }

private:
  /// What the stream's last record was.
  struct last_record {
    bool open = false; ///< Without a newline.
    bool cut = false;  ///< Or the one before it: a part of a line that was too long for the engine.
    bool full = false; ///< As long as a part can be: the line goes on.
    timestamp at;
  };

  /// Gives a record on, and before it the newline that some engines lose at the end of a line that they had cut.
  void give(log_record record, const std::function<void(log_record)>& sink);
  const last_record& of(log_stream stream) const { return stream == log_stream::err ? err_ : out_; }
  result<void> feed_raw(std::string_view bytes, const std::function<void(log_record)>& sink);

  bool tty_;
  demultiplexer frames_;
  std::string held_;
  last_record out_;
  last_record err_;
};

/// Takes off what was delivered before a resume, and sees what the engine has lost meanwhile.
class log_resume {
public:
  explicit log_resume(log_cursor from);

  /// The `since` to ask the engine for, `seconds.nanoseconds`; empty: from the beginning. It is inclusive.
  std::string since() const;

  /// Whether the record is new. Moves the cursor if it is. Sets `gap` if the record that the cursor names should have
  /// come before this one and did not: some bytes of this stream are missing.
  bool take(const log_record& record, bool& gap);

  /// Whether the log's last records, `tail`, are enough to go on from: nothing in front of them is new, and it is
  /// certain which of them are. Then they may be taken. If not, everything since the cursor must be asked for. `whole`:
  /// there is nothing in front of them. Expects that records were delivered in the order in which the engine has them.
  bool reaches(const std::vector<log_record>& tail, bool whole);

  const log_cursor& cursor() const noexcept { return cursor_; }

private:
  struct search {
    bool active = false;
    std::uint32_t skip = 0; ///< How many more records of the cursor's stamp were delivered before.
    bool found = false;     ///< The last of them was the record before this one.
    stream_cursor seen;     ///< What has come and was delivered before.
  };

  search& of(log_stream stream) { return stream == log_stream::err ? err_ : out_; }

  log_cursor cursor_;
  search out_;
  search err_;
};

} // namespace davit::transport
