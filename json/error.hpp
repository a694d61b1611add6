// Errors of the JSON mapping, and the result type of this folder.
#pragma once

#include <boost/assert/source_location.hpp>
#include <boost/system/result.hpp>

#include <stdexcept>
#include <string>

namespace davit::json {

/// What is wrong with a document, and where.
struct error {
  std::string path;    ///< `resources.memory`, `command[2]`; empty for the document itself.
  std::string message; ///< What is wrong with it.

  std::string text() const { return path.empty() ? message : path + ": " + message; }
};

template <class T>
using result = boost::system::result<T, error>;

[[noreturn]] inline void throw_exception_from_error(const error& e, const boost::source_location&) {
  throw std::runtime_error(e.text());
}

} // namespace davit::json
