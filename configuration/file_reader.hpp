// From what CAF's parser made of a file or of the command line to davit's settings, by the table of options.
#pragma once

#include "configuration/configuration.hpp"

#include <caf/config_value.hpp>

#include <map>
#include <string>

namespace davit {

/// Collects mistakes, and knows where each option was written.
class mistake_list {
public:
  mistake_list(std::vector<config_mistake>& into, std::string file, std::map<std::string, int> lines);

  /// About the option or group of this full name, where it was written last.
  void add(const std::string& name, std::string message);

  /// Whether something is wrong with this option itself, so that what follows from it needs no saying.
  bool has(const std::string& name) const;

  /// Whether the option stands in the file, or on the command line.
  bool is_given(const std::string& name) const { return lines_.contains(name) || overridden_.contains(name); }

  /// The configuration file; empty: there is none.
  const std::string& file() const { return file_; }

  void given_on_the_command_line(const std::string& name) { overridden_[name] = true; }

private:
  std::vector<config_mistake>& into_;
  std::string file_;
  std::map<std::string, int> lines_;
  std::map<std::string, bool> overridden_;
};

class file_reader {
public:
  file_reader(mistake_list& mistakes, const caf_configuration& caf) : mistakes_(mistakes), caf_(caf) {}

  /// May be called again: later values replace earlier ones.
  void read(const caf::settings& content, bool from_command_line);

  /// What was read; engines, sinks and issuers in the order of their names.
  agent_settings finish();

private:
  void add(const std::string& name, std::string message);
  void read_caf(const std::string& name, const caf::config_value& value);
  void read_davit(const std::string& name, const caf::config_value& value);
  template <class Settings, class Options>
  void read_groups(const std::string& name, const caf::config_value& value, std::map<std::string, Settings>& into,
                   const Options& options);

  mistake_list& mistakes_;
  const caf_configuration& caf_;
  bool from_command_line_ = false;
  agent_settings agent_;
  std::map<std::string, engine_settings> engines_;
  std::map<std::string, sink_settings> sinks_;
  std::map<std::string, issuer_settings> issuers_;
  std::map<std::string, profile_settings> profiles_;
};

} // namespace davit
