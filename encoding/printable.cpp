#include "encoding/printable.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace davit::encoding {

namespace {

struct character {
  std::uint32_t code = 0;
  std::size_t size = 1;
  bool valid = false;
};

/// The character at the beginning of a text that is not empty: table 3-7 of the Unicode Standard. Not valid: one byte.
character first_of(std::string_view text) {
  auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  auto lead = byte(0);
  if (lead < 0x80)
    return {lead, 1, true};
  auto size = lead < 0xc2 ? 0u : lead < 0xe0 ? 2u : lead < 0xf0 ? 3u : lead < 0xf5 ? 4u : 0u;
  if (size == 0 || text.size() < size)
    return {};
  std::uint32_t code = lead & (0x7fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80)
      return {};
    code = code << 6 | (byte(i) & 0x3fu);
  }
  constexpr std::uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < least[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
    return {};
  return {code, size, true};
}

bool is_harmful(std::uint32_t code) {
  struct range {
    std::uint32_t first, last;
  };
  // Controls, and what Unicode calls default ignorable, except the selectors that choose between text and emoji.
  constexpr range harmful[] = {
    {0x00, 0x1f},       {0x7f, 0x9f},       // controls
    {0xad, 0xad},       {0x34f, 0x34f},     // soft hyphen; grapheme joiner
    {0x61c, 0x61c},     {0x115f, 0x1160},   // Arabic letter mark; Hangul fillers
    {0x17b4, 0x17b5},   {0x180b, 0x180f},   // Khmer vowels that are not seen; Mongolian selectors and separator
    {0x200b, 0x200f},   {0x2028, 0x202e},   // no width; marks; separators; embeddings and overrides
    {0x2060, 0x206f},   {0x3164, 0x3164},   // no width; isolates; deprecated format characters; Hangul filler
    {0xfeff, 0xfeff},   {0xffa0, 0xffa0},   // byte order mark; Hangul filler
    {0xfff0, 0xfffb},   {0x1bca0, 0x1bca3}, // interlinear annotation; shorthand format controls
    {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}, // musical format controls; tags and selectors
  };
  return std::any_of(std::begin(harmful), std::end(harmful),
                     [&](const range& one) { return code >= one.first && code <= one.last; });
}

/// Calls `spell(character, its bytes)` for what is to be seen; the rest is taken over.
template <class Spell>
std::string rewritten(std::string_view text, Spell spell) {
  std::string result;
  while (!text.empty()) {
    auto one = first_of(text);
    auto bytes = text.substr(0, one.size);
    if (one.valid && !is_harmful(one.code))
      result += bytes;
    else
      result += spell(one, bytes);
    text.remove_prefix(one.size);
  }
  return result;
}

std::string code_text(const char* format, unsigned value) {
  char text[16];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

} // namespace

std::string printable(std::string_view text) {
  return rewritten(text, [](const character& one, std::string_view bytes) -> std::string {
    if (one.valid && (one.code == '\t' || one.code == '\n'))
      return " ";
    std::string shown;
    for (unsigned char byte : bytes)
      shown += code_text("\\x%02x", byte);
    return shown;
  });
}

std::string printable_json(std::string_view json) {
  return rewritten(json, [](const character& one, std::string_view bytes) -> std::string {
    if (!one.valid)
      return "\\ufffd";
    if (one.code == '\t' || one.code == '\n')
      return std::string{bytes};
    if (one.code < 0x20) // in JSON it can only stand between values
      return " ";
    if (one.code < 0x10000)
      return code_text("\\u%04x", one.code);
    return code_text("\\u%04x", 0xd800 + ((one.code - 0x10000) >> 10))
         + code_text("\\u%04x", 0xdc00 + (one.code & 0x3ff));
  });
}

std::string cut_to(std::string text, std::size_t most) {
  constexpr std::string_view more = "...";
  if (text.size() <= most)
    return text;
  auto end = most - more.size();
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
    --end;
  text.resize(end);
  text += more;
  return text;
}

} // namespace davit::encoding
