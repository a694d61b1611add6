// One attempt's log on disk: exact bytes, each record with its stream and its time.
//
// A small one stays in memory at first, and may never need a file. While it is written otherwise: `<number>.log`,
// records one after the other, each behind a header of 16 bytes (u32 length, u8 stream, 3 zero bytes, i64 nanoseconds;
// little endian). A record of stream `none` ends the log and holds its ledger as JSON. Later, if it is long:
// `<number>.log.zst` in Zstandard's seekable format, which `zstd -dc` reads too.
#pragma once

#include "messages/errors.hpp"
#include "messages/log.hpp"

#include <boost/assert/source_location.hpp>
#include <boost/system/result.hpp>

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace davit::store {

struct log_error {
  log_errc code = log_errc::none;
  std::string message;
};

template <class T>
using log_result = boost::system::result<T, log_error>;

[[noreturn]] inline void throw_exception_from_error(const log_error& e, const boost::source_location&) {
  throw std::runtime_error(e.message);
}

/// Where an attempt's log lies under `folder`, without its ending.
std::filesystem::path log_path(const std::filesystem::path& folder, const attempt_key& key);

/// Whether anything of it is on this disk.
bool log_exists(const std::filesystem::path& path);

/// The bytes that the log has before compression, as offsets count them; 0 if it is not there.
std::uint64_t log_size(const std::filesystem::path& path);

/// The attempts whose logs in one part of the folder (named by the last two digits of the tasks' ids) were written to
/// since a time.
std::vector<attempt_key> logs_since(const std::filesystem::path& part, timestamp since);

/// Removes one attempt's.
void remove_log(const std::filesystem::path& path);

/// Removes the logs of all attempts of a task.
log_result<void> remove_logs(const std::filesystem::path& folder, task_id task);

/// Logs of at most so many bytes are small: they may be kept in memory, and be made durable together with others.
inline constexpr std::uint64_t small_log = 16 * 1024;

/// Where a log is written.
enum class log_place {
  file,
  memory, ///< As long as it is small and nothing of it is on the disk.
};

/// How much of its end can be asked for.
inline constexpr std::size_t longest_tail = 1024 * 1024;

/// Writes one log. If its file is removed or moved by others while it has not ended, it is made again with all that was
/// written. If they have shortened it, the next append() fails, and what is missing then is to be appended again; at
/// its end there is a remark. Not thread-safe.
class log_writer {
public:
  /// Opens it, or makes it; what an earlier writer has written to its file is read once, a half-written record at the
  /// end is cut off. `limit`: bytes of output to keep; 0 for all.
  static log_result<std::unique_ptr<log_writer>>
  open(const std::filesystem::path& path, std::uint64_t limit, log_place place = log_place::file);
  ~log_writer();

  /// Appends; over the limit it keeps nothing but a remark, once, and counts.
  log_result<void> append(const std::vector<log_record>& records);

  /// Writes the ledger. Nothing can be appended afterwards, until it goes on.
  log_result<void> end();

  /// One that has ended goes on, because its attempt does: the ledger goes. One that has not ended stays as it is.
  log_result<void> go_on();

  /// Makes all that was written durable.
  log_result<void> sync();

  /// Both.
  log_result<void> close();

  /// The log's bytes, of one that has ended; none if they are more than `most`, or compressed (then they are durable).
  log_result<std::string> whole(std::uint64_t most);

  /// Whether it has no file.
  bool in_memory() const noexcept;

  /// Gives it one.
  log_result<void> to_file();

  /// As read_log, but of a log in memory too.
  log_result<log_page> read(std::uint64_t offset, std::uint32_t max_bytes) const;

  /// Its bytes, as offsets count them.
  std::uint64_t size() const noexcept;

  bool closed() const noexcept;
  const log_cursor& cursor() const noexcept;
  log_summary summary() const;

  /// The last bytes of stdout and stderr, in the order they came; at most `longest_tail`. However long the log is, no
  /// more than its end is read.
  std::string tail(std::size_t most) const;

private:
  struct state;
  explicit log_writer(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

/// Reads a page. A log that is not there is an empty page.
log_result<log_page> read_log(const std::filesystem::path& path, std::uint64_t offset, std::uint32_t max_bytes);

/// What a finished log of at most 1 MiB that is not compressed would be as such, whole.
log_result<std::string> pack_small(const std::filesystem::path& path);

/// The same of a log's bytes.
log_result<std::string> pack_bytes(std::string_view plain);

/// As read_log, of the bytes of a compressed log.
log_result<log_page> read_packed_log(std::string_view packed, std::uint64_t offset, std::uint32_t max_bytes);

/// The bytes of a finished and compressed log, a block of 1 MiB at a time; an empty one behind the last.
log_result<std::string> read_packed(const std::filesystem::path& path, std::uint64_t block);

/// How many such blocks it has; 0: it is not there.
std::uint32_t packed_blocks(const std::filesystem::path& path);

/// Makes a compressed log of such blocks, given one after the other. It is there when all are: `finish`.
class packed_writer {
public:
  explicit packed_writer(std::filesystem::path path);
  log_result<void> add(std::string_view bytes);
  log_result<void> finish();

private:
  std::filesystem::path path_;
  bool begun_ = false;
};

/// Compresses a closed log, a block at a time.
class log_compressor {
public:
  explicit log_compressor(std::filesystem::path path);
  ~log_compressor();

  /// Works for a few milliseconds; true when all is done and the plain file is gone. An error leaves the plain file.
  log_result<bool> step();

  log_compressor(log_compressor&&) noexcept;
  log_compressor& operator=(log_compressor&&) noexcept;

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace davit::store
