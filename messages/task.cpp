#include "messages/task.hpp"

namespace davit {

std::string to_string(const backoff_range& range) {
  return format_duration(range.least) + ".." + format_duration(range.most);
}

bool from_string(std::string_view text, backoff_range& range) {
  auto dots = text.find("..");
  auto least = parse_duration(text.substr(0, dots));
  auto most = dots == std::string_view::npos ? least : parse_duration(text.substr(dots + 2));
  if (!least || !most || *least > *most)
    return false;
  range = {*least, *most};
  return true;
}

} // namespace davit
