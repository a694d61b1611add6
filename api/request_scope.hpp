// What a request is about, by its path: the scope that it needs, and the parameters that it may have.
#pragma once

#include "messages/access.hpp"
#include "transport/exchange.hpp"

#include <optional>
#include <string>

namespace davit::api {

/// Whether it asks for what lies in a container or came out of one.
bool reads_files(const transport::server_request& request);

/// Blobs, uploads and trees: what tasks are made of, and nobody else's.
bool brings_files(const transport::server_request& request);

/// What a request needs; none: it is everybody's.
std::optional<api_scope> scope_of(const transport::server_request& request, const access_settings& settings);

/// The first parameter that is given twice and means one thing. None: there is none.
std::optional<std::string> repeated_parameter(const transport::server_request& request);

/// The first parameter that nothing at this path takes; lists and logs look at theirs themselves. Empty: there is none.
std::string unknown_parameter(const transport::server_request& request);

} // namespace davit::api
