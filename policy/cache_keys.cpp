#include "policy/cache_keys.hpp"

#include <algorithm>
#include <filesystem>

namespace davit {

namespace {

constexpr std::size_t longest_plain = 200, longest_pattern = 1000, longest_scope = 100;
constexpr std::size_t most_parts = 16;

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
      || std::string_view{"_.-+@:/="}.find(c) != std::string_view::npos;
}

} // namespace

std::vector<cache_key_part> read_cache_key(std::string_view text, std::string& wrong) {
  wrong.clear();
  std::vector<cache_key_part> parts;
  std::size_t plain = 0;
  auto bad = [&](std::string why) {
    wrong = std::move(why);
    return std::vector<cache_key_part>{};
  };
  if (text.empty())
    return bad("is empty");
  while (!text.empty()) {
    if (parts.size() == most_parts)
      return bad("has more than " + std::to_string(most_parts) + " parts");
    if (text.front() != '{') {
      auto end = std::min(text.find('{'), text.size());
      auto some = text.substr(0, end);
      if (!std::all_of(some.begin(), some.end(), is_plain))
        return bad("may have letters, digits and _ . - + @ : / = beside {hash:PATH}");
      plain += some.size();
      parts.push_back({false, std::string{some}});
      text.remove_prefix(end);
      continue;
    }
    constexpr std::string_view begin = "{hash:";
    auto end = text.find('}');
    if (!text.starts_with(begin) || end == std::string_view::npos)
      return bad("has a { that does not begin {hash:PATH}");
    auto pattern = text.substr(begin.size(), end - begin.size());
    if (pattern.empty())
      return bad("has a {hash:} without a path");
    if (pattern.front() == '!' || pattern.find('\0') != std::string_view::npos || pattern.size() > longest_pattern)
      return bad("has a {hash:...} that is no path or pattern of at most " + std::to_string(longest_pattern)
                 + " characters");
    parts.push_back({true, std::string{pattern}});
    text.remove_prefix(end + 1);
  }
  if (plain > longest_plain)
    return bad("is longer than " + std::to_string(longest_plain) + " characters");
  return parts;
}

std::string
place_of_hashed(const std::string& pattern, const std::string& workdir, const std::vector<task_input>& inputs) {
  auto from = pattern.starts_with('/') ? std::string{}
            : workdir.starts_with('/') ? workdir
            : inputs.size() == 1       ? inputs.front().path
                                       : std::string{};
  if (from.empty() && !pattern.starts_with('/'))
    return {};
  auto whole = std::filesystem::path{from + '/' + pattern}.lexically_normal().relative_path().string();
  while (whole.ends_with('/'))
    whole.pop_back();
  return whole;
}

std::string wrong_cache_scope(std::string_view scope) {
  if (scope.size() > longest_scope)
    return "is longer than " + std::to_string(longest_scope) + " characters";
  auto inside = '/' + std::string{scope} + '/';
  if (!scope.empty() && inside.find("//") != std::string::npos)
    return "has an empty part: write it as pr/7";
  auto plain = [](char c) { return c == '/' || c == '-' || c == '_' || c == '.' || (is_plain(c) && std::isalnum(c)); };
  if (!std::all_of(scope.begin(), scope.end(), plain))
    return "may have letters, digits, _ . - and / alone";
  return {};
}

} // namespace davit
