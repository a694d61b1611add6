// Values to JSON, by the same `inspect` description that CAF serializes them with. The only JSON writer in davit.
#pragma once

#include "messages/units.hpp"

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <concepts>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace davit::json {

using boost::json::array;
using boost::json::object;
using boost::json::value;

template <class T>
value to_value(const T& x);

namespace detail {

template <class T>
concept omits_empty = requires {
  requires T::json_omits_empty;
};

/// What is given as empty is not the same as what is not given: an empty entrypoint hides the image's.
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

/// Bytes that are no UTF-8 become U+FFFD, so that what is written is always JSON.
std::string valid_utf8(std::string_view bytes);

class writer {
public:
  static constexpr bool is_loading = false;

  template <class T>
  struct field_ref {
    std::string_view name;
    T* value;
  };

  struct object_ref {
    writer* self;
    bool omit;

    template <class... Fields>
    bool fields(Fields... field) {
      boost::json::object result;
      (self->add(result, field, omit), ...);
      self->result = std::move(result);
      return true;
    }
  };

  template <class T>
  object_ref object(T&) {
    return {this, omits_empty<T>};
  }

  template <class T>
  field_ref<T> field(std::string_view name, T& value) {
    return {name, &value};
  }

  template <class Get, class Set>
  requires std::invocable<Get>
  bool apply(Get get, Set) {
    result = to_value(get());
    return true;
  }

  value result;

private:
  template <class T>
  void add(boost::json::object& target, field_ref<T> field, bool omit) {
    auto written = to_value(*field.value);
    if (omit && (written.is_null() || (!is_optional<T> && empty(written))))
      return;
    target.emplace(field.name, std::move(written));
  }

  static bool empty(const value& written) {
    return (written.is_string() && written.get_string().empty()) || (written.is_array() && written.get_array().empty())
        || (written.is_object() && written.get_object().empty());
  }
};

} // namespace detail

template <class T>
value to_value(const T& x) {
  if constexpr (std::is_same_v<T, value>) {
    return x;
  } else if constexpr (std::is_arithmetic_v<T>) { // bool too
    return value(x);
  } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return value(detail::valid_utf8(x));
  } else if constexpr (std::is_same_v<T, duration>) {
    return value(format_duration(x));
  } else if constexpr (std::is_same_v<T, timestamp>) {
    return value(format_timestamp(x));
  } else if constexpr (has_text_form<T>) {
    return value(to_string(x));
  } else if constexpr (requires {
                         x.has_value();
                         *x;
                       }) {
    return x.has_value() ? to_value(*x) : value(nullptr);
  } else if constexpr (requires { typename T::mapped_type; }) {
    boost::json::object result;
    for (const auto& [key, mapped] : x)
      result.emplace(detail::valid_utf8(key), to_value(mapped));
    return result;
  } else if constexpr (requires {
                         x.begin();
                         x.end();
                       }) {
    boost::json::array result;
    for (const auto& element : x)
      result.push_back(to_value(element));
    return result;
  } else {
    detail::writer sink;
    inspect(sink, const_cast<T&>(x)); // a writer only reads
    return std::move(sink.result);
  }
}

/// The value as one line of JSON.
template <class T>
std::string write(const T& x) {
  return boost::json::serialize(to_value(x));
}

} // namespace davit::json
