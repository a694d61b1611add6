#include "transport/open_connections.hpp"

#include <utility>

namespace davit::transport {

open_connections::place::~place() {
  std::lock_guard guard{list_->mutex_};
  among_all_.unlink();
  of_address_.unlink();
  --list_->size_;
  if (closing_)
    --list_->closing_;
  if (auto same = list_->by_address_.find(address_); --same->second.size == 0)
    list_->by_address_.erase(same);
}

void open_connections::place::idle() {
  std::lock_guard guard{list_->mutex_};
  idle_ = true;
  take_turn();
}

void open_connections::place::busy() {
  std::lock_guard guard{list_->mutex_};
  idle_ = false;
  take_turn();
}

void open_connections::place::known() {
  std::lock_guard guard{list_->mutex_};
  if (std::exchange(known_, true))
    return;
  take_turn();
  if (on_known_)
    on_known_();
}

void open_connections::place::answered() {
  std::lock_guard guard{list_->mutex_};
  answered_ = true;
  take_turn();
}

open_connections::rank open_connections::place::whose_turn() const {
  if (closing_)
    return rank::closing;
  if (known_)
    return idle_ ? rank::known : rank::known_works;
  return answered_ ? rank::answered : idle_ ? rank::waits : rank::works;
}

/// The last of those of its rank. Call with the list's mutex.
void open_connections::place::take_turn() {
  among_all_.unlink();
  of_address_.unlink();
  auto turn = static_cast<std::size_t>(whose_turn());
  list_->by_rank_[turn].push_back(*this);
  list_->by_address_.find(address_)->second.by_rank[turn].push_back(*this);
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
  ++size_;
  ++by_address_[address].size;
  made->take_turn();
  return made;
}

void open_connections::close_all() {
  std::lock_guard guard{mutex_};
  closed_ = true;
  for (auto& places : by_rank_)
    for (auto& one : places)
      one.close_();
}

bool open_connections::has_many_closing() const {
  std::lock_guard guard{mutex_};
  return closing_ > most_closing_;
}

std::size_t open_connections::size() const {
  std::lock_guard guard{mutex_};
  return size_;
}

open_connections::totals open_connections::so_far() const {
  std::lock_guard guard{mutex_};
  return totals_;
}

/// Whoever holds connections open without asking for anything must not keep others out. Call with the mutex.
bool open_connections::make_room(const std::string& address) {
  auto same = address.empty() ? by_address_.end() : by_address_.find(address);
  if (same != by_address_.end() && same->second.size >= most_of_address_)
    return close_first(same->second.by_rank);
  return size_ - closing_ < most_ || close_first(by_rank_);
}

/// Call with the mutex.
template <class Turns>
bool open_connections::close_first(Turns& by_rank) {
  auto places
    = std::find_if(by_rank.begin(), by_rank.begin() + first_that_stays, [](auto& one) { return !one.empty(); });
  if (places == by_rank.begin() + first_that_stays)
    return false;
  auto& first = places->front();
  first.closing_ = true;
  first.take_turn();
  ++closing_;
  first.close_();
  ++totals_.closed;
  return true;
}

} // namespace davit::transport
