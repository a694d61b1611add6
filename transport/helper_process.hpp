// Runs a small program and reads its answer.
#pragma once

#include "transport/error.hpp"

#include <boost/asio/awaitable.hpp>

#include <string>
#include <vector>

namespace davit::transport {

struct helper_result {
  int exit_code = 0;  ///< 128 + n if signal n ended it.
  std::string output; ///< Its standard output, at most 1 MiB.
};

template <class T>
using awaitable = boost::asio::awaitable<T>;

/// Starts `program` (found on the PATH) without a shell, gives it the input, reads until it ends. At the deadline, or
/// with more output than that, it is killed: an error. Its standard error is discarded: what a credential helper says
/// there is not for logs.
awaitable<result<helper_result>>
run_helper(std::string program, std::vector<std::string> arguments, std::string input, deadline until);

} // namespace davit::transport
