// One client that reads a task's log over HTTP.
#pragma once

#include "api/log_lines.hpp"
#include "messages/log.hpp"
#include "transport/exchange.hpp"

#include <optional>
#include <string>

namespace davit {

enum class log_format : std::uint8_t {
  text,        ///< The bytes, as they came.
  events,      ///< Server-Sent Events, a record each, JSON.
  multiplexed, ///< Docker's frames: stdout 1, stderr 2, davit's remarks 3.
};

/// What a client has asked for, and how far it has been served. Owned by the API's actor.
struct log_stream_state {
  transport::exchange_ptr client;
  log_format format = log_format::text;
  bool follow = false;
  bool timestamps = false;
  log_stream only = log_stream::none; ///< `none`: both.
  std::optional<timestamp> since;
  attempt_key at;                    ///< The attempt that is being read.
  std::optional<attempt_key> source; ///< Whose log that is, if it is the answer of an earlier one.
  bool source_known = false;         ///< Whether it is that was looked up.
  std::uint64_t offset = 0;
  int retries = 0;                   ///< Since the last page, while whoever keeps it can't be reached.
  bool one_attempt = false;          ///< The client named the attempt: later ones are not its affair.
  bool over = false;                 ///< Ended, or the client has gone.
  std::optional<tail_scan> tail;     ///< While the place where the last lines begin is being looked for.
  std::optional<tail_cut> cut;       ///< Once it was found.
  std::optional<std::uint64_t> last; ///< Offset of the end, where it is not what the log's own will be.
  open_lines shown;                  ///< Of what was rendered.
};

/// The attempt that an attempt's `answer_of` names: `TASK/NUMBER`. None: it names none.
std::optional<attempt_key> read_answer(const std::string& text);

/// Reads the query (`follow`, `since`, `stream`, `timestamps`, `tail`, `attempt`) and the headers Accept and
/// Last-Event-ID. False: `why` says which of them is wrong.
bool read_log_request(const transport::server_request& request, log_stream_state& stream, std::string& field,
                      std::string& why);

/// The content type of what is sent.
std::string content_type(log_format format);

/// Whether the client has asked for the record.
bool wanted(const log_stream_state& stream, const log_record& record);

/// What goes to the client for a record, the next one; `end` is the offset behind it.
std::string render(log_stream_state& stream, const log_record& record, std::uint64_t end);

/// Goes behind the last record.
std::string render_end(const log_stream_state& stream);

} // namespace davit
