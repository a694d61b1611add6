// How values that have a text form describe it. A type with a text form offers three functions, found by its namespace:
//   std::string to_string(const T&);
//   bool        from_string(std::string_view, T&);   // false: the text is none, the value is left alone
//   std::string expected_text(const T&);             // what a person should have written
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <string>
#include <string_view>
#include <utility>

namespace davit {

template <class T>
concept has_text_form = requires(const T& value, T& target, std::string_view text) {
  { to_string(value) } -> std::convertible_to<std::string>;
  { from_string(text, target) } -> std::same_as<bool>;
  { expected_text(value) } -> std::convertible_to<std::string>;
};

/// The one line that an `inspect` of a type with a text form consists of.
template <class Inspector, has_text_form T>
bool inspect_as_text(Inspector& f, T& value) {
  auto get = [&value] { return std::string{to_string(value)}; };
  auto set = [&value](const std::string& text) { return from_string(text, value); };
  return f.apply(get, set);
}

/// The names of an enum's values, in the order of the values, which start at zero.
template <class Enum, std::size_t Count>
struct enum_names {
  std::array<std::string_view, Count> names;

  std::string name(Enum value) const { return std::string{names.at(static_cast<std::size_t>(value))}; }

  bool read(std::string_view text, Enum& value) const {
    auto found = std::find(names.begin(), names.end(), text);
    if (found == names.end())
      return false;
    value = static_cast<Enum>(found - names.begin());
    return true;
  }

  std::string choices() const {
    std::string result = "one of";
    for (const auto& name : names)
      result.append(&name == names.data() ? " " : ", ").append(name);
    return result;
  }
};

} // namespace davit

/// Gives an enum whose values start at zero its text form and its inspection.
#define DAVIT_ENUM_TEXT(Type, Count, ...)                                                                              \
  inline constexpr ::davit::enum_names<Type, Count> Type##_names{{__VA_ARGS__}};                                       \
  inline std::string to_string(Type value) {                                                                           \
    return Type##_names.name(value);                                                                                   \
  }                                                                                                                    \
  inline bool from_string(std::string_view text, Type& value) {                                                        \
    return Type##_names.read(text, value);                                                                             \
  }                                                                                                                    \
  inline std::string expected_text(Type) {                                                                             \
    return Type##_names.choices();                                                                                     \
  }                                                                                                                    \
  template <class Inspector>                                                                                           \
  bool inspect(Inspector& f, Type& value) {                                                                            \
    return ::davit::inspect_as_text(f, value);                                                                         \
  }
