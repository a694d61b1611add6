// Coroutines that nobody waits for.
#pragma once

#include <boost/asio/co_spawn.hpp>

#include <exception>
#include <utility>

namespace davit::transport {

/// Logs an exception that nobody caught; `who` names the coroutine. Does nothing for a null pointer. Never throws.
void log_escaped(const char* who, const std::exception_ptr& escaped) noexcept;

/// Runs `work` on `executor`; nobody waits for its end. An exception that leaves it is logged, never lost.
template <class Executor, class Work>
void spawn_detached(const Executor& executor, const char* who, Work&& work) {
  boost::asio::co_spawn(executor, std::forward<Work>(work),
                        [who](const std::exception_ptr& escaped) { log_escaped(who, escaped); });
}

/// For work whose caller runs the io_context itself: an exception comes out of its `run()`.
inline void rethrow_escaped(const std::exception_ptr& escaped) {
  if (escaped)
    std::rethrow_exception(escaped);
}

} // namespace davit::transport
