// Bytes from a thread that blocks to a coroutine, or the other way: with a limit on what is under way.
#pragma once

#include "transport/awaitable.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>

namespace davit::transport {

/// One side is a thread that may block, the other a coroutine on the executor; either may write. Whoever stops first
/// says why: `end` after the last piece, or `fail`. Functions are thread-safe, except that each side uses one at a
/// time.
class byte_channel : public std::enable_shared_from_this<byte_channel> {
public:
  /// More than `most` bytes wait only if one piece alone has more.
  explicit byte_channel(boost::asio::any_io_executor executor, std::size_t most = 512 << 10);

  // -- the thread's side ---

  /// Waits for room. False: the other side has failed, or the time is over.
  bool push(std::string piece, deadline until = no_deadline);
  /// Waits for a piece. Empty: the end. The error that the other side gave, or that the time is over.
  result<std::string> pop(deadline until = no_deadline);

  // -- the coroutine's side; the object lives until they return ---

  awaitable<bool> push_async(std::string piece, deadline until);
  awaitable<result<std::string>> pop_async(deadline until);

  // -- both sides ---

  void end();
  /// What waits is dropped. The first failure counts.
  void fail(error why);
  std::optional<error> failure() const;

  /// For the other side: when the last copy is gone before the end, the channel fails with `why`.
  std::shared_ptr<byte_channel> lend(error why);

private:
  bool has_room() const { return pieces_.empty() || waiting_ < most_; }
  void put(std::string piece);
  std::string take();
  void wake();
  awaitable<void> sleep(deadline until);

  boost::asio::any_io_executor executor_;
  boost::asio::steady_timer timer_; ///< Used on the executor alone.
  const std::size_t most_;
  mutable std::mutex mutex_; ///< Of all that follows.
  std::condition_variable changed_;
  std::deque<std::string> pieces_;
  std::size_t waiting_ = 0;
  std::uint64_t changes_ = 0, seen_ = 0; ///< What the coroutine has seen of them.
  bool ended_ = false;
  std::optional<error> failure_;
};

} // namespace davit::transport
