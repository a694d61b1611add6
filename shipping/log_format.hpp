// What a task's output looks like to those who keep logs: a line of JSON, Loki, OTLP, CloudWatch. Pure.
#pragma once

#include "messages/log.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace davit::shipping {

/// Whose output it is: what templates name and records carry.
struct log_names {
  std::string fleet, agent, engine, task, attempt, name, owner, image, traceparent;
  std::map<std::string, std::string> labels;
};

/// Why a template can't be expanded; empty if it can.
std::string wrong_template(std::string_view text);

/// Puts the attempt's names in for `{task}`, `{label:NAME}` and the like. A label that the task does not have is
/// `none`.
std::string expand(std::string_view text, const log_names& names);

/// The record's bytes as services take them: without the newline at its end; invalid UTF-8 is replaced.
std::string line_of(const log_record& record);

/// One JSON object and a newline: time, stream, line, and whose it is.
std::string json_line(const log_names& names, const log_record& record);

/// Body of Loki's `POST /loki/api/v1/push`. Labels are few and repeat; the task is structured metadata.
std::string loki_body(const std::string& job, const log_names& names, const std::vector<log_record>& records);

/// Body of OTLP's `POST /v1/logs`, in JSON.
std::string otlp_body(const std::string& service, const log_names& names, const std::vector<log_record>& records);

/// Part of a CloudWatch batch: what PutLogEvents takes at once.
struct cloudwatch_batch {
  std::size_t records = 0; ///< How many of the records are in it.
  std::string events;      ///< The JSON array.
};

/// The first of the records that fit into one PutLogEvents: 1 MiB with 26 bytes for each event, 10 000 events, 24
/// hours, in the order of time. A record that is too long for an event is cut into several. `from` leaves out records
/// at the beginning.
cloudwatch_batch next_cloudwatch_batch(const std::vector<log_record>& records, std::size_t from);

} // namespace davit::shipping
