// The tests that the reports among an output's files tell of.
#pragma once

#include "actors/owner_blobs.hpp"
#include "blobs/tree.hpp"
#include "messages/files.hpp"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace davit {

/// How much of one output is read to count its tests. What is over a limit is `unread`.
struct report_limits {
  std::uint64_t files = 2000;             ///< Whose names end in `.xml`.
  std::uint64_t file_bytes = 16ull << 20; ///< Of one report.
  std::uint64_t bytes = 64ull << 20;      ///< Of all that is read.
};

/// Counts the tests in the JUnit XML among a tree's files: those whose names end in `.xml`. None: there is no report.
/// The texts are as they are in the reports (see encoding/junit.hpp): presentable() makes them fit to be seen. Blocks;
/// one file at a time, so it needs no more memory than one. `stopped`: asked between pieces; then what follows is
/// unread. An error: the blobs can't be read.
blobs::result<std::optional<test_counts>> count_tests(const blobs::tree& tree, owner_blobs& owner,
                                                      const std::function<bool()>& stopped,
                                                      const report_limits& limits = {});

/// The same for other sources of blobs.
blobs::result<std::optional<test_counts>> count_tests(const std::vector<const blobs::tree_entry*>& files,
                                                      blobs::blob_source& from, const std::function<bool()>& stopped,
                                                      const report_limits& limits = {});

/// The files of a tree whose names say that they may be reports: at most so many.
std::vector<const blobs::tree_entry*> possible_reports(const blobs::tree& tree);

/// The counts without the secrets that are to be hidden. Each name and message is one line of printable UTF-8: a name
/// has at most 200 bytes, a message 300. Seconds have six digits behind the point.
test_counts presentable(test_counts raw, const std::vector<std::string>& hidden);

} // namespace davit
