// Where work is done for a client that has not shown who it is.
#pragma once

#include "transport/door.hpp"
#include "transport/io_runtime.hpp"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <memory>
#include <utility>

namespace davit::transport {

/// Somebody at the door. Thread-safe.
struct guest {
  door::origin from = 0; ///< Set before anything is executed for the guest.
  std::atomic<bool> known = false;
  std::atomic<door::visit> visit = door::visit::first;

  /// Has had an answer. It counts if the guest is not known all the same.
  void answered() {
    auto before = door::visit::first;
    visit.compare_exchange_strong(before, door::visit::again, std::memory_order_relaxed);
  }
  /// Is asked to.
  void leaves() { visit.store(door::visit::leaving, std::memory_order_relaxed); }
};

/// Executes at the door until the guest is known, and on the threads of `house` from then on. Sockets and timers are
/// the house's throughout. It does not keep the order of what is executed: a strand of it does.
class guest_executor {
public:
  guest_executor(boost::asio::io_context& house, door& entrance, std::shared_ptr<const guest> who)
    : house_(&house), door_(&entrance), guest_(std::move(who)) {}

  boost::asio::io_context& query(boost::asio::execution::context_t) const noexcept { return *house_; }
  boost::asio::execution::blocking_t query(boost::asio::execution::blocking_t) const noexcept {
    if (never_)
      return boost::asio::execution::blocking.never;
    return boost::asio::execution::blocking.possibly;
  }
  guest_executor require(boost::asio::execution::blocking_t::never_t) const noexcept { return with(true); }
  guest_executor require(boost::asio::execution::blocking_t::possibly_t) const noexcept { return with(false); }

  template <class Work>
  void execute(Work work) const {
    if (!guest_->known.load(std::memory_order_relaxed)) {
      if (!never_ && door_->runs_here())
        work();
      else
        door_->add(guest_->visit.load(std::memory_order_relaxed), guest_->from, std::move(work));
    } else if (never_) {
      boost::asio::post(*house_, std::move(work));
    } else {
      boost::asio::dispatch(*house_, std::move(work));
    }
  }

  bool operator==(const guest_executor&) const noexcept = default;

private:
  guest_executor with(bool never) const noexcept {
    auto other = *this;
    other.never_ = never;
    return other;
  }

  boost::asio::io_context* house_;
  door* door_;
  std::shared_ptr<const guest> guest_;
  bool never_ = false;
};

/// What is done for the guest, one after another.
inline boost::asio::strand<guest_executor> guest_strand(io_runtime& io, std::shared_ptr<const guest> who) {
  return boost::asio::make_strand(guest_executor{io.context(), io.door(), std::move(who)});
}

} // namespace davit::transport
