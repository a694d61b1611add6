#include "messages/uuid.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <sys/random.h>

namespace davit {

namespace {

/// From the kernel, for many at a time: std::random_device asks the processor four times for each, which takes longer
/// than all else that is done with it.
uuid random_bytes() {
  thread_local std::array<std::uint8_t, 256> drawn; // the kernel gives so many whole: getrandom(2)
  thread_local std::size_t left = 0;
  while (left == 0)
    if (::getrandom(drawn.data(), drawn.size(), 0) == static_cast<ssize_t>(drawn.size()))
      left = drawn.size();
    else if (errno != EINTR)
      throw std::runtime_error("the system provides no random numbers");
  uuid result;
  left -= result.bytes.size();
  std::copy_n(drawn.begin() + static_cast<std::ptrdiff_t>(left), result.bytes.size(), result.bytes.begin());
  return result;
}

void stamp(uuid& id, std::uint8_t version) {
  id.bytes[6] = static_cast<std::uint8_t>((id.bytes[6] & 0x0f) | version << 4);
  id.bytes[8] = static_cast<std::uint8_t>((id.bytes[8] & 0x3f) | 0x80);
}

} // namespace

uuid uuid::make_v4() {
  auto result = random_bytes();
  stamp(result, 4);
  return result;
}

uuid uuid::make_v7() {
  // RFC 9562, 6.2, method 1: twelve bits of counter behind the millisecond keep the order within it.
  static std::mutex mutex;
  static std::uint64_t last_millisecond = 0;
  static std::uint32_t counter = 0;
  auto result = random_bytes();
  auto now = static_cast<std::uint64_t>(
    std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count());
  std::uint32_t ordinal = 0;
  {
    std::lock_guard guard{mutex};
    if (now > last_millisecond) {
      last_millisecond = now;
      counter = 0;
    } else if (++counter > 0xfff) {
      ++last_millisecond;
      counter = 0;
    }
    now = last_millisecond;
    ordinal = counter;
  }
  for (std::size_t i = 0; i < 6; ++i)
    result.bytes[i] = static_cast<std::uint8_t>(now >> (8 * (5 - i)));
  result.bytes[6] = static_cast<std::uint8_t>(ordinal >> 8);
  result.bytes[7] = static_cast<std::uint8_t>(ordinal);
  stamp(result, 7);
  return result;
}

std::string to_string(const uuid& id) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text(36, '-');
  auto at = text.begin();
  for (std::size_t i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10)
      ++at;
    *at++ = digits[id.bytes[i] >> 4];
    *at++ = digits[id.bytes[i] & 15];
  }
  return text;
}

bool from_string(std::string_view text, uuid& id) {
  if (text.size() != 36)
    return false;
  auto nibble = [](char c) -> int {
    if (c >= '0' && c <= '9')
      return c - '0';
    if (c >= 'a' && c <= 'f')
      return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
      return c - 'A' + 10;
    return -1;
  };
  uuid result;
  std::size_t at = 0;
  for (std::size_t i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) {
      if (text[at++] != '-')
        return false;
    }
    auto high = nibble(text[at]), low = nibble(text[at + 1]);
    if (high < 0 || low < 0)
      return false;
    result.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
    at += 2;
  }
  id = result;
  return true;
}

} // namespace davit
