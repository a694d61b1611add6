// How a coroutine waits for an operation that may fail: `auto [ec, count] = co_await stream.async_read(...,
// as_awaitable)`.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace davit::transport {

constexpr auto as_awaitable = boost::asio::as_tuple(boost::asio::use_awaitable);

} // namespace davit::transport
