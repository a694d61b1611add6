// The process's io_context and the threads that run it.
#pragma once

#include "transport/door.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/executor_work_guard.hpp>

#include <thread>
#include <vector>

namespace davit::transport {

/// Owned by main (or by a test). Whoever gives work to it must be gone, or have cancelled it, before stop().
class io_runtime {
public:
  /// One thread for each four processors, four at most: exchanges with engines are short, and threads that take turns
  /// at them wake each other. Four under the thread sanitizer, which is to see them on any machine.
  explicit io_runtime(unsigned threads = usual_threads());
  io_runtime(const io_runtime&) = delete;
  io_runtime& operator=(const io_runtime&) = delete;
  ~io_runtime();

  boost::asio::io_context& context() noexcept { return context_; }

  /// For the work of clients that have not shown who they are (guest_executor).
  transport::door& door() noexcept { return door_; }

  /// Ends the threads after what they are at; what waits is dropped. Idempotent.
  void stop();

private:
  static unsigned usual_threads();

  boost::asio::io_context context_;
  transport::door door_; ///< Goes first: what waits there has sockets of the other.
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::vector<std::thread> threads_;
};

} // namespace davit::transport
