// What an attempt's log consists of: records, and the ledger that ends it. Pure: no files in here.
//
// A record has a header of 16 bytes (u32 length, u8 stream, 3 zero bytes, i64 nanoseconds; little endian), then its
// bytes. One of stream `none` ends the log: its bytes are the ledger as JSON.
#pragma once

#include "messages/log.hpp"

#include <deque>
#include <memory>
#include <string>
#include <string_view>

namespace davit::store {

inline constexpr std::size_t record_header_bytes = 16;
inline constexpr std::uint32_t longest_record = 64 * 1024 * 1024;

/// A record where it lies.
struct record_view {
  log_stream stream = log_stream::none;
  timestamp at;
  std::string_view bytes;

  /// With its header.
  std::size_t size() const { return record_header_bytes + bytes.size(); }
};

void put_record(std::string& to, log_stream stream, timestamp at, std::string_view bytes);

enum class record_found : std::uint8_t {
  whole,
  partial, ///< The bytes end within it.
  damaged, ///< No record begins here.
};

/// The record that `bytes` begin with. `needed`: how many bytes it takes, as far as they tell.
record_found get_record(std::string_view bytes, record_view& record, std::size_t& needed);

/// The record that ends a log with these totals.
void put_ledger(std::string& to, const log_summary& totals);

/// The totals that a ledger's bytes tell; false: they are not a ledger.
bool get_ledger(std::string_view bytes, log_summary& totals);

/// Counts a log's records as they come: their totals, where each stream's reader stands, where the log's tail begins.
class log_tally {
public:
  log_tally();
  ~log_tally();
  log_tally(log_tally&&) noexcept;
  log_tally& operator=(log_tally&&) noexcept;

  /// A record that begins at `offset`.
  void add(const log_record& record, std::uint64_t offset);

  /// One that came and is not in the log.
  void drop(const log_record& record);

  /// As a ledger tells.
  void set_dropped(std::uint64_t bytes) { totals_.dropped = bytes; }

  const log_cursor& cursor() const noexcept { return cursor_; }

  /// Bytes of stdout and stderr that are in the log.
  std::uint64_t output() const noexcept { return totals_.out.bytes + totals_.err.bytes; }

  log_summary summary() const;

  /// Where a record begins from which on there are at least `longest_tail` bytes of output (store/attempt_log.hpp), and
  /// not many more; or the log's beginning.
  std::uint64_t tail_offset() const noexcept { return marks_.empty() ? 0 : marks_.front().offset; }

private:
  void advance(const log_record& record);

  struct hash;
  struct mark {
    std::uint64_t offset, output;
  };
  log_cursor cursor_;
  log_summary totals_;
  std::unique_ptr<hash> out_, err_;
  std::deque<mark> marks_;
};

} // namespace davit::store
