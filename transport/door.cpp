#include "transport/door.hpp"

#include <sys/resource.h>
#include <unistd.h>

namespace davit::transport {

namespace {

constexpr int niceness = 5;

} // namespace

door::door() : thread_([this] { run(); }) {}

door::~door() {
  stop();
}

void door::add_piece(visit whose, origin from, std::unique_ptr<piece> one) {
  std::lock_guard guard{mutex_};
  if (stopped_)
    return;
  if (has_none())
    changed_.notify_one();
  if (whose == visit::leaving) {
    leaving_.push_back(std::move(one));
  } else if (whose == visit::again) {
    again_.push_back(std::move(one));
  } else {
    auto [lane, is_new] = first_.try_emplace(from);
    if (is_new)
      newcomers_.push_back(from);
    lane->second.waiting.push_back(std::move(one));
  }
}

namespace {

enum class end { oldest, newest };

template <class Queue>
auto take(Queue& from, end which) {
  auto one = std::move(which == end::newest ? from.back() : from.front());
  which == end::newest ? from.pop_back() : from.pop_front();
  return one;
}

/// One in four is the oldest.
end end_for(unsigned count) {
  return count % 4 == 1 ? end::oldest : end::newest;
}

} // namespace

/// Every other is of those who leave; of the others one in eight comes again. Call with the mutex.
std::unique_ptr<door::piece> door::next() {
  if (!leaving_.empty() && (!std::exchange(left_, !left_) || (first_.empty() && again_.empty())))
    return take(leaving_, end::oldest);
  ++count_;
  if (first_.empty() || (!again_.empty() && count_ % 8 == 0))
    return take(again_, end::oldest);
  auto from = next_origin();
  auto lane = first_.find(from);
  auto one = take(lane->second.waiting, end_for(++lane->second.count));
  if (lane->second.waiting.empty())
    first_.erase(lane);
  else
    had_turn_.push_back(from);
  return one;
}

/// Whose turn it is: of those who have just come, or, one in four, of the others. Call with the mutex.
door::origin door::next_origin() {
  if (newcomers_.empty() || (!had_turn_.empty() && count_ % 4 == 0))
    return take(had_turn_, end::oldest);
  return take(newcomers_, end_for(count_));
}

void door::run() {
  // Of this thread alone, as Linux has it. If it is refused, the priority is that of all.
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), niceness);
  std::unique_lock lock{mutex_};
  while (true) {
    changed_.wait(lock, [this] { return stopped_ || !has_none(); });
    if (stopped_)
      return;
    auto one = next();
    lock.unlock();
    one->run();
    one.reset();
    lock.lock();
  }
}

void door::stop() {
  {
    std::lock_guard guard{mutex_};
    stopped_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable())
    thread_.join();
  // What is destroyed may want to add.
  auto leaving = std::exchange(leaving_, {}), again = std::exchange(again_, {});
  auto first = std::exchange(first_, {});
}

} // namespace davit::transport
