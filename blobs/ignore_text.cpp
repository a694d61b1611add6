#include "blobs/ignore_text.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace davit::blobs {

std::size_t character_size(std::string_view text) {
  auto byte = [&](std::size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u; };
  auto lead = byte(0);
  if (lead < 0x80)
    return text.empty() ? 0 : 1;
  auto size = lead < 0xc2 ? 0u : lead < 0xe0 ? 2u : lead < 0xf0 ? 3u : lead < 0xf5 ? 4u : 0u;
  for (std::size_t i = 1; i < size; ++i)
    if ((byte(i) & 0xc0) != 0x80)
      return 0;
  auto second = byte(1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90)
      || (lead == 0xf4 && second > 0x8f))
    return 0;
  return size;
}

std::string as_utf8(std::string_view text) {
  std::string valid;
  while (!text.empty()) {
    auto size = character_size(text);
    if (size == 0)
      valid += "\xef\xbf\xbd";
    else
      valid += text.substr(0, size);
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return valid;
}

namespace {

/// One character of a class in brackets; none if that is malformed.
std::optional<std::uint32_t> take_class_character(std::string_view& text) {
  if (text.empty() || text.front() == '-' || text.front() == ']')
    return std::nullopt;
  if (text.front() == '\\')
    text.remove_prefix(1);
  auto size = character_size(text);
  if (size == 0 || size == text.size()) // something must follow
    return std::nullopt;
  auto lead = static_cast<unsigned char>(text.front());
  std::uint32_t code = size == 1 ? lead : lead & (0x7fu >> size);
  for (std::size_t i = 1; i < size; ++i)
    code = code << 6 | (static_cast<unsigned char>(text[i]) & 0x3fu);
  text.remove_prefix(size);
  return code;
}

/// What follows a `[`. Whether it matches "."; none if it is malformed.
std::optional<bool> take_class(std::string_view& text) {
  bool negated = text.starts_with('^'), matched = false;
  if (negated)
    text.remove_prefix(1);
  for (bool some = false;; some = true) {
    if (some && text.starts_with(']')) {
      text.remove_prefix(1);
      return matched != negated;
    }
    auto low = take_class_character(text), high = low;
    if (low && text.starts_with('-')) {
      text.remove_prefix(1);
      high = take_class_character(text);
    }
    if (!low || !high)
      return std::nullopt;
    matched = matched || (*low <= '.' && '.' <= *high);
  }
}

/// What lies between two stars. Whether it matches "."; none if it is malformed.
std::optional<bool> read_chunk(std::string_view chunk) {
  bool matched = true;
  std::size_t elements = 0;
  for (; !chunk.empty(); ++elements) {
    auto first = chunk.front();
    chunk.remove_prefix(1);
    if (first == '[') {
      auto found = take_class(chunk);
      if (!found)
        return std::nullopt;
      matched = matched && *found;
      continue;
    }
    if (first == '\\') {
      if (chunk.empty())
        return std::nullopt;
      matched = matched && chunk.front() == '.';
      chunk.remove_prefix(1);
    } else {
      matched = matched && (first == '.' || first == '?');
    }
  }
  return matched && elements == 1;
}

/// Up to the next star which is not in brackets.
std::size_t chunk_size(std::string_view pattern) {
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\')
      ++i;
    else if (pattern[i] == '[' || pattern[i] == ']')
      in_class = pattern[i] == '[';
    else if (pattern[i] == '*' && !in_class)
      return i;
  }
  return pattern.size();
}

} // namespace

bool is_accepted(std::string_view pattern) {
  // "." is used up by the first chunk that matches it, and no other matches what is left.
  for (bool left = true; !pattern.empty(); left = false) {
    pattern.remove_prefix(std::min(pattern.find_first_not_of('*'), pattern.size()));
    auto size = chunk_size(pattern);
    auto matched = read_chunk(pattern.substr(0, size));
    if (!matched)
      return false;
    if (!left || !*matched)
      return true;
    pattern.remove_prefix(size);
  }
  return true;
}

} // namespace davit::blobs
