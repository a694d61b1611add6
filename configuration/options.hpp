// The one table of davit's options. The parser, `davit check-config`, config/davit.conf and docs/configuration.md come
// from it; an option's default is what the settings' own member begins with.
#pragma once

#include "configuration/option_value.hpp"
#include "configuration/text_formats.hpp"

#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace davit {

/// The way to a member: through members of members.
template <class... Members>
struct member_path;

template <class Struct, class Member>
struct member_path<Member Struct::*> {
  using root = Struct;
  using value = Member;
  Member Struct::*first;
  auto& operator()(auto& from) const { return from.*first; }
};

template <class Struct, class Member, class... Rest>
struct member_path<Member Struct::*, Rest...> {
  using root = Struct;
  using value = typename member_path<Rest...>::value;
  Member Struct::*first;
  member_path<Rest...> rest;
  auto& operator()(auto& from) const { return rest(from.*first); }
};

template <class First>
member_path<First> at(First first) {
  return {first};
}

template <class First, class... Rest>
member_path<First, Rest...> at(First first, Rest... rest) {
  return {first, at(rest...)};
}

template <class T>
struct bare_type {
  using type = T;
};
template <class T>
struct bare_type<std::optional<T>> {
  using type = T;
};

/// What else there is to say of an option.
template <class T>
struct limits {
  std::optional<T> least{};
  std::optional<T> most{};
  const text_format* format = nullptr; ///< Of a text, or of each text of a list.
  std::string unset{};                 ///< What holds while it is not set, in words: `none`.
  std::string formerly{};              ///< A name that it had before; who writes it is told of the new one.
  bool text_alone = false;             ///< A list of one text may be written as the text.
  bool is_file = false;                ///< The name of a file that davit reads or writes.
};

/// One option, of settings of type `Settings`.
template <class Settings>
struct option {
  template <class Path>
  option(std::string name, Path path, std::string description,
         limits<typename bare_type<typename Path::value>::type> limits);
  template <class Path>
  option(std::string name, Path path, std::string description)
    : option(std::move(name), path, std::move(description), limits<typename bare_type<typename Path::value>::type>()) {}

  std::string name;        ///< Below its group: `agent.name` below `davit`, `slots` below an engine's name.
  std::string description; ///< One sentence.
  value_kind kind;
  std::string bounds;       ///< In words; empty: any value of the kind.
  std::string below, above; ///< Values just outside of the bounds, as written in a file; empty: there are none.
  std::string unset;
  std::string formerly;
  /// Puts a value into its place, or says why it can't be.
  std::function<std::string(Settings&, const caf::config_value&)> set;
  /// As written in a file; empty: not set.
  std::function<std::string(const Settings&)> get;
  /// The file that it names; no function: it is not the name of a file.
  std::function<std::filesystem::path(const Settings&)> file;
};

/// Below `davit`, in the order of the file.
const std::vector<option<agent_settings>>& agent_options();
/// Below `davit.engines.NAME`.
const std::vector<option<engine_settings>>& engine_options();
/// Below `davit.policy.profiles.NAME`.
const std::vector<option<profile_settings>>& profile_options();
/// Below `davit.api.issuers.NAME`.
const std::vector<option<issuer_settings>>& issuer_options();
/// Below `davit.logs.sinks.NAME`.
const std::vector<option<sink_settings>>& sink_options();

// -- implementation
// ----------------------------------------------------------------------------------------------------

namespace detail {

/// Why a value is out of its bounds; empty: it is not.
template <class T>
std::string out_of_bounds(const T& value, const limits<T>& limits) {
  if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, std::filesystem::path>) {
    return (limits.format ? *limits.format : any_text).wrong(value);
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    for (const auto& one : value)
      if (auto wrong = (limits.format ? *limits.format : any_text).wrong(one); !wrong.empty())
        return one.empty() ? "must not have an empty text in it" : wrong;
  } else if constexpr (requires { *limits.least <= value; } && kind_of<T>() != value_kind::list && !std::is_enum_v<T>) {
    auto low = limits.least && !(value >= *limits.least), high = limits.most && !(value <= *limits.most);
    if ((low || high) && limits.least && limits.most)
      return "must be from " + shown(*limits.least) + " to " + shown(*limits.most) + ", not " + shown(value);
    if (low)
      return "must be at least " + shown(*limits.least) + ", not " + shown(value);
    if (high)
      return "must be at most " + shown(*limits.most) + ", not " + shown(value);
  }
  return {};
}

/// The limits of a count, as those of a wide number; any other as they are.
template <class Wide, class T>
limits<Wide> widened(const limits<T>& narrow) {
  if constexpr (std::is_same_v<Wide, T>)
    return narrow;
  else
    return {.least = narrow.least.value_or(0), .most = narrow.most.value_or(std::numeric_limits<T>::max())};
}

template <class T>
T neighbour(const T& value, int step) {
  if constexpr (std::is_same_v<T, byte_size>)
    return {value.bytes + static_cast<std::uint64_t>(step)};
  else if constexpr (std::is_same_v<T, duration>)
    return value + duration{step};
  else
    return value + static_cast<T>(step);
}

} // namespace detail

template <class Settings>
template <class Path>
option<Settings>::option(std::string name, Path path, std::string description,
                         limits<typename bare_type<typename Path::value>::type> limits)
  : name(std::move(name)), description(std::move(description)),
    kind(kind_of<typename bare_type<typename Path::value>::type>()), unset(limits.unset), formerly(limits.formerly) {
  using value_type = typename bare_type<typename Path::value>::type;
  if (limits.format)
    bounds = limits.format->words;
  if constexpr (std::is_enum_v<value_type>) {
    bounds = expected_text(value_type{});
  } else if constexpr (kind_of<value_type>() == value_kind::list) {
    if constexpr (has_text_form<typename value_type::value_type>)
      bounds = expected_text(typename value_type::value_type{});
  } else if constexpr (kind_of<value_type>() != value_kind::text && kind_of<value_type>() != value_kind::flag) {
    if (limits.least && limits.most)
      bounds = "from " + shown(*limits.least) + " to " + shown(*limits.most);
    else if (limits.least)
      bounds = "at least " + shown(*limits.least);
    if (limits.least && *limits.least > value_type{})
      below = shown(detail::neighbour(*limits.least, -1));
    if (limits.most)
      above = shown(detail::neighbour(*limits.most, 1));
  }
  set = [path, limits](Settings& settings, const caf::config_value& value) -> std::string {
    // What is judged: a count is judged as a wide number, so that a negative one is told of its bounds too.
    using read_type = std::conditional_t<std::is_same_v<value_type, std::uint32_t>, std::int64_t, value_type>;
    read_type taken{};
    auto alone = limits.text_alone && caf::get_if<std::string>(&value) != nullptr;
    if (auto wrong = take(alone ? caf::config_value{caf::config_value::list{value}} : value, taken); !wrong.empty())
      return (limits.text_alone ? "must be a text in quotes, or a list of such texts" : wrong) + ", not "
           + written(value);
    if (auto wrong = detail::out_of_bounds(taken, detail::widened<read_type>(limits)); !wrong.empty())
      return wrong;
    path(settings) = static_cast<value_type>(std::move(taken));
    return {};
  };
  if constexpr (kind_of<value_type>() == value_kind::text && std::is_constructible_v<std::filesystem::path, value_type>)
    if (limits.is_file)
      file = [path](const Settings& settings) -> std::filesystem::path { return path(settings); };
  get = [path, limits](const Settings& settings) -> std::string {
    const auto& value = path(settings);
    if constexpr (std::is_same_v<typename Path::value, std::optional<value_type>>) {
      return value ? shown(*value) : "";
    } else {
      return !limits.unset.empty() && value == value_type{} ? "" : shown(value);
    }
  };
}

} // namespace davit
