#include "json/read.hpp"
#include "json/write.hpp"

#include <algorithm>
#include <numeric>

namespace davit::json {

namespace detail {

namespace {

/// How many letters must be changed, added, left out or swapped with their neighbour to make `a` into `b`.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> table(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i)
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        table[i][j] = i + j;
        continue;
      }
      table[i][j] = std::min({table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        table[i][j] = std::min(table[i][j], table[i - 2][j - 2] + 1);
    }
  return table[a.size()][b.size()];
}

} // namespace

std::string unknown_field_message(std::string_view name, const std::vector<std::string_view>& known) {
  std::string message = "unknown field";
  std::string_view best;
  auto least = std::max<std::size_t>(2, name.size() / 3) + 1;
  if (name.size() <= 64)
    for (auto candidate : known)
      if (auto distance = edit_distance(name, candidate); distance < least) {
        least = distance;
        best = candidate;
      }
  if (!best.empty())
    message.append(", did you mean \"").append(best).append("\"?");
  return message;
}

std::string kind_of(element source) {
  switch (source.type()) {
    case simdjson::dom::element_type::ARRAY:
      return "an array";
    case simdjson::dom::element_type::OBJECT:
      return "an object";
    case simdjson::dom::element_type::STRING:
      return "a string";
    case simdjson::dom::element_type::BOOL:
      return "true or false";
    case simdjson::dom::element_type::NULL_VALUE:
      return "null";
    case simdjson::dom::element_type::DOUBLE:
      return "a fraction";
    default:
      return "a number";
  }
}

std::string valid_utf8(std::string_view bytes) {
  if (simdjson::validate_utf8(bytes.data(), bytes.size()))
    return std::string{bytes};
  std::string result;
  result.reserve(bytes.size() + 16);
  for (std::size_t i = 0; i < bytes.size();) {
    auto lead = static_cast<unsigned char>(bytes[i]);
    std::size_t length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    if (length != 0 && i + length <= bytes.size() && simdjson::validate_utf8(bytes.data() + i, length)) {
      result.append(bytes.substr(i, length));
      i += length;
    } else {
      result += "\xef\xbf\xbd";
      ++i;
    }
  }
  return result;
}

} // namespace detail

namespace {

void write_indented(element x, std::string& out, std::size_t depth) {
  auto list = [&](char open, char close, auto items, auto write_one) {
    if (items.size() == 0) {
      out.append({open, close});
      return;
    }
    char before = open;
    for (const auto& one : items) {
      out.append({before, '\n'}).append(2 * depth + 2, ' ');
      before = ',';
      write_one(one);
    }
    out.append(1, '\n').append(2 * depth, ' ').append(1, close);
  };
  simdjson::dom::object fields;
  simdjson::dom::array items;
  if (x.get(fields) == simdjson::SUCCESS)
    list('{', '}', fields, [&](const auto& field) {
      out.append(boost::json::serialize(value(std::string{field.key}))).append(": ");
      write_indented(field.value, out, depth + 1);
    });
  else if (x.get(items) == simdjson::SUCCESS)
    list('[', ']', items, [&](element item) { write_indented(item, out, depth + 1); });
  else
    out += simdjson::minify(x);
}

} // namespace

std::string write_indented(element x) {
  std::string text;
  write_indented(x, text, 0);
  return text;
}

result<element> parser::parse(std::string_view text) {
  element root;
  if (text.empty())
    return error{"", "not valid JSON: it is empty"};
  if (auto code = parser_.parse(text.data(), text.size(), true).get(root); code != simdjson::SUCCESS)
    return error{"", std::string{"not valid JSON: "} + simdjson::error_message(code)};
  return root;
}

} // namespace davit::json
