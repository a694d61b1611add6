// Requests and answers of the HTTP server as text: RFC 9112. No I/O.
#pragma once

#include "transport/exchange.hpp"

#include <string>
#include <string_view>

namespace davit::transport {

/// How an answer is to be sent.
struct answer_form {
  bool chunked = false;    ///< In pieces of a length that is not known beforehand.
  bool keep_alive = false; ///< More requests may come over the connection.
  bool head = false;       ///< The request was HEAD: without the body.
};

/// The status line and the header fields, with the empty line behind them.
std::string render_header(const server_response& response, const answer_form& form);

/// One piece of a chunked body.
std::string render_chunk(std::string_view bytes);

/// Ends a chunked body.
inline constexpr std::string_view last_chunk = "0\r\n\r\n";

/// Asks for a body that the client holds back (RFC 9110, 10.1.1).
inline constexpr std::string_view continue_line = "HTTP/1.1 100 Continue\r\n\r\n";

/// The server's own answer to a request that its handler never sees, as RFC 9457 has it. `detail` needs no escaping in
/// JSON.
server_response refusal(int status, const std::string& detail);

/// Takes a request's target apart into path, segments and query. False: it is not one that this server could serve.
bool read_target(std::string_view target, server_request& request);

} // namespace davit::transport
