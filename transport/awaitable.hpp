// What this folder's coroutines return.
#pragma once

#include "transport/error.hpp"

#include <boost/asio/awaitable.hpp>

namespace davit::transport {

template <class T>
using awaitable = boost::asio::awaitable<T>;

} // namespace davit::transport
