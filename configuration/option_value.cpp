#include "configuration/option_value.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace davit {

using caf::config_value;

std::string written(const config_value& value) {
  if (auto text = caf::get_if<std::string>(&value))
    return shown(*text);
  if (auto span = caf::get_if<caf::timespan>(&value); span && span->count() % 1'000'000 == 0)
    return shown(std::chrono::duration_cast<duration>(*span));
  return caf::to_string(value);
}

std::string take(const config_value& value, std::string& into) {
  if (auto text = caf::get_if<std::string>(&value)) {
    into = *text;
    return {};
  }
  return "must be a text in quotes";
}

std::string take(const config_value& value, std::filesystem::path& into) {
  std::string text;
  auto wrong = take(value, text);
  if (wrong.empty())
    into = text;
  return wrong;
}

std::string take(const config_value& value, bool& into) {
  if (auto flag = caf::get_if<bool>(&value)) {
    into = *flag;
    return {};
  }
  return "must be true or false";
}

std::string take(const config_value& value, duration& into) {
  if (auto span = caf::get_if<caf::timespan>(&value)) {
    if (span->count() < 0)
      return "must be 0 or longer";
    into = std::chrono::duration_cast<duration>(*span);
    return {};
  }
  if (auto text = caf::get_if<std::string>(&value))
    if (auto parsed = parse_duration(*text)) {
      into = *parsed;
      return {};
    }
  return "must be a duration such as 30s, 10min or 2h";
}

std::string wrong_unit(const std::string& text) {
  auto digits = text.find_first_not_of("0123456789.", text.starts_with('-') || text.starts_with('+') ? 1 : 0);
  if (digits == std::string::npos || digits == 0)
    return {};
  auto unit = text.substr(digits), number = text.substr(0, digits);
  if (unit.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != std::string::npos)
    return {};
  for (std::string_view known : {"ns", "us", "ms", "s", "min", "h"})
    if (unit == known)
      return {};
  if (unit.front() == 'e' || unit.front() == 'E' || unit.front() == 'x' || unit.front() == 'b' || unit.front() == 'B')
    return {}; // 1e9, 0x1f and 0b11 are numbers
  auto size = "; a size stands in quotes: \"" + text + '"';
  if (unit == "m")
    return text + " has no unit of time: minutes are min, so write " + number + "min" + size;
  if (unit == "d" && number.find('.') == std::string::npos && number.size() < 7)
    return text + " has no unit of time: write " + std::to_string(std::atol(number.c_str()) * 24) + "h" + size;
  return text + " has no unit of time; these are ns, us, ms, s, min and h" + size;
}

bool is_too_long(const std::string& text) {
  static constexpr std::pair<std::string_view, double> units[]
    = {{"ns", 1e-6}, {"us", 1e-3}, {"ms", 1}, {"s", 1e3}, {"min", 6e4}, {"h", 3.6e6}};
  auto digits = text.find_first_not_of("0123456789", text.starts_with('-') || text.starts_with('+') ? 1 : 0);
  if (digits == std::string::npos)
    return false;
  for (auto [unit, length] : units)
    if (text.substr(digits) == unit)
      return std::abs(std::strtod(text.c_str(), nullptr)) * length > static_cast<double>(longest_duration.count());
  return false;
}

std::string take(const config_value& value, byte_size& into) {
  if (auto number = caf::get_if<config_value::integer>(&value); number && *number >= 0) {
    into.bytes = static_cast<std::uint64_t>(*number);
    return {};
  }
  if (auto text = caf::get_if<std::string>(&value); text && from_string(*text, into))
    return {};
  return "must be " + expected_text(into) + " (in quotes)";
}

std::string take(const config_value& value, double& into) {
  if (auto number = caf::get_if<double>(&value)) {
    into = *number;
    return {};
  }
  if (auto number = caf::get_if<config_value::integer>(&value)) {
    into = static_cast<double>(*number);
    return {};
  }
  return "must be a number";
}

std::string take(const config_value& value, std::int64_t& into) {
  if (auto number = caf::get_if<config_value::integer>(&value)) {
    into = *number;
    return {};
  }
  return "must be a whole number";
}

std::string take(const config_value& value, std::vector<std::string>& into) {
  auto list = caf::get_if<config_value::list>(&value);
  if (!list)
    return "must be a list of texts, such as [\"a\", \"b\"]";
  std::vector<std::string> all;
  for (const auto& one : *list) {
    std::string text;
    if (auto wrong = take(one, text); !wrong.empty())
      return "must be a list of texts, each in quotes";
    all.push_back(std::move(text));
  }
  into = std::move(all);
  return {};
}

std::string shown(const std::string& value) {
  std::string text = "\"";
  for (auto c : value) {
    if (c == '"' || c == '\\')
      text += '\\';
    text += c;
  }
  return text + '"';
}

std::string shown(const std::filesystem::path& value) {
  return shown(value.string());
}

std::string shown(bool value) {
  return value ? "true" : "false";
}

std::string shown(duration value) {
  static constexpr std::pair<std::int64_t, const char*> units[] = {{3'600'000, "h"}, {60'000, "min"}, {1000, "s"}};
  for (auto [unit, name] : units)
    if (value.count() != 0 && value.count() % unit == 0)
      return std::to_string(value.count() / unit) + name;
  return value.count() == 0 ? "0s" : std::to_string(value.count()) + "ms";
}

std::string shown(byte_size value) {
  return shown(to_string(value));
}

std::string shown(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.12g", value);
  return text;
}

std::string shown(std::int64_t value) {
  return std::to_string(value);
}

std::string shown(std::uint32_t value) {
  return std::to_string(value);
}

} // namespace davit
