#include "policy/ceilings.hpp"

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
  std::vector<violation> found;

  void refuse(const std::string& field, std::string message) {
    found.push_back({"limits." + field, field, std::move(message)});
  }

  void time(const std::string& field, const std::optional<duration>& value, duration most) {
    if (value && *value > most)
      refuse(field, format_duration(*value) + " is over the limit of " + format_duration(most));
    else if (value && value->count() < 0)
      refuse(field, "must not be less than 0");
  }

  void number(const std::string& field, std::int64_t value, std::int64_t most) {
    if (value > most)
      refuse(field, std::to_string(value) + " is over the limit of " + std::to_string(most));
  }

  void text(const std::string& field, const std::string& value, std::size_t most) {
    if (value.size() > most)
      refuse(field, std::to_string(value.size()) + " bytes are over the limit of " + std::to_string(most));
  }

  /// `what`: the entries, in words.
  void many(const std::string& field, const std::string& what, const amount& all, std::uint32_t most) {
    if (all.count > most)
      refuse(field, std::to_string(all.count) + ' ' + what + " are over the limit of " + std::to_string(most));
  }

  void large(const std::string& field, const std::string& what, const amount& all, byte_size most) {
    if (all.bytes > most.bytes)
      refuse(field, "the " + what + " have " + std::to_string(all.bytes) + " bytes together, over the limit of "
                      + to_string(most));
  }
};

} // namespace

std::vector<violation> check_ceilings(const spec_ceilings& ceilings, const task_spec& spec) {
  checker check;
  check.text("name", spec.name, longest_name);
  check.text("dedupe_key", spec.dedupe_key, longest_key);
  check.time("stop_timeout", spec.stop_timeout, ceilings.stop_timeout);
  check.time("queue_timeout", spec.queue_timeout, ceilings.queue_timeout);
  check.time("pull_timeout", spec.pull_timeout, ceilings.pull_timeout);
  check.number("priority", spec.priority, ceilings.priority);
  check.number("retry.attempts", spec.retry.attempts, ceilings.attempts);
  check.time("retry.backoff", spec.retry.backoff.most, ceilings.backoff);
  auto both
    = [&](const std::string& field, const std::string& what, const amount& all, std::uint32_t most, byte_size size) {
        check.many(field, what, all, most);
        check.large(field, what, all, size);
      };
  both("mounts", "mounts", amount{} += spec.mounts, ceilings.mounts, ceilings.mounts_size);
  auto variables = (amount{} += spec.env) += spec.secrets;
  both("env", "variables (secrets are variables too)", variables, ceilings.env, ceilings.env_size);
  both("labels", "labels", amount{} += spec.labels, ceilings.labels, ceilings.labels_size);
  auto hosts = (amount{} += spec.extra_hosts) += spec.dns;
  both("extra_hosts", "hosts and name servers", hosts, ceilings.hosts, ceilings.hosts_size);
  for (const auto& [field, list] :
       {std::pair{"cap_add", &spec.cap_add}, std::pair{"cap_drop", &spec.cap_drop}, std::pair{"devices", &spec.devices},
        std::pair{"security_opt", &spec.security_opt}, std::pair{"group_add", &spec.group_add},
        std::pair{"engine.labels", &spec.engine.labels}})
    check.many(field, "entries", amount{} += *list, ceilings.entries);
  for (const auto& [field, list] : {std::pair{"sysctls", &spec.sysctls}, std::pair{"ulimits", &spec.ulimits}})
    check.many(field, "entries", amount{} += *list, ceilings.entries);
  check.number("retry.on", static_cast<std::int64_t>(spec.retry.on.size()), ceilings.entries);
  return std::move(check.found);
}

} // namespace davit
