#include "blobs/ignore.hpp"

#include "blobs/ignore_text.hpp"

namespace davit::blobs {

namespace {

constexpr std::size_t longest_line = 64 << 10; // of Go's bufio.Scanner

} // namespace

std::string_view trimmed(std::string_view text) {
  // What Go's unicode.IsSpace takes for one.
  static constexpr std::string_view spaces[]
    = {" ",      "\t",     "\n",     "\v",     "\f",     "\r",     "\u0085", "\u00a0", "\u1680",
       "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006", "\u2007", "\u2008",
       "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};
  for (bool more = true; more;) {
    more = false;
    for (auto one : spaces) {
      if (text.starts_with(one)) {
        text.remove_prefix(one.size());
        more = true;
      }
      if (text.ends_with(one)) {
        text.remove_suffix(one.size());
        more = true;
      }
    }
  }
  return text;
}

std::string clean_path(std::string_view path) {
  if (path.empty())
    return ".";
  const bool rooted = path.front() == '/';
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    auto slash = path.find('/');
    auto part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part.empty() || part == ".")
      continue;
    if (part != "..")
      parts.push_back(part);
    else if (!parts.empty() && parts.back() != "..")
      parts.pop_back();
    else if (!rooted)
      parts.push_back(part);
  }
  std::string cleaned = rooted ? "/" : "";
  for (auto part : parts) {
    if (!cleaned.empty() && cleaned.back() != '/')
      cleaned += '/';
    cleaned += part;
  }
  return cleaned.empty() ? "." : cleaned;
}

result<std::vector<std::string>> read_ignore_file(std::string_view text) {
  std::vector<std::string> patterns;
  bool first = true;
  while (!text.empty()) {
    auto end = text.find('\n');
    auto line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.size() >= longest_line)
      return error{errc::refused, "a line of the ignore file has more than 64 KiB"};
    if (first && line.starts_with("\xef\xbb\xbf"))
      line.remove_prefix(3);
    first = false;
    if (line.starts_with('#'))
      continue;
    line = trimmed(line);
    if (line.empty())
      continue;
    bool exception = line.front() == '!';
    if (exception)
      line = trimmed(line.substr(1));
    auto pattern = line.empty() ? std::string{} : clean_path(line);
    if (pattern.size() > 1 && pattern.front() == '/')
      pattern.erase(0, 1);
    patterns.push_back((exception ? "!" : "") + pattern);
  }
  return patterns;
}

} // namespace davit::blobs
