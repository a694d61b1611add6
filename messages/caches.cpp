#include "messages/caches.hpp"

namespace davit {

std::vector<std::string> cache_scopes(const std::string& scope) {
  std::vector<std::string> all;
  for (auto end = scope.size(); end != std::string::npos && end > 0; end = scope.rfind('/', end - 1))
    all.push_back(scope.substr(0, end));
  all.emplace_back();
  return all;
}

bool is_in_scope(std::string_view scope, std::string_view in) {
  return in.empty() || scope == in || (scope.starts_with(in) && scope[in.size()] == '/');
}

} // namespace davit
