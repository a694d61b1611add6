// Where a sink's logs go: a file, standard output, a service. Without CAF.
#pragma once

#include "actors/agent_context.hpp"
#include "shipping/log_service.hpp"

#include <functional>
#include <memory>
#include <vector>

namespace davit {

class sink_outlet {
public:
  using records_ptr = std::shared_ptr<const std::vector<log_record>>;

  virtual ~sink_outlet() = default;

  /// Sends records of one attempt, in their order. `done` is called once: at once, or later on an I/O thread.
  virtual void send(std::shared_ptr<const shipping::log_names> names, records_ptr records,
                    std::function<void(shipping::delivery)> done)
    = 0;
};

/// The settings have been checked, but not the environment. Keeps nothing of the context but its io_runtime, which
/// outlives it.
transport::result<std::shared_ptr<sink_outlet>>
make_sink_outlet(const agent_context& context, const sink_settings& settings);

} // namespace davit
