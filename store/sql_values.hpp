// Values as the database has them: times are nanoseconds since 1970, ids and enums texts, the rest JSON.
#pragma once

#include "messages/task.hpp"

#include "json/read.hpp"
#include "json/write.hpp"

#include <optional>
#include <stdexcept>
#include <string>

namespace davit::store {

using number = long long;

/// Held by whoever makes an attempt an answer of another task's, and by whoever forgets tasks.
inline const std::string memo_lock = "answers";

inline number number_of(timestamp at) {
  return at.time_since_epoch().count();
}

inline number number_of(duration time) {
  return std::chrono::nanoseconds{time}.count();
}

inline std::optional<number> number_of(std::optional<timestamp> at) {
  return at ? std::optional{number_of(*at)} : std::nullopt;
}

inline timestamp read_time(number value) {
  return timestamp{std::chrono::nanoseconds{value}};
}

inline std::optional<timestamp> read_time(std::optional<number> value) {
  return value ? std::optional{read_time(*value)} : std::nullopt;
}

number now_number();

/// All of these throw what a person can read if the database holds something else.
uuid read_id(const std::string& text);

template <class Enum>
Enum read_enum(const std::string& text) {
  Enum value{};
  if (!from_string(text, value))
    throw std::runtime_error("the database holds \"" + text + "\", which is not " + expected_text(value));
  return value;
}

inline std::optional<outcome> read_outcome(const std::optional<std::string>& text) {
  return text ? std::optional{read_enum<outcome>(*text)} : std::nullopt;
}

inline std::optional<std::string> outcome_text(std::optional<outcome> value) {
  return value ? std::optional{to_string(*value)} : std::nullopt;
}

/// Ignores what a newer davit may have added: a rolled-back upgrade can still read.
template <class T>
T read_json(const std::string& text) {
  auto value = json::read<T>(std::string_view{text}, json::unknown_fields::ignore);
  if (!value)
    throw std::runtime_error("the database holds malformed JSON: " + value.error().text());
  return std::move(*value);
}

/// The spec without its secrets.
std::string spec_text(task_spec spec);

/// A spec's text without what differs when its submitter asks again within another trace.
std::string without_trace(const std::string& text);

/// The secrets, which must be sealed by now; empty if there are none.
std::string secrets_text(const task_spec& spec);
void read_secrets(const std::string& secrets, task_spec& spec);

/// What PostgreSQL takes as a text: UTF-8 throughout, and no NUL. Messages come from engines, names from anywhere.
std::string text_of(const std::string& bytes);

/// A text as SQL has it, for what can't be bound.
std::string literal(const std::string& text);

} // namespace davit::store
