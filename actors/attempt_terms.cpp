#include "actors/attempt_terms.hpp"

namespace davit {

namespace {

constexpr std::string_view timeout_begin = "timeout ", timeout_end = " (policy)",
                           input_words = "standard input under way", stop_begin = "stopping (", stop_end = ")",
                           between = "; ";

/// Takes what stands between the two from the text's beginning.
std::optional<std::string_view> taken(std::string_view& text, std::string_view begin, std::string_view end) {
  if (!text.starts_with(begin))
    return std::nullopt;
  auto to = text.find(end, begin.size());
  if (to == text.npos)
    return std::nullopt;
  auto inside = text.substr(begin.size(), to - begin.size());
  text.remove_prefix(to + end.size());
  if (text.starts_with(between))
    text.remove_prefix(between.size());
  return inside;
}

} // namespace

std::string text_of(const attempt_terms& terms) {
  std::string text;
  if (terms.timeout)
    text.append(timeout_begin).append(format_duration(*terms.timeout)).append(timeout_end);
  if (terms.input)
    text.append(text.empty() ? "" : between).append(input_words);
  if (terms.stop != ending::none)
    text.append(text.empty() ? "" : between).append(stop_begin).append(to_string(terms.stop)).append(stop_end);
  return text;
}

attempt_terms terms_of(std::string_view text) {
  attempt_terms terms;
  if (auto timeout = taken(text, timeout_begin, timeout_end))
    terms.timeout = parse_duration(*timeout);
  terms.input = taken(text, input_words, "").has_value();
  if (auto why = taken(text, stop_begin, stop_end))
    if (!from_string(*why, terms.stop))
      terms.stop = ending::none;
  return terms;
}

} // namespace davit
