#include "secrets/shell_quoting.hpp"

#include <algorithm>
#include <cstdio>
#include <string_view>

namespace davit::secrets {

namespace {

/// sh_single_quote of bash's lib/sh/shquote.c; zsh does the same.
std::string single_quoted(const std::string& value) {
  std::string text;
  for (char c : value)
    if (c == '\'')
      text += "'\\''";
    else
      text += c;
  return text;
}

/// single_quote of dash's mystring.c, which busybox has too: a run of quotes stands in double quotes. If the value ends
/// with one, no single quote follows.
std::string single_quoted_by_dash(const std::string& value) {
  std::string text;
  for (std::size_t at = 0; at < value.size();) {
    if (value[at] != '\'') {
      text += value[at++];
      continue;
    }
    auto end = std::min(value.find_first_not_of('\'', at), value.size());
    text += "'\"" + value.substr(at, end - at) + '"' + (end < value.size() ? "'" : "");
    at = end;
  }
  return text;
}

/// ansic_quote of bash's lib/sh/strtrans.c. `plain_above`: bytes from 0x80 stand as they are.
std::string dollar_quoted(const std::string& value, bool plain_above) {
  constexpr std::string_view special = "\a\b\033\f\n\r\t\v\\'", letters = "abEfnrtv\\'";
  std::string text;
  for (char c : value) {
    auto byte = static_cast<unsigned char>(c);
    if (auto found = special.find(c); found != std::string_view::npos) {
      text += '\\';
      text += letters[found];
    } else if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !plain_above)) {
      char code[5];
      std::snprintf(code, sizeof code, "\\%03o", byte);
      text += code;
    } else {
      text += c;
    }
  }
  return text;
}

std::string with_backslashes(const std::string& value, std::string_view before) {
  std::string text;
  for (char c : value) {
    if (before.find(c) != std::string_view::npos)
      text += '\\';
    text += c;
  }
  return text;
}

} // namespace

std::vector<std::string> shell_forms(const std::string& value) {
  auto bare = with_backslashes(value, " '\"\\|&;()<>!{}*[]?^$`,"); // sh_backslash_quote of bash's shquote.c
  if (value.starts_with('~') || value.starts_with('#'))
    bare.insert(0, 1, '\\');
  return {
    single_quoted(value), single_quoted_by_dash(value),     dollar_quoted(value, true), dollar_quoted(value, false),
    std::move(bare),      with_backslashes(value, "\"\\$`")};
}

} // namespace davit::secrets
