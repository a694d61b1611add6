// What JSON from strangers must not be.
#pragma once

#include "json/read.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace davit::attestation {

inline constexpr int deepest_json = 64;

/// Why a document is refused whatever is in it: a field that is given twice in one object, which readers understand in
/// different ways, or more than `deepest_json` levels. Empty: it is not.
inline std::string wrong_shape(json::element from, int depth = 1) { // NOLINT(misc-no-recursion): bounded
  if (depth > deepest_json)
    return "it has more than " + std::to_string(deepest_json) + " levels";
  simdjson::dom::array list;
  if (from.get_array().get(list) == simdjson::SUCCESS)
    for (auto one : list)
      if (auto wrong = wrong_shape(one, depth + 1); !wrong.empty())
        return wrong;
  simdjson::dom::object fields;
  if (from.get_object().get(fields) != simdjson::SUCCESS)
    return {};
  std::vector<std::string_view> names;
  for (auto one : fields) {
    names.push_back(one.key);
    if (auto wrong = wrong_shape(one.value, depth + 1); !wrong.empty())
      return wrong;
  }
  std::sort(names.begin(), names.end());
  auto twice = std::adjacent_find(names.begin(), names.end());
  return twice == names.end() ? std::string{} : "the field \"" + std::string{*twice} + "\" is given twice";
}

} // namespace davit::attestation
