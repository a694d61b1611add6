// Test reports as JUnit XML, in the dialects that are written today: there is no standard. Counted while they are read,
// by expat.
#pragma once

#include "messages/files.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

namespace davit::encoding {

/// A name or a message is kept up to here: what is as long may be the beginning of a longer one. Bytes.
inline constexpr std::size_t junit_text_bytes = 4096;

/// A `time` in seconds: `0.5`, `1,234.5`, `0,5`, `1e-05`. None: it is not a length of time.
std::optional<double> junit_seconds(std::string_view text);

/// What one of them says comes to what others said. Of the slowest 5 remain, of the failed 20.
void add_tests(test_counts& all, test_counts more);

enum class junit_end {
  counted,
  other,  ///< The outermost element is not `testsuites` and not `testsuite`, or the text does not begin as XML.
  unread, ///< It begins as a report, and is not XML to its end, has a test within a test, or more than is read.
};

/// Reads one report. Counted are the elements `testcase`, however deep the suites are and whatever is around them, and
/// not what the suites' own attributes say. Elements may have prefixes (`ns:testcase`). A test with a `failure` has
/// failed; with an `error` it had an error, and with `skipped` or as one that was not run it was skipped.
///
/// A document that declares anything (entities, attributes) is not read, and nothing outside of it is loaded.
/// Memory: at most 4 MiB, whatever the report has; about 200 KiB for usual ones. One thread at a time.
class junit_reader {
public:
  junit_reader();
  ~junit_reader();
  junit_reader(const junit_reader&) = delete;
  junit_reader& operator=(const junit_reader&) = delete;

  /// Reads on. False: how it ends is known, and nothing more need be given.
  bool feed(std::string_view piece);

  /// Whether it is known by now to begin as a report.
  bool is_report() const;

  /// That was all. If it is counted, adds one report to `all`. The texts are as they are in the report: UTF-8, up to
  /// junit_text_bytes. A message is what the attribute says, and below it the element's text.
  junit_end finish(test_counts& all);

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace davit::encoding
