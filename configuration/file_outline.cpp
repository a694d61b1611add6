#include "configuration/file_outline.hpp"

#include <string_view>
#include <utility>

namespace davit {

namespace {

constexpr std::size_t deepest = 32;

/// The bare word that begins as a number does, behind what space there is. Empty: something else stands there.
std::string number_at(const std::string& text, std::size_t from) {
  auto begin = text.find_first_not_of(" \t\r\n", from);
  if (begin == std::string::npos || std::string_view{"0123456789+-"}.find(text[begin]) == std::string_view::npos)
    return {};
  return text.substr(begin, text.find_first_of(" \t\r\n,}]#", begin) - begin);
}

} // namespace

file_outline outline_of(const std::string& text) {
  file_outline result;
  auto& lines = result.lines;
  auto& groups = result.open;
  auto& list = result.open_list;
  std::string word;
  int line = 1;
  std::size_t lists = 0;
  auto behind_equals = false, is_value = false;
  auto begin_word = [&] { is_value = std::exchange(behind_equals, false); };
  auto full = [&](const std::string& name) {
    std::string all;
    for (const auto& [group, _] : groups)
      all += group + '.';
    return all + name;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (groups.size() + lists > deepest) {
      result.too_deep = line;
      return result;
    }
    if (c == '\n') {
      ++line;
    } else if (c == '#') {
      while (i + 1 < text.size() && text[i + 1] != '\n')
        ++i;
    } else if (c == '"' || c == '\'') {
      std::string quoted;
      for (++i; i < text.size() && text[i] != c && text[i] != '\n'; ++i) {
        if (text[i] == '\\')
          ++i;
        if (i < text.size())
          quoted += text[i];
      }
      word = quoted;
      begin_word();
    } else if (c == '{') {
      if (word.find('.') != std::string::npos)
        result.dotted.emplace_back(word, line);
      if (!word.empty()) {
        lines.emplace(full(word), line);
        groups.emplace_back(std::exchange(word, {}), line);
      } else {
        groups.emplace_back("?", line);
      }
    } else if (c == '}') {
      word.clear();
      if (!groups.empty())
        groups.pop_back();
    } else if (c == '=') {
      if (word.find('.') != std::string::npos)
        result.dotted.emplace_back(word, line);
      if (!word.empty()) {
        auto name = full(word);
        if (!lines.emplace(name, line).second && name.find('?') == std::string::npos)
          result.repeated.emplace_back(name, line);
        if (auto number = number_at(text, i + 1); !number.empty())
          result.numbers.emplace(name, number);
      }
      word.clear();
      behind_equals = true;
    } else if (c == ' ' || c == '\t' || c == '\r' || c == ',' || c == '[' || c == ']') {
      if (c == '[') {
        list = line;
        ++lists;
      } else if (c == ']') {
        list = 0;
        lists -= lists > 0;
      }
      if (c == ',' || c == '[' || c == ']')
        word.clear();
    } else {
      if (i > 0 && (text[i - 1] == ' ' || text[i - 1] == '\t' || text[i - 1] == '\n' || text[i - 1] == '"'))
        word.clear();
      if (word.empty())
        begin_word();
      word += c;
    }
  }
  if (!word.empty() && !is_value && groups.empty())
    result.unused = {word, line};
  return result;
}

} // namespace davit
