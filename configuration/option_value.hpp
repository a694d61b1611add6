// Reading an option's value from what CAF's parser made of it, and writing it as it stands in a file.
#pragma once

#include "actors/agent_context.hpp"

#include <caf/config_value.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace davit {

/// What a value was written as.
std::string written(const caf::config_value& value);

/// Each of these reads a value, or leaves it alone and says what it must be; empty: it was read.
std::string take(const caf::config_value& value, std::string& into);
std::string take(const caf::config_value& value, std::filesystem::path& into);
std::string take(const caf::config_value& value, bool& into);
std::string take(const caf::config_value& value, duration& into);
std::string take(const caf::config_value& value, byte_size& into);
std::string take(const caf::config_value& value, double& into);
std::string take(const caf::config_value& value, std::int64_t& into);
std::string take(const caf::config_value& value, std::vector<std::string>& into);

/// A century: longer ones are typing errors.
constexpr duration longest_duration = std::chrono::hours{876'000};

/// What is wrong with a bare number whose unit CAF's parser does not know, and what to write: for `10m`, 10min. Empty:
/// it is no such number.
std::string wrong_unit(const std::string& text);

/// Whether the text of a duration says more than that. CAF's parser lets such a number overflow into any other.
bool is_too_long(const std::string& text);

/// As it stands in a file, readable by `take`.
std::string shown(const std::string& value);
std::string shown(const std::filesystem::path& value);
std::string shown(bool value);
std::string shown(duration value);
std::string shown(byte_size value);
std::string shown(double value);
std::string shown(std::int64_t value);
std::string shown(std::uint32_t value);

template <has_text_form T>
requires std::is_enum_v<T> std::string take(const caf::config_value& value, T& into) {
  if (auto text = caf::get_if<std::string>(&value); text && from_string(*text, into))
    return {};
  return "must be " + expected_text(into);
}

template <has_text_form T>
std::string take(const caf::config_value& value, std::vector<T>& into) {
  std::vector<std::string> texts;
  if (auto wrong = take(value, texts); !wrong.empty())
    return wrong;
  std::vector<T> all;
  for (const auto& text : texts)
    if (T one{}; from_string(text, one))
      all.push_back(std::move(one));
    else
      return "must be a list, each entry " + expected_text(one);
  into = std::move(all);
  return {};
}

template <class T>
std::string take(const caf::config_value& value, std::optional<T>& into) {
  T inner{};
  auto wrong = take(value, inner);
  if (wrong.empty())
    into = std::move(inner);
  return wrong;
}

template <has_text_form T>
requires(!std::is_same_v<T, byte_size>) std::string shown(const T& value) {
  return shown(std::string{to_string(value)});
}

template <class T>
std::string shown(const std::vector<T>& values) {
  std::string text;
  for (const auto& one : values)
    text += (text.empty() ? "" : ", ") + shown(one);
  return '[' + text + ']';
}

/// The kinds of values, for people and for tests.
enum class value_kind : std::uint8_t { text, flag, duration, size, number, whole_number, list };
DAVIT_ENUM_TEXT(value_kind, 7, "text", "true or false", "duration", "size", "number", "whole number", "list of texts")

template <class T>
constexpr value_kind kind_of() {
  if constexpr (std::is_same_v<T, bool>)
    return value_kind::flag;
  else if constexpr (std::is_same_v<T, duration>)
    return value_kind::duration;
  else if constexpr (std::is_same_v<T, byte_size>)
    return value_kind::size;
  else if constexpr (std::is_floating_point_v<T>)
    return value_kind::number;
  else if constexpr (std::is_integral_v<T>)
    return value_kind::whole_number;
  else if constexpr (requires(T list) { list.push_back(typename T::value_type{}); } && !std::is_same_v<T, std::string>)
    return value_kind::list;
  else
    return value_kind::text;
}

} // namespace davit
