// JSON to values, by the same `inspect` description that CAF serializes them with. The only JSON reader in davit.
#pragma once

#include "json/error.hpp"
#include "messages/units.hpp"

#include <simdjson.h>

#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace davit::json {

using element = simdjson::dom::element;

/// What to do with fields that the type does not have.
enum class unknown_fields { refuse, ignore };

namespace detail {

std::string unknown_field_message(std::string_view name, const std::vector<std::string_view>& known);
std::string kind_of(element source);

class reader {
public:
  static constexpr bool is_loading = true;

  reader(element source, unknown_fields unknown) : source_(source), unknown_(unknown) {}

  template <class T>
  struct field_ref {
    std::string_view name;
    T* value;
  };

  struct object_ref {
    reader* self;

    template <class... Fields>
    bool fields(Fields... field) {
      return self->read_object(field...);
    }
  };

  template <class T>
  object_ref object(T&) {
    return {this};
  }

  template <class T>
  field_ref<T> field(std::string_view name, T& value) {
    return {name, &value};
  }

  /// For types with a text form.
  template <class Get, class Set>
  requires std::invocable<Get>
  bool apply(Get, Set set) {
    std::string_view text;
    if (source_.get_string().get(text) != simdjson::SUCCESS)
      return fail("must be a string, not " + kind_of(source_));
    return set(std::string{text});
  }

  template <class T>
  bool read(T& target) {
    if constexpr (std::is_same_v<T, bool>) {
      return source_.get_bool().get(target) == simdjson::SUCCESS
          || fail("must be true or false, not " + kind_of(source_));
    } else if constexpr (std::is_integral_v<T>) {
      std::int64_t wide = 0;
      if (source_.get_int64().get(wide) != simdjson::SUCCESS) {
        std::uint64_t wider = 0;
        if constexpr (std::is_same_v<T, std::uint64_t>)
          if (source_.get_uint64().get(wider) == simdjson::SUCCESS) {
            target = wider;
            return true;
          }
        return fail("must be a whole number, not " + kind_of(source_));
      }
      if (!std::in_range<T>(wide))
        return fail("the number " + std::to_string(wide) + " is out of range");
      target = static_cast<T>(wide);
      return true;
    } else if constexpr (std::is_floating_point_v<T>) {
      double number = 0;
      if (source_.get_double().get(number) != simdjson::SUCCESS)
        return fail("must be a number, not " + kind_of(source_));
      target = static_cast<T>(number);
      return true;
    } else if constexpr (std::is_same_v<T, std::string>) {
      std::string_view text;
      if (source_.get_string().get(text) != simdjson::SUCCESS)
        return fail("must be a string, not " + kind_of(source_));
      target.assign(text);
      return true;
    } else if constexpr (std::is_same_v<T, duration>) {
      return read_text(target, parse_duration, "a duration such as 500ms, 10s, 5m or 1h30m");
    } else if constexpr (std::is_same_v<T, timestamp>) {
      return read_text(target, parse_timestamp, "a time such as 2026-01-31T12:00:00Z");
    } else if constexpr (has_text_form<T>) {
      std::string_view text;
      if (source_.get_string().get(text) != simdjson::SUCCESS)
        return fail("must be " + expected_text(target) + ", as a string, not " + kind_of(source_));
      return from_string(text, target) || fail("\"" + std::string{text} + "\" is not " + expected_text(target));
    } else if constexpr (requires {
                           target.has_value();
                           target.reset();
                         }) {
      if (source_.is_null()) {
        target.reset();
        return true;
      }
      return read(target.emplace());
    } else if constexpr (requires { typename T::mapped_type; }) {
      if (source_.is_null())
        return true;
      simdjson::dom::object members;
      if (source_.get_object().get(members) != simdjson::SUCCESS)
        return fail("must be an object, not " + kind_of(source_));
      target.clear();
      for (auto member : members) {
        auto [entry, made] = target.try_emplace(std::string{member.key});
        if (!made && unknown_ == unknown_fields::refuse) {
          error.path = member.key;
          return fail("is given twice");
        }
        if (!nested(member.key, member.value, entry->second))
          return false;
      }
      return true;
    } else if constexpr (requires { target.push_back(typename T::value_type{}); }) {
      if (source_.is_null()) // what Go writes for an empty slice
        return true;
      simdjson::dom::array elements;
      if (source_.get_array().get(elements) != simdjson::SUCCESS)
        return fail("must be an array, not " + kind_of(source_));
      target.clear();
      std::size_t index = 0;
      for (auto one : elements)
        if (!nested('[' + std::to_string(index++) + ']', one, target.emplace_back()))
          return false;
      return true;
    } else {
      return inspect(*this, target);
    }
  }

  json::error error;

private:
  template <class T, class Parse>
  bool read_text(T& target, Parse parse, std::string_view expected) {
    std::string_view text;
    if (source_.get_string().get(text) == simdjson::SUCCESS)
      if (auto parsed = parse(text)) {
        target = *parsed;
        return true;
      }
    return fail((source_.is_string() ? "\"" + std::string{text} + "\" is not " : "must be ") + std::string{expected});
  }

  template <class... Fields>
  bool read_object(Fields... field) {
    simdjson::dom::object members;
    if (source_.get_object().get(members) != simdjson::SUCCESS)
      return fail("must be an object, not " + kind_of(source_));
    static_assert(sizeof...(Fields) <= 64);
    std::uint64_t seen = 0;
    for (auto member : members) {
      bool known = false, good = true, again = false;
      unsigned index = 0;
      auto mark = [&](unsigned at) {
        again = (seen >> at & 1) != 0;
        seen |= std::uint64_t{1} << at;
        return known = true;
      };
      ((field.name == member.key ? (mark(index), good = nested(member.key, member.value, *field.value)) : false,
        ++index),
       ...);
      if (!good)
        return false;
      if (again && unknown_ == unknown_fields::refuse) { // readers differ in which of the two they take
        error.path = member.key;
        return fail("is given twice");
      }
      if (!known && unknown_ == unknown_fields::refuse) {
        error.path = member.key;
        error.message = unknown_field_message(member.key, {field.name...});
        return false;
      }
    }
    return true;
  }

  template <class T>
  bool nested(std::string_view step, element source, T& target) {
    reader inner{source, unknown_};
    if (inner.read(target))
      return true;
    error = std::move(inner.error);
    if (error.path.empty())
      error.path = step;
    else
      error.path = std::string{step} + (error.path.front() == '[' ? "" : ".") + error.path;
    return false;
  }

  bool fail(std::string message) {
    error.message = std::move(message);
    return false;
  }

  element source_;
  unknown_fields unknown_;
};

} // namespace detail

/// Parses text once and lets values be read from it. Not thread-safe. Keeps its memory for the next text.
class parser {
public:
  result<element> parse(std::string_view text);

private:
  simdjson::dom::parser parser_;
};

/// Reads a value from an element. Fields that are not there keep what `T{}` gives them.
template <class T>
result<T> read(element source, unknown_fields unknown) {
  T target{};
  detail::reader reader{source, unknown};
  if (reader.read(target))
    return target;
  return std::move(reader.error);
}

/// Reads a value from a text.
template <class T>
result<T> read(std::string_view text, unknown_fields unknown) {
  parser p;
  auto parsed = p.parse(text);
  if (!parsed)
    return parsed.error();
  return read<T>(*parsed, unknown);
}

/// What was read, on several lines, for people.
std::string write_indented(element x);

} // namespace davit::json
