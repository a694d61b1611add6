#include "messages/units.hpp"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace davit {

namespace {

/// Reads a decimal number, with a fraction if there is one, off the front of `text`.
std::optional<double> take_number(std::string_view& text) {
  std::size_t length = 0;
  while (length < text.size() && ((text[length] >= '0' && text[length] <= '9') || text[length] == '.'))
    ++length;
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + length, value);
  if (length == 0 || error != std::errc{} || end != text.data() + length)
    return std::nullopt;
  text.remove_prefix(length);
  return value;
}

std::optional<std::int64_t> digits(std::string_view text) {
  std::int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value < 0)
    return std::nullopt;
  return value;
}

} // namespace

std::optional<duration> parse_duration(std::string_view text) {
  if (text == "0")
    return duration{0};
  if (text.empty())
    return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    auto number = take_number(text);
    if (!number)
      return std::nullopt;
    std::size_t length = 0;
    while (length < text.size() && text[length] >= 'a' && text[length] <= 'z')
      ++length;
    auto unit = text.substr(0, length);
    double factor = 0;
    if (unit == "ms")
      factor = 1;
    else if (unit == "s")
      factor = 1000;
    else if (unit == "m" || unit == "min")
      factor = 60'000;
    else if (unit == "h")
      factor = 3'600'000;
    else if (unit == "d")
      factor = 86'400'000;
    else
      return std::nullopt;
    total += *number * factor;
    text.remove_prefix(length);
  }
  if (!(total < 4e12)) // more than a century: a typing error, and near the end of what a time in nanoseconds can hold
    return std::nullopt;
  return duration{std::llround(total)};
}

std::string format_duration(duration value) {
  auto rest = value.count();
  if (rest == 0)
    return "0s";
  std::string text;
  auto take = [&](std::int64_t unit, const char* name) {
    if (rest >= unit) {
      text += std::to_string(rest / unit) + name;
      rest %= unit;
    }
  };
  take(86'400'000, "d");
  take(3'600'000, "h");
  take(60'000, "m");
  take(1000, "s");
  take(1, "ms");
  return text;
}

std::optional<timestamp> parse_timestamp(std::string_view text) {
  // 2026-11-24T03:35:55.730753637Z
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':'
      || text[16] != ':')
    return std::nullopt;
  auto year = digits(text.substr(0, 4)), month = digits(text.substr(5, 2)), day = digits(text.substr(8, 2));
  auto hour = digits(text.substr(11, 2)), minute = digits(text.substr(14, 2)), second = digits(text.substr(17, 2));
  if (!year || !month || !day || !hour || !minute || !second || *hour > 23 || *minute > 59 || *second > 60)
    return std::nullopt;
  std::chrono::year_month_day date{std::chrono::year{static_cast<int>(*year)},
                                   std::chrono::month{static_cast<unsigned>(*month)},
                                   std::chrono::day{static_cast<unsigned>(*day)}};
  // system_clock's nanoseconds hold the years 1678 to 2262; Go's zero time, year 1, is outside and is no time.
  if (!date.ok() || *year < 1678 || *year > 2261)
    return std::nullopt;
  text.remove_prefix(19);
  std::int64_t nanoseconds = 0;
  if (text.front() == '.') {
    std::size_t length = 1;
    while (length < text.size() && text[length] >= '0' && text[length] <= '9')
      ++length;
    if (length == 1 || length > 10)
      return std::nullopt;
    std::string fraction{text.substr(1, length - 1)};
    fraction.resize(9, '0');
    nanoseconds = *digits(fraction);
    text.remove_prefix(length);
  }
  std::int64_t offset_minutes = 0;
  if (text == "Z" || text == "z") {
  } else if (text.size() == 6 && (text[0] == '+' || text[0] == '-') && text[3] == ':') {
    auto hours = digits(text.substr(1, 2)), minutes = digits(text.substr(4, 2));
    if (!hours || !minutes)
      return std::nullopt;
    offset_minutes = (*hours * 60 + *minutes) * (text[0] == '-' ? -1 : 1);
  } else {
    return std::nullopt;
  }
  return timestamp{std::chrono::sys_days{date}.time_since_epoch() + std::chrono::hours{*hour}
                   + std::chrono::minutes{*minute - offset_minutes} + std::chrono::seconds{*second}
                   + std::chrono::nanoseconds{nanoseconds}};
}

std::string format_timestamp(timestamp value) {
  auto days = std::chrono::floor<std::chrono::days>(value);
  std::chrono::year_month_day date{days};
  std::chrono::hh_mm_ss time{value - days};
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%04d-%02u-%02uT%02d:%02d:%02d.%09lldZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                static_cast<int>(time.seconds().count()), static_cast<long long>(time.subseconds().count()));
  return buffer;
}

std::string to_string(byte_size size) {
  static constexpr std::pair<std::uint64_t, char> units[]
    = {{1ull << 40, 't'}, {1ull << 30, 'g'}, {1ull << 20, 'm'}, {1ull << 10, 'k'}};
  for (auto [unit, suffix] : units)
    if (size.bytes >= unit && size.bytes % unit == 0)
      return std::to_string(size.bytes / unit) + suffix;
  return std::to_string(size.bytes);
}

bool from_string(std::string_view text, byte_size& size) {
  auto number = take_number(text);
  if (!number)
    return false;
  double factor = 1;
  if (!text.empty()) {
    auto lower = static_cast<char>(text.front() | 0x20);
    if (lower == 'k')
      factor = 1024.0;
    else if (lower == 'm')
      factor = 1024.0 * 1024;
    else if (lower == 'g')
      factor = 1024.0 * 1024 * 1024;
    else if (lower == 't')
      factor = 1024.0 * 1024 * 1024 * 1024;
    else if (lower != 'b')
      return false;
    auto rest = text.substr(1);
    if (!(rest.empty() || (lower != 'b' && (rest == "b" || rest == "B" || rest == "ib" || rest == "iB"))))
      return false;
  }
  auto bytes = *number * factor;
  if (!(bytes < 9.2e18))
    return false;
  size.bytes = static_cast<std::uint64_t>(std::llround(bytes));
  return true;
}

} // namespace davit
