// Reads one container's log from a cursor on, as fast as its reader grants credit.
#pragma once

#include "transport/engine_client.hpp"
#include "transport/log_parser.hpp"

#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace davit::transport {

/// A quiet log may be quiet for hours; but a connection that says nothing for this long is made anew, as a peer that
/// vanished without a word looks the same.
inline constexpr duration quiet_reconnect = std::chrono::seconds{90};

/// How many records at a log's end are looked at before all since the cursor are asked for: an engine finds the cursor
/// by decoding everything from the beginning, but knows where the last ones lie.
inline constexpr std::size_t tail_records = 128;

struct follow_options {
  std::string container;
  bool tty = false;
  bool follow = true; ///< False: what is there by now, then the end.
  bool tail = false;  ///< Not followed: everything in front of the last record that `from` names was read, so that the
                      ///< last ones may be enough.
  std::string file;   ///< Where the engine keeps this log, if it can be read here: it is followed there. Empty: the
                      ///< engine is asked.
  log_cursor from;
  std::uint64_t credit = 1024 * 1024; ///< Wire bytes that may be under way before the first grant.
};

struct log_ending {
  /// The streams whose last line was cut, so that it is not known whether it ended with a newline.
  std::vector<log_stream> unclear;
  std::string file_trouble; ///< Why the file was not read, or not to its end, and the engine was asked instead.
};

class log_follower : public std::enable_shared_from_this<log_follower> {
public:
  /// Some records in order, and how many wire bytes they took: to be granted again once they are written.
  using sink = std::function<void(std::vector<log_record>, std::uint64_t)>;

  /// The end: of the log (no error), or of the connection.
  using end = std::function<void(result<void>, log_ending)>;

  log_follower(std::shared_ptr<engine_client> client, follow_options options, sink on_records, end on_end);

  /// Both functions are called on the client's strand; `on_end` once, as the last.
  void start();

  /// Thread-safe.
  void grant(std::uint64_t wire_bytes);

  /// Thread-safe. The container has ended: a file is read to its end now, and that is the log's. (An engine that is
  /// asked says itself when it has given all.)
  void ended();

  /// Thread-safe; on_end is still called, with `cancelled`.
  void cancel();

private:
  awaitable<void> run();
  awaitable<result<void>> run_file();
  awaitable<result<void>> run_once(bool& reconnect);
  awaitable<bool> read_tail();
  call_options call() const;
  awaitable<void> wait_for_credit();
  void gather(std::uint64_t wire_bytes);
  void give();
  awaitable<void> pause(duration most);
  void wake();

  std::shared_ptr<engine_client> client_;
  follow_options options_;
  sink on_records_;
  end on_end_;
  log_cursor cursor_;
  log_ending ending_;
  std::vector<log_record> records_;             ///< Read, and not given yet.
  std::uint64_t gathered_ = 0;                  ///< Wire bytes of which nothing was given yet.
  std::chrono::steady_clock::time_point due_{}; ///< When the next piece would be given if none was given at once.
  boost::asio::steady_timer to_be_given_;
  bool container_ended_ = false;
  std::int64_t credit_;
  boost::asio::steady_timer woken_;
  control_ptr control_ = std::make_shared<call_control>();
};

} // namespace davit::transport
