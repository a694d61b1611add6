// Lines in a log that comes record by record, and where its last ones begin. Pure: no CAF, no files in here.
//
// A line is text of one stream, up to and with a newline. A long one comes in several records, and records of other
// streams may lie between them. Lines are in the order in which they begin.
#pragma once

#include "messages/log.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <string>

namespace davit {

/// Which streams are in the middle of a line.
class open_lines {
public:
  static constexpr auto none = std::string::npos;

  /// Where the first line begins at `from` or behind it, in a record that comes next; `none` if none does.
  std::size_t begin(const log_record& record, std::size_t from) const;
  void pass(const log_record& record);

  bool within(log_stream stream) const { return open_[static_cast<std::size_t>(stream)]; }
  void close(log_stream stream) { open_[static_cast<std::size_t>(stream)] = false; }

private:
  std::array<bool, 4> open_{};
};

/// Drops what stands before the last lines of a log, of records that come from `offset()` on.
class tail_cut {
public:
  /// `lines` is the state there, and `to_drop` counts the lines that begin behind it and are not wanted.
  tail_cut(std::uint64_t offset, std::uint64_t end, open_lines lines, std::uint64_t to_drop)
    : offset_(offset), end_(end), to_drop_(to_drop), lines_(lines) {}

  std::uint64_t offset() const noexcept { return offset_; }
  /// Where the log ended when its last lines were found: all that has come since is wanted.
  std::uint64_t end() const noexcept { return end_; }

  /// How many bytes at the record's beginning are not wanted.
  std::size_t dropped(const log_record& record);

private:
  std::uint64_t offset_, end_, to_drop_;
  open_lines lines_, older_; ///< `older_`: in a line that began before the last ones.
  bool begun_ = false;
};

/// Finds where the last lines of a log begin. However many these are, it remembers only a few places.
class tail_scan {
public:
  explicit tail_scan(std::uint64_t lines) : wanted_(lines) {}

  /// The records that follow begin at this offset.
  void page(std::uint64_t offset);
  void add(const log_record& record);

  /// After at least one page; the log ends at `end`.
  tail_cut found(std::uint64_t end) const;

  std::size_t places() const noexcept { return marks_.size(); }
  static constexpr std::size_t most_places = 1024;

private:
  struct mark {
    std::uint64_t offset, lines; ///< Lines that have begun before it.
    open_lines state;
  };
  std::uint64_t wanted_, begun_ = 0;
  open_lines state_;
  std::deque<mark> marks_;
};

} // namespace davit
