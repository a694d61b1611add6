// Where AWS credentials come from, in the order of AWS's own tools: environment, shared file, container, instance.
#pragma once

#include "shipping/aws_signature.hpp"
#include "transport/byte_stream.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <functional>

namespace davit::shipping {

using transport::awaitable;
using transport::deadline;
using transport::result;

/// `get` is std::getenv, or a test's. An error says what was tried.
awaitable<result<aws_credentials>> find_aws_credentials(boost::asio::any_io_executor executor,
                                                        std::function<const char*(const char*)> get, deadline until);

} // namespace davit::shipping
