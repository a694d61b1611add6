// `davit doctor`: what is right and wrong with every engine, each finding with its fix.
#pragma once

#include "messages/engine.hpp"

#include <string>
#include <vector>

namespace davit {

struct finding {
  std::string engine;  ///< Empty: it is about the agent's own files.
  std::string check;   ///< reachable, tls, api, log-driver, cgroup, limits, live-restore, disk, mtu, clock; data-dir,
                       ///< secrets-key, tokens-file
  std::string verdict; ///< ok, warning, failed
  std::string detail;
  std::string fix;
};

template <class Inspector>
bool inspect(Inspector& f, finding& x) {
  return f.object(x).fields(f.field("engine", x.engine), f.field("check", x.check), f.field("verdict", x.verdict),
                            f.field("detail", x.detail), f.field("fix", x.fix));
}

/// Looks at an engine; changes nothing.
std::vector<finding> examine(const engine_settings& engine);

} // namespace davit
