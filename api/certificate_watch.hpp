// Whether the certificates in their files are good, and how long.
#pragma once

#include "actors/agent_settings.hpp"
#include "transport/endpoint.hpp"

#include <caf/fwd.hpp>
#include <caf/telemetry/gauge.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace davit::api {

/// Reads the files as the servers do. These keep what they have when a file is not good, and say nothing. Not
/// thread-safe.
class certificate_watch {
public:
  using clock = std::chrono::steady_clock;

  static constexpr auto interval = std::chrono::seconds{2};

  /// For the certificates that the settings name: of the API, of the fleet.
  certificate_watch(const agent_settings& settings, caf::telemetry::metric_registry& registry);

  /// Looks at the files, once in an interval however often it is called. What is wrong twice in a row, and so is not
  /// half a renewal, is told: once.
  void look(clock::time_point now);

private:
  struct watched {
    std::string of; ///< As the log names it.
    transport::tls_settings files;
    caf::telemetry::int_gauge* failed;
    caf::telemetry::int_gauge* not_after;
    std::string trouble{}, told{};
  };

  static void look_at(watched& one);

  std::vector<watched> all_;
  std::optional<clock::time_point> looked_;
};

} // namespace davit::api
