// Durations, points in time and sizes: the types, and the text that people write for them.
#pragma once

#include "messages/text.hpp"

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace davit {

using duration = std::chrono::milliseconds;
using timestamp = std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds>;

/// `500ms`, `10s`, `5m` (or `5min`), `2h`, `1d`, and sums such as `1h30m`. Nothing negative, no bare number but 0.
std::optional<duration> parse_duration(std::string_view text);

/// The shortest text that parse_duration reads back to the same value.
std::string format_duration(duration value);

/// RFC 3339 in UTC with up to nine decimals, as the engine writes them.
std::optional<timestamp> parse_timestamp(std::string_view text);
std::string format_timestamp(timestamp value);

/// A number of bytes. In text as Docker's command line takes it: `512m`, `1g`, `64k`, `1073741824`; the suffixes are
/// powers of 1024.
struct byte_size {
  std::uint64_t bytes = 0;
  auto operator<=>(const byte_size&) const = default;
};

std::string to_string(byte_size size);
bool from_string(std::string_view text, byte_size& size);
inline std::string expected_text(byte_size) {
  return "a size such as 512m, 1g or 1048576";
}

template <class Inspector>
bool inspect(Inspector& f, byte_size& x) {
  return inspect_as_text(f, x);
}

} // namespace davit
