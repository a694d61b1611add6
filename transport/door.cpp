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

void door::add_piece(visit whose, std::unique_ptr<piece> one) {
  std::lock_guard guard{mutex_};
  if (stopped_)
    return;
  (whose == visit::first ? first_ : again_).push_back(std::move(one));
  if (first_.size() + again_.size() == 1)
    changed_.notify_one();
}

/// One in eight is of those who come again, and one in four of the others is the oldest. Call with the mutex.
std::unique_ptr<door::piece> door::next() {
  auto take = [](auto& from, bool newest) {
    auto one = std::move(newest ? from.back() : from.front());
    newest ? from.pop_back() : from.pop_front();
    return one;
  };
  ++count_;
  if (first_.empty() || (!again_.empty() && count_ % 8 == 0))
    return take(again_, false);
  return take(first_, count_ % 4 != 1);
}

void door::run() {
  // Of this thread alone, as Linux has it. If it is refused, the priority is that of all.
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), niceness);
  std::unique_lock lock{mutex_};
  while (true) {
    changed_.wait(lock, [this] { return stopped_ || !first_.empty() || !again_.empty(); });
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
  auto first = std::exchange(first_, {}), again = std::exchange(again_, {});
}

} // namespace davit::transport
