// CAF's own configuration, with what davit sets in it.
#pragma once

#include <caf/actor_system_config.hpp>

#include <string>

namespace davit {

/// CAF's configuration, with the modules that davit loads and the values that suit it.
class caf_configuration : public caf::actor_system_config {
public:
  caf_configuration();

  /// Has peers noticed that vanish without a word. TLS is not CAF's: actors/peer_port.hpp.
  void join_fleet();

  /// Why CAF can't take this value for the option or group of this full name (`caf.scheduler`); empty: it can. Looks at
  /// the name and the value alone: the fields of a group are asked for one by one.
  std::string wrong(const std::string& name, const caf::config_value& value) const;
};

} // namespace davit
