// `.dockerignore`, as docker reads it: moby's `ignorefile` and `patternmatcher`
// (https://github.com/moby/patternmatcher), whose rules are followed to the letter, odd ones too.
#pragma once

#include "blobs/error.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace davit::blobs {

/// The patterns of a `.dockerignore`: comments and blank lines gone, paths cleaned, a `/` in front taken away.
result<std::vector<std::string>> read_ignore_file(std::string_view text);

/// Which paths are left out. Matching may be done by several threads at once.
class ignore_patterns {
public:
  /// Leaves out nothing.
  ignore_patterns();
  ~ignore_patterns();
  ignore_patterns(ignore_patterns&&) noexcept;
  ignore_patterns& operator=(ignore_patterns&&) noexcept;

  /// `refused` with the pattern's text if docker would not take it.
  static result<ignore_patterns> compile(const std::vector<std::string>& patterns);

  bool empty() const;
  /// What a folder's patterns have said, for what is in it. Empty: nothing is known, the path's parents are asked too.
  using verdicts = std::vector<bool>;
  struct verdict {
    bool ignored = false;
    verdicts of_patterns;
  };
  /// `path` is relative, without `.` and `..`.
  verdict match(std::string_view path, const verdicts& parent = {}) const;
  /// Whether an ignored folder may hold something that is not ignored.
  bool may_hold_exceptions(std::string_view folder) const;

private:
  struct pattern;
  std::vector<pattern> patterns_;
};

/// Go's `filepath.Clean`: the shortest path that means the same, by its text.
std::string clean_path(std::string_view path);

} // namespace davit::blobs
