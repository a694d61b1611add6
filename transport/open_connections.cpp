#include "transport/open_connections.hpp"

namespace davit::transport {

open_connections::place::~place() {
  std::lock_guard guard{list_->mutex_};
  list_->places_.erase(self_);
}

void open_connections::place::idle() {
  std::lock_guard guard{list_->mutex_};
  idle_since_ = std::chrono::steady_clock::now();
}

void open_connections::place::busy() {
  std::lock_guard guard{list_->mutex_};
  idle_since_.reset();
}

std::shared_ptr<open_connections::place> open_connections::enter(std::function<void()> close) {
  std::lock_guard guard{mutex_};
  if (closed_ || !make_room())
    return nullptr;
  std::shared_ptr<place> made{new place{shared_from_this(), std::move(close)}};
  made->self_ = places_.insert(places_.end(), made.get());
  return made;
}

void open_connections::close_all() {
  std::lock_guard guard{mutex_};
  closed_ = true;
  for (auto one : places_)
    one->close_();
}

std::size_t open_connections::size() const {
  std::lock_guard guard{mutex_};
  return places_.size();
}

/// Whoever holds connections open without asking for anything must not keep others out. Call with the mutex.
bool open_connections::make_room() {
  if (places_.size() < most_)
    return true;
  place* longest = nullptr;
  for (auto one : places_)
    if (one->idle_since_ && (!longest || *one->idle_since_ < *longest->idle_since_))
      longest = one;
  if (!longest)
    return false;
  longest->idle_since_.reset(); // not to be chosen again
  longest->close_();
  return true;
}

} // namespace davit::transport
