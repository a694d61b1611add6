#include "store/sql_values.hpp"

#include <algorithm>
#include <map>

namespace davit::store {

number now_number() {
  return number_of(std::chrono::time_point_cast<timestamp::duration>(std::chrono::system_clock::now()));
}

uuid read_id(const std::string& text) {
  uuid id;
  if (!from_string(text, id))
    throw std::runtime_error("the database holds \"" + text + "\", which is not a valid id");
  return id;
}

std::string spec_text(task_spec spec) {
  spec.secrets.clear();
  return json::write(spec);
}

std::string without_trace(const std::string& text) {
  auto spec = read_json<task_spec>(text);
  spec.traceparent.clear();
  return json::write(spec);
}

std::string secrets_text(const task_spec& spec) {
  std::map<std::string, std::string> sealed;
  for (const auto& [name, one] : spec.secrets) {
    if (!one.sealed)
      throw std::runtime_error("a secret must be sealed before it is stored");
    sealed[name] = one.value;
  }
  return sealed.empty() ? std::string{} : json::write(sealed);
}

void read_secrets(const std::string& secrets, task_spec& spec) {
  if (!secrets.empty())
    for (auto& [name, sealed] : read_json<std::map<std::string, std::string>>(secrets))
      spec.secrets[name] = {std::move(sealed), true};
}

std::string text_of(const std::string& bytes) {
  auto text = json::detail::valid_utf8(bytes);
  std::replace(text.begin(), text.end(), '\0', '?');
  return text;
}

std::string literal(const std::string& text) {
  std::string sql = "'";
  for (char c : text)
    sql.append(c == '\'' ? "''" : std::string(1, c));
  return sql + "'";
}

} // namespace davit::store
