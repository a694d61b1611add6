#include "policy/ceilings.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <type_traits>
#include <utility>

namespace davit {

namespace {

std::size_t size_of(const std::string& text) {
  return text.size();
}
std::size_t size_of(const secret& hidden) { // sealed it is longer, and was counted when it was given
  return hidden.sealed ? 0 : hidden.value.size();
}
std::size_t size_of(const mount& one) {
  return one.source.size() + one.target.size();
}

template <class Name, class Value>
std::size_t size_of(const std::pair<Name, Value>& entry) {
  return size_of(entry.first) + size_of(entry.second);
}

/// How many entries, and the bytes of their texts.
struct amount {
  std::size_t count = 0, bytes = 0;

  template <class List>
  amount& operator+=(const List& list) {
    count += list.size();
    for (const auto& one : list)
      bytes += size_of(one);
    return *this;
  }
};

/// What lists and messages show in one line.
constexpr std::size_t longest_name = 255, longest_key = 1024;

struct checker {
  const ceilings_in_force& ceilings;
  std::vector<violation> found{};

  void refuse(const std::string& field, std::string message) {
    found.push_back({"limits." + field, field, std::move(message)});
  }

  /// `name`: the ceiling's.
  void over(const std::string& field, const char* name, const std::string& there, const std::string& most) {
    refuse(field, there + " over the limit of " + most + ceilings.told(name));
  }

  void time(const std::string& field, const char* name, const std::optional<duration>& value, duration most) {
    if (value && *value > most)
      over(field, name, format_duration(*value) + " is", format_duration(most));
    else if (value && value->count() < 0)
      refuse(field, "must not be less than 0");
  }

  void number(const std::string& field, const char* name, std::int64_t value, std::int64_t most) {
    if (value > most)
      over(field, name, std::to_string(value) + " is", std::to_string(most));
  }

  void text(const std::string& field, const std::string& value, std::size_t most) {
    if (value.size() > most)
      refuse(field, std::to_string(value.size()) + " bytes are over the limit of " + std::to_string(most));
  }

  /// `what`: the entries, in words.
  void
  many(const std::string& field, const char* name, const std::string& what, const amount& all, std::uint32_t most) {
    if (all.count > most)
      over(field, name, std::to_string(all.count) + ' ' + what + " are", std::to_string(most));
  }

  void large(const std::string& field, const char* name, const std::string& what, const amount& all, byte_size most) {
    if (all.bytes > most.bytes)
      over(field, name, "the " + what + " have " + std::to_string(all.bytes) + " bytes together,", to_string(most));
  }
};

/// Each ceiling with its name, its place among those in force, and the least that can be said.
template <class InForce, class Named, class Visit>
void each_ceiling(InForce& all, Named& named, Visit visit) {
  auto& sums = all.resources;
  auto& counts = all.quantities;
  visit("cpus", sums.cpus, named.cpus, 0.01);
  visit("memory", sums.memory, named.memory, byte_size{6ull << 20});
  visit("pids", sums.pids, named.pids, std::int64_t{1});
  visit("shm", sums.shm, named.shm, byte_size{1});
  visit("timeout", all.timeout, named.timeout, duration{1000});
  visit("stop-timeout", counts.stop_timeout, named.stop_timeout, duration{0});
  visit("queue-timeout", counts.queue_timeout, named.queue_timeout, duration{1000});
  visit("pull-timeout", counts.pull_timeout, named.pull_timeout, duration{1000});
  visit("priority", counts.priority, named.priority, std::int64_t{0});
  visit("attempts", counts.attempts, named.attempts, std::uint32_t{3}); // of a task that names none, as its backoff
  visit("backoff", counts.backoff, named.backoff, duration{60'000});
  visit("mounts", counts.mounts, named.mounts, std::uint32_t{0});
  visit("mounts-size", counts.mounts_size, named.mounts_size, byte_size{0});
  visit("env", counts.env, named.env, std::uint32_t{0});
  visit("env-size", counts.env_size, named.env_size, byte_size{0});
  visit("labels", counts.labels, named.labels, std::uint32_t{0});
  visit("labels-size", counts.labels_size, named.labels_size, byte_size{0});
  visit("hosts", counts.hosts, named.hosts, std::uint32_t{0});
  visit("hosts-size", counts.hosts_size, named.hosts_size, byte_size{0});
  visit("entries", counts.entries, named.entries, std::uint32_t{0});
}

template <class T>
bool is_lower(const T& one, const std::optional<T>& other) {
  return !other || one < *other;
}
template <class T>
bool is_lower(const T& one, const T& other) {
  return one < other;
}

/// Nothing but a number of the type.
template <class T>
std::optional<T> read_number(std::string_view text) {
  T value{};
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  if constexpr (std::is_floating_point_v<T>)
    if (!std::isfinite(value))
      return std::nullopt;
  return value;
}

std::optional<duration> read_value(std::string_view text, const duration&) {
  return parse_duration(text);
}
std::optional<byte_size> read_value(std::string_view text, const byte_size&) {
  byte_size value;
  return from_string(text, value) ? std::optional{value} : std::nullopt;
}
template <class T>
requires std::is_arithmetic_v<T> std::optional<T> read_value(std::string_view text, const T&) {
  return read_number<T>(text);
}

std::string write_value(duration value) {
  return format_duration(value);
}
std::string write_value(byte_size value) {
  return to_string(value);
}
std::string write_value(double value) {
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}
template <class T>
requires std::is_integral_v<T> std::string write_value(T value) {
  return std::to_string(value);
}

std::string expected(duration) {
  return "a duration such as 30s, 10m or 1h";
}
std::string expected(byte_size) {
  return "a size such as 512m or 4g";
}
std::string expected(double) {
  return "a number such as 0.5 or 4";
}
template <class T>
requires std::is_integral_v<T> std::string expected(T) {
  return "a whole number";
}

} // namespace

void ceilings_in_force::replace(const named_ceilings& by, const std::string& origin) {
  each_ceiling(*this, by, [&](const char* name, auto& place, const auto& value, const auto&) {
    if (!value)
      return;
    place = *value;
    origins[name] = origin;
  });
}

void ceilings_in_force::lower(const named_ceilings& to, const std::string& origin) {
  each_ceiling(*this, to, [&](const char* name, auto& place, const auto& value, const auto&) {
    if (!value || !is_lower(*value, place))
      return;
    place = *value;
    origins[name] = origin;
  });
}

std::string ceilings_in_force::told(std::string_view name) const {
  auto known = origins.find(name);
  return known == origins.end() ? std::string{} : ", the ceiling of " + known->second;
}

std::string read_ceiling(std::string_view text, named_ceilings& into) {
  auto equals = text.find('=');
  auto wanted = text.substr(0, equals);
  std::string wrong, names;
  auto found = false;
  ceilings_in_force none;
  each_ceiling(none, into, [&](const char* name, auto&, auto& place, const auto& least) {
    names += (names.empty() ? "" : ", ") + std::string{name};
    if (wanted != name)
      return;
    found = true;
    auto value = read_value(equals == std::string_view::npos ? std::string_view{} : text.substr(equals + 1), least);
    if (place)
      wrong = std::string{name} + ": is given twice";
    else if (!value)
      wrong = std::string{name} + ": must be " + expected(least) + ", as in " + name + "=...";
    else if (*value < least)
      wrong = std::string{name} + ": must be at least " + write_value(least);
    else
      place = *value;
  });
  return found ? wrong : "\"" + std::string{wanted} + "\" is not a ceiling; the ceilings are " + names;
}

std::string read_ceilings(const std::vector<std::string>& texts, named_ceilings& into) {
  for (const auto& one : texts)
    if (auto wrong = read_ceiling(one, into); !wrong.empty())
      return wrong;
  return {};
}

std::string to_string(const named_ceilings& ceilings) {
  std::string text;
  ceilings_in_force none;
  each_ceiling(none, ceilings, [&](const char* name, auto&, const auto& value, const auto&) {
    if (value)
      text += (text.empty() ? "" : ",") + std::string{name} + '=' + write_value(*value);
  });
  return text;
}

std::vector<violation> check_ceilings(const ceilings_in_force& all, const task_spec& spec) {
  const auto& most = all.quantities;
  checker check{all};
  check.text("name", spec.name, longest_name);
  check.text("dedupe_key", spec.dedupe_key, longest_key);
  check.time("stop_timeout", "stop-timeout", spec.stop_timeout, most.stop_timeout);
  check.time("queue_timeout", "queue-timeout", spec.queue_timeout, most.queue_timeout);
  check.time("pull_timeout", "pull-timeout", spec.pull_timeout, most.pull_timeout);
  check.number("priority", "priority", spec.priority, most.priority);
  check.number("retry.attempts", "attempts", spec.retry.attempts, most.attempts);
  check.time("retry.backoff", "backoff", spec.retry.backoff.most, most.backoff);
  auto both = [&](const std::string& field, const char* name, const char* size_name, const std::string& what,
                  const amount& sum, std::uint32_t count, byte_size size) {
    check.many(field, name, what, sum, count);
    check.large(field, size_name, what, sum, size);
  };
  both("mounts", "mounts", "mounts-size", "mounts", amount{} += spec.mounts, most.mounts, most.mounts_size);
  auto variables = (amount{} += spec.env) += spec.secrets;
  both("env", "env", "env-size", "variables (secrets are variables too)", variables, most.env, most.env_size);
  both("labels", "labels", "labels-size", "labels", amount{} += spec.labels, most.labels, most.labels_size);
  auto hosts = (amount{} += spec.extra_hosts) += spec.dns;
  both("extra_hosts", "hosts", "hosts-size", "hosts and name servers", hosts, most.hosts, most.hosts_size);
  for (const auto& [field, list] :
       {std::pair{"cap_add", &spec.cap_add}, std::pair{"cap_drop", &spec.cap_drop}, std::pair{"devices", &spec.devices},
        std::pair{"security_opt", &spec.security_opt}, std::pair{"group_add", &spec.group_add},
        std::pair{"engine.labels", &spec.engine.labels}})
    check.many(field, "entries", "entries", amount{} += *list, most.entries);
  for (const auto& [field, list] : {std::pair{"sysctls", &spec.sysctls}, std::pair{"ulimits", &spec.ulimits}})
    check.many(field, "entries", "entries", amount{} += *list, most.entries);
  check.number("retry.on", "entries", static_cast<std::int64_t>(spec.retry.on.size()), most.entries);
  return std::move(check.found);
}

} // namespace davit
