// Errors of this folder, and its result type.
#pragma once

#include "messages/engine.hpp"

#include <boost/assert/source_location.hpp>
#include <boost/system/result.hpp>

#include <chrono>
#include <stdexcept>
#include <string>

namespace davit::transport {

/// What went wrong with a call: the kind, HTTP's status if there was one, and a sentence for people.
struct error {
  engine_errc code = engine_errc::none;
  int status = 0;
  std::string message;
};

template <class T>
using result = boost::system::result<T, error>;

[[noreturn]] inline void throw_exception_from_error(const error& e, const boost::source_location&) {
  throw std::runtime_error(e.message);
}

using deadline = std::chrono::steady_clock::time_point;

/// A deadline that never comes.
inline constexpr deadline no_deadline = deadline::max();

inline deadline within(duration time) {
  return std::chrono::steady_clock::now() + time;
}

} // namespace davit::transport
