#include "actors/container_user.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

namespace davit {

namespace {

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t value = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || code != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

std::pair<std::string_view, std::string_view> split(std::string_view user) {
  auto colon = user.find(':');
  return {user.substr(0, colon), colon == std::string_view::npos ? std::string_view{} : user.substr(colon + 1)};
}

std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> fields;
  for (std::size_t at = 0; at <= line.size();) {
    auto colon = std::min(line.find(':', at), line.size());
    fields.push_back(line.substr(at, colon - at));
    at = colon + 1;
  }
  return fields;
}

/// The fields of the first line of which `fits` says so; none: there is no such line.
template <class Fits>
std::optional<std::vector<std::string_view>> first_line(std::string_view text, std::size_t least_fields, Fits fits) {
  while (!text.empty()) {
    auto end = std::min(text.find('\n'), text.size());
    auto fields = fields_of(text.substr(0, end));
    if (fields.size() >= least_fields && fits(fields))
      return fields;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::nullopt;
}

} // namespace

bool needs_passwd(std::string_view user) {
  auto [name, group] = split(user);
  auto number = number_in(name);
  return !name.empty() && (!number || (group.empty() && *number != 0));
}

bool needs_group(std::string_view user) {
  auto group = split(user).second;
  return !group.empty() && !number_in(group);
}

container_user find_user(std::string_view user, std::string_view passwd, std::string_view group) {
  container_user found;
  auto [name, of_group] = split(user);
  auto number = number_in(name);
  found.user = number.value_or(0);
  if (needs_passwd(user)) {
    auto line = first_line(passwd, 4, [&, name = name](const auto& fields) {
      return fields[0] == name || (number && number_in(fields[2]) == number);
    });
    if (line) {
      found.user = number_in((*line)[2]).value_or(0);
      found.group = number_in((*line)[3]).value_or(0);
    }
  }
  if (of_group.empty())
    return found;
  if (auto by_number = number_in(of_group)) {
    found.group = *by_number;
    return found;
  }
  auto line = first_line(group, 3, [&, of_group = of_group](const auto& fields) { return fields[0] == of_group; });
  found.group = line ? number_in((*line)[2]).value_or(0) : 0;
  return found;
}

} // namespace davit
