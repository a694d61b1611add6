// Text from elsewhere on a terminal: every code point, and bytes that are none.
#include "encoding/printable.hpp"
#include "json/read.hpp"
#include "json/write.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cstdio>
#include <random>

using namespace davit;
using davit::encoding::printable;
using davit::encoding::printable_json;

namespace {

std::string utf8(std::uint32_t code) {
  auto tail = [&](unsigned shift) { return static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80)
    return {static_cast<char>(code)};
  if (code < 0x800)
    return {static_cast<char>(0xc0 | code >> 6), tail(0)};
  if (code < 0x10000)
    return {static_cast<char>(0xe0 | code >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xf0 | code >> 18), tail(12), tail(6), tail(0)};
}

std::string in_hexadecimal(const std::string& bytes) {
  std::string text;
  for (unsigned char byte : bytes) {
    char code[8];
    std::snprintf(code, sizeof code, "\\x%02x", byte);
    text += code;
  }
  return text;
}

/// The bytes that were shown as \xNN, back.
std::string from_hexadecimal(const std::string& text) {
  std::string bytes;
  for (std::size_t at = 0; at < text.size();)
    if (text.compare(at, 2, "\\x") == 0) {
      bytes += static_cast<char>(std::stoi(text.substr(at + 2, 2), nullptr, 16));
      at += 4;
    } else {
      bytes += text[at++];
    }
  return bytes;
}

std::string text_in(const std::string& json) {
  json::parser parser;
  auto root = parser.parse(json);
  REQUIRE(root.has_value());
  return std::string{root->get_string().value()};
}

/// Of control characters (Unicode's Cc), of those that change the direction of writing (UAX 9, table 4) and of letters
/// that look like a space.
bool must_be_seen(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x61c || code == 0x200e || code == 0x200f
      || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0x115f || code == 0x1160
      || code == 0x3164 || code == 0xffa0;
}

} // namespace

TEST_CASE("every code point comes through as it is or is shown; in JSON it means the same", "[printable]") {
  std::size_t shown = 0;
  for (std::uint32_t code = 0; code <= 0x10ffff; ++code) {
    if (code >= 0xd800 && code <= 0xdfff)
      continue;
    auto text = utf8(code), result = printable(text);
    auto same = result == text;
    shown += !same;
    if (same ? must_be_seen(code) : result != in_hexadecimal(text) && !(result == " " && (code == 9 || code == 10)))
      FAIL_CHECK("U+" << std::hex << code << " became " << result);
    auto json = json::write(json::value(text)), harmless = printable_json(json);
    if (text_in(harmless) != text)
      FAIL_CHECK("U+" << std::hex << code << " became " << harmless);
    if (!same && harmless.find_first_not_of("\"\\ubfnrtcde0123456789a") != std::string::npos)
      FAIL_CHECK("U+" << std::hex << code << " became " << harmless);
  }
  CHECK(shown < 4300); // letters, signs and pictures are not touched
  for (auto plain : {"caf\xc3\xa9", "\xe6\x97\xa5\xe6\x9c\xac", "\xf0\x9f\x9a\xa2", "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d"})
    CHECK(printable(plain) == plain);
}

TEST_CASE("random bytes become valid UTF-8 that shows each byte, and stays as it is the second time", "[printable]") {
  std::minstd_rand random{17};
  const std::string likely = "\x1b[0m\xc2\x9b\xe2\x80\xae\xed\xa0\x80\xc0\x80\xf4\x90\x80\x80\xff\xfe";
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (auto size = random() % 12; text.size() < size;)
      text += random() % 2 ? static_cast<char>(random() % 256) : likely[random() % likely.size()];
    std::erase(text, '\\');
    std::erase(text, '\n');
    std::erase(text, '\t');
    auto result = printable(text);
    INFO(in_hexadecimal(text) << " became " << result);
    CHECK(simdjson::validate_utf8(result));
    CHECK(from_hexadecimal(result) == text);
    CHECK(printable(result) == result);
    auto json = json::write(json::value(json::detail::valid_utf8(text)));
    CHECK(text_in(printable_json(json)) == text_in(json));
    CHECK(simdjson::validate_utf8(printable_json(text)));
  }
  CHECK(printable_json("{\n\t\"a\": 1\r\n}\n") == "{\n\t\"a\": 1 \n}\n");
}
