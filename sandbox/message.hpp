// davit's side of what it says to a sandbox's init, and hears of it. No I/O.
#pragma once

#include "messages/log.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace davit::init {

/// The message that gives a sandbox its task; none if it can't be told: a NUL within a string, no argument, or more
/// than init::most_bytes.
std::optional<std::string> hand_over_message(const std::vector<std::string>& arguments,
                                             const std::map<std::string, std::string>& variables,
                                             const std::map<std::string, secret>& secrets, bool input);

/// Takes what the init says out of a sandbox's log. Its report is the last thing in each of the two streams, but may
/// stand behind a line without an end, and be cut as such a line is. A record that may have the beginning of it is kept
/// back until it is known.
class report_reader {
public:
  /// `from_beginning`: the log is read from its beginning, and its init says when the task begins. What standard error
  /// has before anything came on standard output is kept back until then: if nothing ever comes there, it is no task's
  /// (the runtime's complaint of a program that it could not execute).
  explicit report_reader(const std::string& nonce, bool from_beginning = false);

  /// Takes a record; gives what is the task's own.
  void add(log_record record, std::vector<log_record>& own);

  /// Nothing more comes: gives what was kept back, if it is the task's.
  void finish(std::vector<log_record>& own);

  /// Whether a record is kept back.
  bool keeps() const { return !out_.kept.empty() || !err_.kept.empty() || !early_.empty(); }

  /// This stream has ended with it.
  bool reported(log_stream stream) const { return (stream == log_stream::err ? err_ : out_).reported; }

  /// Both streams have ended with it: nothing more will come.
  bool whole() const { return out_.reported && err_.reported; }

  /// What it says, as soon as one of the streams has.
  const std::optional<sandbox_report>& report() const { return report_; }

private:
  struct stream_state {
    std::vector<log_record> kept; ///< Together they end with a part of the mark or of the report.
    bool reported = false;
  };
  void begin(std::vector<log_record>& own);
  void pass(log_record record, std::vector<log_record>& own);
  stream_state& of(log_stream stream) { return stream == log_stream::err ? err_ : out_; }

  std::string mark_;
  std::string begun_line_;
  bool begun_;
  /// What came before the task was known to have begun. That is little, as the init says so first.
  std::vector<log_record> early_;
  stream_state out_, err_;
  std::optional<sandbox_report> report_;
};

} // namespace davit::init
