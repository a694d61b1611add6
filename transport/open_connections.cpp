#include "transport/open_connections.hpp"

#include <utility>

namespace davit::transport {

open_connections::place::~place() {
  std::lock_guard guard{list_->mutex_};
  list_->places_.erase(self_);
  if (closing_)
    --list_->closing_;
  if (auto count = list_->by_address_.find(address_); --count->second == 0)
    list_->by_address_.erase(count);
}

void open_connections::place::idle() {
  std::lock_guard guard{list_->mutex_};
  idle_ = true;
  since_ = std::chrono::steady_clock::now();
}

void open_connections::place::busy() {
  std::lock_guard guard{list_->mutex_};
  idle_ = false;
  since_ = std::chrono::steady_clock::now();
}

void open_connections::place::known() {
  std::lock_guard guard{list_->mutex_};
  if (!std::exchange(known_, true) && on_known_)
    on_known_();
}

void open_connections::place::answered() {
  std::lock_guard guard{list_->mutex_};
  answered_ = true;
}

std::shared_ptr<open_connections::place>
open_connections::enter(const std::string& address, std::function<void()> close, std::function<void()> on_known) {
  std::lock_guard guard{mutex_};
  if (closed_)
    return nullptr;
  if (!make_room(address)) {
    ++totals_.turned_away;
    return nullptr;
  }
  std::shared_ptr<place> made{new place{shared_from_this(), address, std::move(close), std::move(on_known)}};
  made->self_ = places_.insert(places_.end(), made.get());
  ++by_address_[address];
  return made;
}

void open_connections::close_all() {
  std::lock_guard guard{mutex_};
  closed_ = true;
  for (auto one : places_)
    one->close_();
}

bool open_connections::has_many_closing() const {
  std::lock_guard guard{mutex_};
  return closing_ > most_ / 4;
}

std::size_t open_connections::size() const {
  std::lock_guard guard{mutex_};
  return places_.size();
}

open_connections::totals open_connections::so_far() const {
  std::lock_guard guard{mutex_};
  return totals_;
}

/// Whoever holds connections open without asking for anything must not keep others out. Call with the mutex.
bool open_connections::make_room(const std::string& address) {
  auto same = address.empty() ? by_address_.end() : by_address_.find(address);
  if (same != by_address_.end() && same->second >= most_of_address_)
    return close_one(address);
  return places_.size() - closing_ < most_ || close_one({});
}

/// One of this address, or of any if it is empty. Call with the mutex.
bool open_connections::close_one(const std::string& address) {
  place* first = nullptr;
  for (auto one : places_) {
    if (one->closing_ || one->rank() == place::stays || (!address.empty() && one->address_ != address))
      continue;
    if (!first || one->rank() < first->rank() || (one->rank() == first->rank() && one->since_ < first->since_))
      first = one;
  }
  if (!first)
    return false;
  first->closing_ = true;
  ++closing_;
  first->close_();
  ++totals_.closed;
  return true;
}

} // namespace davit::transport
