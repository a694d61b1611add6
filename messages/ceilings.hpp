// Ceilings that are said beside those of `davit.policy.ceilings`: of a profile, and of a token.
#pragma once

#include "messages/units.hpp"

#include <cstdint>
#include <optional>

namespace davit {

/// Those that are said; by the names of `davit.policy.ceilings`, with underscores.
struct named_ceilings {
  static constexpr bool json_omits_empty = true;

  std::optional<double> cpus;
  std::optional<byte_size> memory;
  std::optional<std::int64_t> pids;
  std::optional<byte_size> shm;
  std::optional<duration> timeout, stop_timeout, queue_timeout, pull_timeout;
  std::optional<std::int64_t> priority;
  std::optional<std::uint32_t> attempts;
  std::optional<duration> backoff;
  std::optional<std::uint32_t> mounts;
  std::optional<byte_size> mounts_size;
  std::optional<std::uint32_t> env;
  std::optional<byte_size> env_size;
  std::optional<std::uint32_t> labels;
  std::optional<byte_size> labels_size;
  std::optional<std::uint32_t> hosts;
  std::optional<byte_size> hosts_size;
  std::optional<std::uint32_t> entries;

  bool operator==(const named_ceilings&) const = default;
};

template <class Inspector>
bool inspect(Inspector& f, named_ceilings& x) {
  return f.object(x).fields(
    f.field("cpus", x.cpus), f.field("memory", x.memory), f.field("pids", x.pids), f.field("shm", x.shm),
    f.field("timeout", x.timeout), f.field("stop_timeout", x.stop_timeout), f.field("queue_timeout", x.queue_timeout),
    f.field("pull_timeout", x.pull_timeout), f.field("priority", x.priority), f.field("attempts", x.attempts),
    f.field("backoff", x.backoff), f.field("mounts", x.mounts), f.field("mounts_size", x.mounts_size),
    f.field("env", x.env), f.field("env_size", x.env_size), f.field("labels", x.labels),
    f.field("labels_size", x.labels_size), f.field("hosts", x.hosts), f.field("hosts_size", x.hosts_size),
    f.field("entries", x.entries));
}

} // namespace davit
