// Text in a request that ends in the store, or is compared with what is in it.
#pragma once

#include "messages/task.hpp"
#include "transport/exchange.hpp"

#include <string>
#include <string_view>

namespace davit::api {

/// Whether it is UTF-8 without NUL. Two texts that are not may be the same in a database.
bool is_text(std::string_view bytes);

/// The first query parameter, header or part of the path that is not text, by its name. Empty: there is none.
std::string first_not_text(const transport::server_request& request);

/// The first field of a spec by which tasks are found again and that has a NUL. (JSON is UTF-8.) Empty: there is none.
std::string first_not_text(const task_spec& spec);

} // namespace davit::api
