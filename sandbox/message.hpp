// davit's side of what it says to a sandbox's init, and hears of it. No I/O.
#pragma once

#include "messages/log.hpp"
#include "messages/uuid.hpp"

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

/// The nonce of a container's init (sandbox/hand_over.hpp), of what nobody else knows.
std::string nonce_of(const uuid& secret);

/// Whether the init seals its last word: one of an older davit does not.
bool seals(const std::string& nonce);

/// The nonce's public half, which names the init.
std::string mark_of(const std::string& nonce);

/// Where the volume of the nonce's init is mounted, and the program there. It follows from the key, so nobody knows it
/// before the container runs: no image holds a link to it, and no mount of a task can lie there.
std::string folder_of(const std::string& nonce);
std::string program_of(const std::string& nonce);

/// The line that an init of this nonce ends with, without its newline.
std::string report_line(const std::string& nonce, const sandbox_report& report);

/// Takes what the init says out of a sandbox's log. Its report is the last thing in each of the two streams, but may
/// stand behind a line without an end, and be cut as such a line is. A record that may have the beginning of it is kept
/// back until it is known. What bears no seal of the nonce is the task's own, whatever it looks like; the nonce of an
/// older davit (any that nonce_of does not give) has none, and whoever knows it is believed.
class report_reader {
public:
  /// Where its first record of standard output lies.
  enum class from : std::uint8_t {
    anywhere,  ///< In the middle, or at the beginning.
    middle,    ///< Behind others: the task had begun.
    beginning, ///< At the log's beginning, of an init that says there when the task begins. What standard error has
               ///< before anything came on standard output is kept back until then: if nothing ever comes there, it is
               ///< no task's (the runtime's complaint of a program that it could not execute).
  };

  explicit report_reader(const std::string& nonce, from where = from::anywhere);

  /// Whether this record is the task's own and nothing in front of it is kept back: it needs not be added. So are
  /// nearly all, and a log may have millions.
  bool passes(const log_record& record) const;

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
  std::optional<sandbox_report> parse(std::string_view text) const;
  bool take_report(const std::string& text, stream_state& state, std::vector<log_record>& own);
  std::size_t possible_report(const std::string& text) const;
  void give_whole(stream_state& state, std::size_t bytes, std::vector<log_record>& own);
  void pass(log_record record, std::vector<log_record>& own);
  stream_state& of(log_stream stream) { return stream == log_stream::err ? err_ : out_; }
  const stream_state& of(log_stream stream) const { return stream == log_stream::err ? err_ : out_; }

  std::string mark_;
  std::string key_; ///< Empty: the init is of an older davit.
  std::string begun_line_;
  from where_;
  bool begun_; ///< What comes is given.
  bool ran_;   ///< The task had begun, for certain.
  /// What came before the task was known to have begun. That is little, as the init says so first.
  std::vector<log_record> early_;
  stream_state out_, err_;
  std::optional<sandbox_report> report_;
};

} // namespace davit::init
