#include "transport/byte_channel.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace davit::transport {

namespace {

const error too_slow{engine_errc::timed_out, 0, "nothing moved for too long"};

} // namespace

byte_channel::byte_channel(boost::asio::any_io_executor executor, std::size_t most)
  : executor_(std::move(executor)), timer_(executor_), most_(most) {}

void byte_channel::put(std::string piece) {
  waiting_ += piece.size();
  pieces_.push_back(std::move(piece));
}

std::string byte_channel::take() {
  auto piece = std::move(pieces_.front());
  pieces_.pop_front();
  waiting_ -= piece.size();
  return piece;
}

/// Something has changed. Called with the mutex held.
void byte_channel::wake() {
  ++changes_;
  changed_.notify_all();
  boost::asio::post(executor_, [self = weak_from_this()] {
    if (auto there = self.lock())
      there->timer_.cancel();
  });
}

// -- the thread's side -----------------------------------------------------------------------------------------------

namespace {

template <class Predicate>
bool wait_until(std::condition_variable& changed, std::unique_lock<std::mutex>& lock, deadline until, Predicate ready) {
  if (until != no_deadline)
    return changed.wait_until(lock, until, ready);
  changed.wait(lock, ready);
  return true;
}

} // namespace

bool byte_channel::push(std::string piece, deadline until) {
  std::unique_lock lock{mutex_};
  if (!wait_until(changed_, lock, until, [this] { return failure_ || has_room(); }) || failure_)
    return false;
  put(std::move(piece));
  wake();
  return true;
}

result<std::string> byte_channel::pop(deadline until) {
  std::unique_lock lock{mutex_};
  if (!wait_until(changed_, lock, until, [this] { return failure_ || ended_ || !pieces_.empty(); }))
    return too_slow;
  if (failure_)
    return *failure_;
  if (pieces_.empty())
    return std::string{};
  auto piece = take();
  wake();
  return piece;
}

// -- the coroutine's side --------------------------------------------------------------------------------------------

/// Until something changes that the coroutine has not seen.
awaitable<void> byte_channel::sleep(deadline until) {
  {
    std::lock_guard guard{mutex_};
    if (seen_ != changes_) {
      seen_ = changes_;
      co_return;
    }
  }
  timer_.expires_at(until); // on the executor, as whoever cancels it
  {
    std::lock_guard guard{mutex_};
    if (seen_ != changes_) { // before the timer was there to be cancelled
      seen_ = changes_;
      co_return;
    }
  }
  co_await timer_.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
}

awaitable<bool> byte_channel::push_async(std::string piece, deadline until) {
  while (true) {
    {
      std::lock_guard guard{mutex_};
      if (failure_)
        co_return false;
      if (has_room()) {
        put(std::move(piece));
        changed_.notify_all();
        co_return true;
      }
    }
    if (std::chrono::steady_clock::now() >= until)
      co_return false;
    co_await sleep(until);
  }
}

awaitable<result<std::string>> byte_channel::pop_async(deadline until) {
  while (true) {
    {
      std::lock_guard guard{mutex_};
      if (failure_)
        co_return *failure_;
      if (!pieces_.empty()) {
        auto piece = take();
        changed_.notify_all();
        co_return piece;
      }
      if (ended_)
        co_return std::string{};
    }
    if (std::chrono::steady_clock::now() >= until)
      co_return too_slow;
    co_await sleep(until);
  }
}

// -- both sides ------------------------------------------------------------------------------------------------------

void byte_channel::end() {
  std::lock_guard guard{mutex_};
  ended_ = true;
  wake();
}

void byte_channel::fail(error why) {
  std::lock_guard guard{mutex_};
  if (!failure_)
    failure_ = std::move(why);
  pieces_.clear();
  waiting_ = 0;
  wake();
}

std::optional<error> byte_channel::failure() const {
  std::lock_guard guard{mutex_};
  return failure_;
}

std::shared_ptr<byte_channel> byte_channel::lend(error why) {
  return {this, [self = shared_from_this(), why = std::move(why)](byte_channel*) {
            bool over = false;
            {
              std::lock_guard guard{self->mutex_};
              over = self->ended_;
            }
            if (!over)
              self->fail(why);
          }};
}

} // namespace davit::transport
