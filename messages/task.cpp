#include "messages/attempt.hpp"

#include <algorithm>
#include <charconv>

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

std::string to_string(const label_limit& limit) {
  return limit.name + (limit.value.empty() ? "" : '=' + limit.value) + ": " + std::to_string(limit.most);
}

bool from_string(std::string_view text, label_limit& limit) {
  auto colon = text.rfind(':');
  if (colon == std::string_view::npos)
    return false;
  auto label = text.substr(0, colon), number = text.substr(colon + 1);
  number.remove_prefix(std::min(number.find_first_not_of(' '), number.size()));
  label_limit read;
  auto [end, code] = std::from_chars(number.data(), number.data() + number.size(), read.most);
  auto equals = label.find('=');
  read.name = label.substr(0, equals);
  if (equals != std::string_view::npos)
    read.value = label.substr(equals + 1);
  if (code != std::errc{} || end != number.data() + number.size() || read.most == 0 || read.name.empty()
      || (equals != std::string_view::npos && read.value.empty()))
    return false;
  limit = std::move(read);
  return true;
}

} // namespace davit
