// Integers in bytes, little-endian, and a cursor that never leaves its bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace davit::blobs {

template <class Integer>
void append_integer(std::string& to, Integer value) {
  auto bits = static_cast<std::make_unsigned_t<Integer>>(value);
  for (std::size_t i = 0; i < sizeof value; ++i)
    to += static_cast<char>(static_cast<std::uint64_t>(bits) >> (8 * i) & 0xff);
}

class byte_cursor {
public:
  explicit byte_cursor(std::string_view bytes) : rest_(bytes) {}

  template <class Integer>
  bool take(Integer& value) {
    if (rest_.size() < sizeof value)
      return false;
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < sizeof value; ++i)
      bits |= static_cast<std::uint64_t>(static_cast<unsigned char>(rest_[i])) << (8 * i);
    value = static_cast<Integer>(static_cast<std::make_unsigned_t<Integer>>(bits));
    rest_.remove_prefix(sizeof value);
    return true;
  }
  std::optional<std::string_view> take_bytes(std::uint64_t size) {
    if (rest_.size() < size)
      return std::nullopt;
    auto taken = rest_.substr(0, static_cast<std::size_t>(size));
    rest_.remove_prefix(taken.size());
    return taken;
  }
  std::size_t left() const { return rest_.size(); }

private:
  std::string_view rest_;
};

} // namespace davit::blobs
