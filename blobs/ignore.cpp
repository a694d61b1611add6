#include "blobs/ignore.hpp"

#include "blobs/ignore_text.hpp"
#include "encoding/printable.hpp"

#include <re2/re2.h>

#include <algorithm>
#include <cstdint>

namespace davit::blobs {

namespace {

enum class match_kind : std::uint8_t { exact, prefix, suffix, expression };

struct translation {
  match_kind kind = match_kind::exact;
  std::string expression = "^";
};

/// `Pattern.compile` of moby's patternmatcher, step by step.
translation translate(std::string_view text) {
  translation to;
  auto take = [&] {
    auto size = std::max<std::size_t>(character_size(text), 1);
    auto one = as_utf8(text.substr(0, size));
    text.remove_prefix(size);
    return one;
  };
  if (text.starts_with("\xef\xbb\xbf")) // Go's text scanner skips it
    text.remove_prefix(3);
  for (bool first = true; !text.empty(); first = false) {
    auto one = take();
    if (one == "*" && text.starts_with('*')) {
      take();
      if (text.starts_with('/'))
        take();
      if (!text.empty()) {
        to.expression += "(.*/)?";
        to.kind = match_kind::expression;
      } else if (to.kind == match_kind::exact) {
        to.kind = match_kind::prefix;
      } else {
        to.expression += ".*";
        to.kind = match_kind::expression;
      }
      if (first)
        to.kind = match_kind::suffix;
    } else if (one == "*" || one == "?") {
      to.expression += one == "*" ? "[^/]*" : "[^/]";
      to.kind = match_kind::expression;
    } else if (one == "\\") {
      to.expression += '\\';
      if (!text.empty()) {
        to.expression += take();
        to.kind = match_kind::expression;
      }
    } else if (one == "[" || one == "]") {
      to.expression += one;
      to.kind = match_kind::expression;
    } else {
      // Not `|{}`: moby means to escape them too, but its table has no room for them.
      if (one.size() == 1 && std::string_view{".+()$"}.find(one.front()) != std::string_view::npos)
        to.expression += '\\';
      to.expression += one;
    }
  }
  to.expression += '$';
  return to;
}

} // namespace

struct ignore_patterns::pattern {
  std::string text;
  bool exception = false;
  match_kind kind = match_kind::exact;
  std::unique_ptr<re2::RE2> expression;

  /// `valid` is the path as UTF-8.
  bool matches(std::string_view path, std::string_view valid) const {
    switch (kind) {
      case match_kind::exact:
        return path == text;
      case match_kind::prefix:
        return path.starts_with(std::string_view{text}.substr(0, text.size() - 2));
      case match_kind::suffix: {
        auto suffix = std::string_view{text}.substr(2);
        return path.ends_with(suffix) || (suffix.starts_with('/') && path == suffix.substr(1));
      }
      case match_kind::expression:
        return re2::RE2::PartialMatch(re2::StringPiece{valid.data(), valid.size()}, *expression);
    }
    return false;
  }

  bool matches_with_parents(std::string_view path, std::string_view valid) const {
    if (matches(path, valid))
      return true;
    for (auto slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/', slash + 1)) {
      auto parent = path.substr(0, slash);
      if (matches(parent, as_utf8(parent)))
        return true;
    }
    return false;
  }
};

ignore_patterns::ignore_patterns() = default;
ignore_patterns::~ignore_patterns() = default;
ignore_patterns::ignore_patterns(ignore_patterns&&) noexcept = default;
ignore_patterns& ignore_patterns::operator=(ignore_patterns&&) noexcept = default;

bool ignore_patterns::empty() const {
  return patterns_.empty();
}

result<ignore_patterns> ignore_patterns::compile(const std::vector<std::string>& patterns) {
  ignore_patterns compiled;
  for (const auto& written : patterns) {
    auto refuse = [&] {
      return error{errc::refused,
                   "\"" + encoding::printable(written.substr(0, 300)) + "\" is not a valid pattern of files"};
    };
    auto text = trimmed(written);
    if (text.empty())
      continue;
    pattern one;
    one.text = clean_path(text);
    one.exception = one.text.front() == '!';
    if (one.exception)
      one.text.erase(0, 1);
    if (one.text.empty() || !is_accepted(one.text))
      return refuse();
    auto translated = translate(one.text);
    one.kind = translated.kind;
    if (one.kind == match_kind::expression) {
      re2::RE2::Options options;
      options.set_log_errors(false);
      one.expression = std::make_unique<re2::RE2>(translated.expression, options);
      if (!one.expression->ok())
        return refuse();
    }
    compiled.patterns_.push_back(std::move(one));
  }
  return compiled;
}

/// `MatchesUsingParentResults` of moby's patternmatcher.
ignore_patterns::verdict ignore_patterns::match(std::string_view path, const verdicts& parent) const {
  verdict said;
  said.of_patterns.resize(patterns_.size());
  const auto valid = as_utf8(path);
  for (std::size_t i = 0; i < patterns_.size(); ++i) {
    const auto& one = patterns_[i];
    bool matched = !parent.empty() && parent[i];
    if (!matched) {
      if (one.exception != said.ignored)
        continue;
      matched = parent.empty() ? one.matches_with_parents(path, valid) : one.matches(path, valid);
    }
    said.of_patterns[i] = matched;
    if (matched)
      said.ignored = !one.exception;
  }
  return said;
}

/// An exception with nothing but a path in front of its last part can be told from the path; all others may be
/// anywhere.
bool ignore_patterns::may_hold_exceptions(std::string_view folder) const {
  const auto inside = std::string{folder} + '/';
  for (const auto& one : patterns_) {
    if (!one.exception)
      continue;
    auto plain = one.text.find_first_of("*[?\\");
    if (plain != std::string::npos || (one.text + '/').starts_with(inside))
      return true;
  }
  return false;
}

} // namespace davit::blobs
