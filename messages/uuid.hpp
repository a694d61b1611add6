// Identities: RFC 9562 UUIDs. Version 7 sorts by the time it was made, version 4 is random.
#pragma once

#include "messages/text.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace davit {

struct uuid {
  std::array<std::uint8_t, 16> bytes{};

  auto operator<=>(const uuid&) const = default;

  /// True for the all-zero UUID, which stands for "none".
  bool nil() const noexcept { return *this == uuid{}; }

  /// Thread-safe. Within one process later calls give greater values, also within one millisecond.
  static uuid make_v7();

  /// Thread-safe; 122 bits from the operating system's random source.
  static uuid make_v4();
};

/// The canonical form: 36 characters, lower case.
std::string to_string(const uuid& id);
bool from_string(std::string_view text, uuid& id);
inline std::string expected_text(const uuid&) {
  return "a UUID such as 01939b7e-2c4f-7d3a-9a51-0123456789ab";
}

template <class Inspector>
bool inspect(Inspector& f, uuid& id) {
  return inspect_as_text(f, id);
}

using task_id = uuid;

} // namespace davit

template <>
struct std::hash<davit::uuid> {
  std::size_t operator()(const davit::uuid& id) const noexcept {
    std::uint64_t word = 0;
    for (int i = 8; i < 16; ++i)
      word = word << 8 | id.bytes[static_cast<std::size_t>(i)];
    return std::hash<std::uint64_t>{}(word ^ (std::uint64_t{id.bytes[5]} << 32));
  }
};
