// The agent's configuration: CAF's configuration file and command line, davit's options, every mistake named.
#pragma once

#include "actors/agent_context.hpp"
#include "configuration/caf_configuration.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace davit {

/// A mistake in the configuration.
struct config_mistake {
  std::string file;   ///< Empty: the command line.
  int line = 0;       ///< 0: not known.
  std::string option; ///< Its full name; empty: it is about no single option.
  std::string message;

  /// `davit.conf:12: davit.agent.nmae: unknown option, did you mean "name"?`
  std::string text() const;
};

struct configuration {
  std::unique_ptr<caf_configuration> caf;
  agent_settings agent;
  std::vector<config_mistake> mistakes;
};

class mistake_list;

/// What else is to be judged when all options are read.
using settings_check = std::function<void(const agent_settings&, mistake_list&)>;

/// Reads `file` (may be empty: none), then `overrides` of the form `--davit.agent.name=a2` and `--caf....`. Mistakes
/// are collected, all of them; the configuration is to be used only if there is none.
configuration read_configuration(const std::string& file, const std::vector<std::string>& overrides,
                                 const settings_check& further = {});

/// The options of the `davit` group with their defaults and meanings, as a configuration file.
std::string default_configuration();

/// The same as a page for people, in Markdown: docs/configuration.md.
std::string configuration_reference();

/// The host's name.
std::string host_name();

} // namespace davit
