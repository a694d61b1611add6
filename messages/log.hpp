// What a container printed, on its way from the engine to the disk and to readers.
#pragma once

#include "messages/attempt.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace davit {

enum class log_stream : std::uint8_t {
  none, ///< Not used in records.
  out,  ///< Standard output; with a TTY, all output.
  err,  ///< Standard error.
  note, ///< davit's own remark about the log: bytes that are missing, a limit that was reached.
};
DAVIT_ENUM_TEXT(log_stream, 4, "none", "stdout", "stderr", "note")

/// Bytes that the engine stamped together: mostly a line with its newline, or a part of a long one.
struct log_record {
  log_stream stream = log_stream::out;
  timestamp at;
  std::string bytes;
  bool operator==(const log_record&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, log_record& x) {
  return f.object(x).fields(f.field("stream", x.stream), f.field("at", x.at), f.field("bytes", x.bytes));
}

/// Where a stream's reader stands: the engine's stamps repeat, so the last one is told with how often it has come.
struct stream_cursor {
  timestamp at;
  std::uint32_t ordinal = 0;
  bool open = false;   ///< It did not end with a newline.
  timestamp high = {}; ///< The latest stamp so far: a clock that was set back stamps what follows earlier.

  /// The record is but the newline of the one before it: some engines lose it, and it is given back as a record of its
  /// own.
  bool ended_by(const log_record& record) const { return open && at == record.at && record.bytes == "\n"; }

  /// Goes on behind the record.
  void pass(const log_record& record) {
    if (!ended_by(record))
      ordinal = ordinal != 0 && at == record.at ? ordinal + 1 : 1;
    at = record.at;
    high = std::max(high, at);
    open = !record.bytes.ends_with('\n');
  }

  bool operator==(const stream_cursor&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, stream_cursor& x) {
  return f.object(x).fields(f.field("at", x.at), f.field("ordinal", x.ordinal), f.field("open", x.open),
                            f.field("high", x.high));
}

/// How far each stream has been read, and the ledger of what was.
struct log_cursor {
  stream_cursor out;
  stream_cursor err;
  bool empty() const { return out.ordinal == 0 && err.ordinal == 0; }
  const stream_cursor& of(log_stream stream) const { return stream == log_stream::err ? err : out; }
  stream_cursor& of(log_stream stream) { return stream == log_stream::err ? err : out; }
  bool operator==(const log_cursor&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, log_cursor& x) {
  return f.object(x).fields(f.field("out", x.out), f.field("err", x.err));
}

/// Bytes and rolling hash (XXH3, 64 bits) of one stream.
struct stream_ledger {
  std::uint64_t bytes = 0;
  std::uint64_t hash = 0;
};

template <class Inspector>
bool inspect(Inspector& f, stream_ledger& x) {
  return f.object(x).fields(f.field("bytes", x.bytes), f.field("hash", x.hash));
}

/// Some records of an attempt, from one source. `source` tells the streams of a connection apart.
struct log_batch {
  attempt_key key;
  std::uint64_t source = 0;
  std::uint64_t wire_bytes = 0; ///< What the credit is counted in.
  std::vector<log_record> records;
};

template <class Inspector>
bool inspect(Inspector& f, log_batch& x) {
  return f.object(x).fields(f.field("key", x.key), f.field("source", x.source), f.field("wire_bytes", x.wire_bytes),
                            f.field("records", x.records));
}

/// Permission to write an attempt's log, and where to continue. Batches of older sources are refused from now on.
struct log_lease {
  std::uint64_t source = 0;
  log_cursor cursor;
};

template <class Inspector>
bool inspect(Inspector& f, log_lease& x) {
  return f.object(x).fields(f.field("source", x.source), f.field("cursor", x.cursor));
}

/// Asks an engine's connection to read a container's log into the log keeper.
struct log_request {
  attempt_key key;
  std::string container;
  bool tty = false;
  bool follow = true; ///< False: only what is there now.
  bool tail
    = false; ///< A reader before this one has written all that it came across: the log's last records may be enough.
  log_lease lease;
  std::vector<secret> secrets; ///< In clear: masked before anything is written.
  std::string nonce;           ///< Of a sandbox: what its init says is not the task's output.
  bool says_begun
    = false; ///< The init says when the task begins: what comes before that is not the task's output either.
};

template <class Inspector>
bool inspect(Inspector& f, log_request& x) {
  return f.object(x).fields(f.field("key", x.key), f.field("container", x.container), f.field("tty", x.tty),
                            f.field("follow", x.follow), f.field("tail", x.tail), f.field("lease", x.lease),
                            f.field("secrets", x.secrets), f.field("nonce", x.nonce),
                            f.field("says_begun", x.says_begun));
}

/// What the init of a sandbox says when it ends.
enum class sandbox_word : std::uint8_t {
  unused,   ///< No task came.
  exec,     ///< The task's command could not be executed: the number is an errno.
  exited,   ///< The number is the task's exit code.
  signaled, ///< The number is the signal that killed it.
};
DAVIT_ENUM_TEXT(sandbox_word, 4, "unused", "exec", "exited", "signaled")

struct sandbox_report {
  sandbox_word word = sandbox_word::unused;
  std::int32_t number = 0;
  /// Processes of the container that were killed for its memory limit, if it could be told.
  std::optional<std::int32_t> oom_kills;
  bool operator==(const sandbox_report&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, sandbox_report& x) {
  return f.object(x).fields(f.field("word", x.word), f.field("number", x.number), f.field("oom_kills", x.oom_kills));
}

/// A container's log has ended, and is written.
struct log_end {
  bool complete = false; ///< Nothing that was read is kept back for what may follow it.
  /// Of a sandbox: then nothing more will come, though the container may take a while to end.
  std::optional<sandbox_report> report;
};

template <class Inspector>
bool inspect(Inspector& f, log_end& x) {
  return f.object(x).fields(f.field("complete", x.complete), f.field("report", x.report));
}

/// Asks for a piece of an attempt's log.
struct log_query {
  attempt_key key;
  std::uint64_t offset = 0; ///< Of the piece, as an earlier page gave it; 0 is the beginning.
  std::uint32_t max_bytes = 256 * 1024;
  duration wait{0}; ///< How long to wait for a first record, if there is none yet and the log is still open.
  bool elsewhere
    = false; ///< The attempt belongs to another agent: trust a local copy of its log only if it is complete.
};

template <class Inspector>
bool inspect(Inspector& f, log_query& x) {
  return f.object(x).fields(f.field("key", x.key), f.field("offset", x.offset), f.field("max_bytes", x.max_bytes),
                            f.field("elsewhere", x.elsewhere), f.field("wait", x.wait));
}

/// A piece of an attempt's log.
struct log_page {
  std::vector<log_record> records;
  std::vector<std::uint64_t> ends; ///< Of each record: the offset behind it.
  std::uint64_t next = 0;          ///< Offset of what follows.
  bool finished = false;           ///< The log has ended: nothing follows.
};

template <class Inspector>
bool inspect(Inspector& f, log_page& x) {
  return f.object(x).fields(f.field("records", x.records), f.field("ends", x.ends), f.field("next", x.next),
                            f.field("finished", x.finished));
}

/// How long a log is.
struct log_extent {
  attempt_key key;
  std::uint64_t bytes = 0; ///< As offsets count them.
  bool finished = false;   ///< It does not grow any more.
};

template <class Inspector>
bool inspect(Inspector& f, log_extent& x) {
  return f.object(x).fields(f.field("key", x.key), f.field("bytes", x.bytes), f.field("finished", x.finished));
}

/// Attempts of one agent whose end was stored.
struct ended_attempts {
  std::vector<attempt_key> keys;
  std::int64_t next = 0; ///< Where the next page begins; 0: that was the last.
};

template <class Inspector>
bool inspect(Inspector& f, ended_attempts& x) {
  return f.object(x).fields(f.field("keys", x.keys), f.field("next", x.next));
}

/// The totals of an attempt's log.
struct log_summary {
  stream_ledger out;
  stream_ledger err;
  std::uint64_t dropped = 0; ///< Bytes that came and were not kept, for the size limit.
  bool gaps = false;         ///< The engine has lost some bytes; the log says where.
  std::string tail;          ///< The last bytes of stdout and stderr, at most a mebibyte, if asked for.
  bool fits = false;         ///< The tail, by the task's validator.
  /// The whole log as the store keeps it, if it is small: then it is durable with the attempt's outcome.
  std::string packed;
};

template <class Inspector>
bool inspect(Inspector& f, log_summary& x) {
  return f.object(x).fields(f.field("out", x.out), f.field("err", x.err), f.field("dropped", x.dropped),
                            f.field("gaps", x.gaps), f.field("tail", x.tail), f.field("fits", x.fits),
                            f.field("packed", x.packed));
}

// -- sinks: where logs are sent beside the log keeper
// ------------------------------------------------------------------

enum class sink_type : std::uint8_t { file, console, cloudwatch, loki, otlp };
DAVIT_ENUM_TEXT(sink_type, 5, "file", "stdout", "cloudwatch", "loki", "otlp")

/// A sink as the configuration describes it. `{fleet} {agent} {engine} {task} {attempt} {name} {owner} {image}` and
/// `{label:NAME}` in a template stand for the attempt's.
struct sink_settings {
  std::string name;
  sink_type type = sink_type::file;
  std::string path;                ///< Of a file.
  byte_size max_size{64ull << 20}; ///< Of a file: then it is rotated.
  std::uint32_t max_files = 5;     ///< Rotated ones that are kept.
  std::string url;                 ///< Of a service; CloudWatch: only if it is not AWS's own.
  std::string region;              ///< Of CloudWatch.
  std::string group{"davit"};      ///< Template: CloudWatch's log group; Loki's label `job`; OTLP's service.name.
  std::string stream{"{task}/{attempt}"}; ///< Template: CloudWatch's log stream.
  std::string token_file;                 ///< Bearer token for Loki and OTLP.
  std::string tenant;                     ///< Loki's X-Scope-OrgID.
  std::string tls_ca;                     ///< PEM file; empty: the system's authorities.
  byte_size max_backlog{256ull << 20};    ///< Bytes of output that may wait to be sent; more is dropped and counted.
};

/// A sink's state.
struct sink_status {
  std::string name;
  std::string type;
  std::string message;       ///< Why the last delivery failed; empty if it did not.
  std::uint64_t records = 0; ///< Sent since the agent's start.
  std::uint64_t bytes = 0;
  std::uint64_t dropped = 0;  ///< Bytes.
  std::uint64_t failures = 0; ///< Deliveries that were refused or got no answer.
  std::uint64_t backlog = 0;  ///< Logs that are not completely sent.
};

template <class Inspector>
bool inspect(Inspector& f, sink_status& x) {
  return f.object(x).fields(f.field("name", x.name), f.field("type", x.type), f.field("message", x.message),
                            f.field("records", x.records), f.field("bytes", x.bytes), f.field("dropped", x.dropped),
                            f.field("failures", x.failures), f.field("backlog", x.backlog));
}

} // namespace davit
