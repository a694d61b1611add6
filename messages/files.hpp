// Files that go into a task's container before it starts, and come out of it when it has ended.
#pragma once

#include "messages/units.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace davit {

/// A tree of files that is unpacked into the container.
struct task_input {
  std::string tree; ///< Its name, `sha256:...`; one of the owner's.
  std::string path; ///< Absolute, in the container. A volume of the task's own is mounted there.

  bool operator==(const task_input&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, task_input& x) {
  return f.object(x).fields(f.field("tree", x.tree), f.field("path", x.path));
}

/// After which ends an output is collected.
enum class output_when : std::uint8_t { always, success, failure };
DAVIT_ENUM_TEXT(output_when, 3, "always", "success", "failure")

/// Whether it is collected after an end like this.
constexpr bool is_in_time(output_when when, bool succeeded) {
  return when != (succeeded ? output_when::failure : output_when::success);
}

/// Files of the container that are kept.
struct task_output {
  static constexpr bool json_omits_empty = true;

  std::string path; ///< Absolute: a file, a folder, or a pattern with `*`, `?`, `[...]` and `**`.
  output_when when = output_when::always;
  bool required = false;        ///< A task that succeeds without it has failed.
  std::optional<byte_size> max; ///< Of all its files together; default: the policy's.

  bool operator==(const task_output&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, task_output& x) {
  return f.object(x).fields(f.field("path", x.path), f.field("when", x.when), f.field("required", x.required),
                            f.field("max", x.max));
}

/// What became of an output.
enum class output_state : std::uint8_t {
  kept,
  missing, ///< There was nothing at its path.
  failed,  ///< It could not be collected; the message says why.
  skipped, ///< The attempt ended in another way than `when` says.
};
DAVIT_ENUM_TEXT(output_state, 4, "kept", "missing", "failed", "skipped")

struct slow_test {
  std::string name;
  double seconds = 0;

  bool operator==(const slow_test&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, slow_test& x) {
  return f.object(x).fields(f.field("name", x.name), f.field("seconds", x.seconds));
}

struct failed_test {
  static constexpr bool json_omits_empty = true;

  std::string name;
  std::string message; ///< One line; empty if the report has none.

  bool operator==(const failed_test&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, failed_test& x) {
  return f.object(x).fields(f.field("name", x.name), f.field("message", x.message));
}

/// What the JUnit XML among an output's files says. A test is a `testcase` element; each has failed, or had an error,
/// or was skipped, or has passed.
struct test_counts {
  static constexpr bool json_omits_empty = true;

  std::uint64_t reports = 0; ///< Files that were counted.
  std::uint64_t unread = 0;  ///< Reports that were not: they end early, are not XML, or are over a limit.
  std::uint64_t tests = 0;
  std::uint64_t failures = 0;
  std::uint64_t errors = 0;
  std::uint64_t skipped = 0;
  double seconds = 0;                ///< Of all tests together.
  std::vector<slow_test> slowest{};  ///< At most 5, the slowest first.
  std::vector<failed_test> failed{}; ///< The first 20 of those that failed or had an error.

  bool operator==(const test_counts&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, test_counts& x) {
  return f.object(x).fields(f.field("reports", x.reports), f.field("unread", x.unread), f.field("tests", x.tests),
                            f.field("failures", x.failures), f.field("errors", x.errors), f.field("skipped", x.skipped),
                            f.field("seconds", x.seconds), f.field("slowest", x.slowest), f.field("failed", x.failed));
}

struct collected_output {
  static constexpr bool json_omits_empty = true;

  std::string name;
  output_state state = output_state::skipped;
  std::string tree;        ///< Of one that is kept.
  std::uint64_t files = 0; ///< In the tree: files, links to them included.
  std::uint64_t bytes = 0; ///< Of its files.
  std::string message;
  std::optional<test_counts> tests{}; ///< If there are reports among its files.

  bool operator==(const collected_output&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, collected_output& x) {
  return f.object(x).fields(f.field("name", x.name), f.field("state", x.state), f.field("tree", x.tree),
                            f.field("files", x.files), f.field("bytes", x.bytes), f.field("message", x.message),
                            f.field("tests", x.tests));
}

/// What an upload has brought.
struct upload_summary {
  std::uint64_t blobs = 0;
  std::uint64_t bytes = 0;
};

template <class Inspector>
bool inspect(Inspector& f, upload_summary& x) {
  return f.object(x).fields(f.field("blobs", x.blobs), f.field("bytes", x.bytes));
}

} // namespace davit
