#include "configuration/caf_configuration.hpp"

#include "actors/agent_context.hpp"
#include "json/read.hpp"
#include "messages/actors.hpp"

#include <caf/init_global_meta_objects.hpp>
#include <caf/io/middleman.hpp>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

namespace davit {

namespace {

/// What CAF itself does not check: with these it hangs, or takes another value without a word.
std::string out_of_bounds(const std::string& name, const caf::config_value& value) {
  auto number = caf::get_if<caf::config_value::integer>(&value);
  if ((name == "caf.scheduler.max-threads" || name == "caf.scheduler.max-throughput") && number && *number < 1)
    return "must be at least 1";
  auto text = caf::get_if<std::string>(&value);
  if (name == "caf.scheduler.policy" && !(text && (*text == "sharing" || *text == "stealing")))
    return "must be \"sharing\" or \"stealing\"";
  return {};
}

} // namespace

caf_configuration::caf_configuration() {
  static const bool once = [] {
    caf::init_global_meta_objects<caf::id_block::davit>();
    caf::io::middleman::init_global_meta_objects();
    caf::core::init_global_meta_objects();
    return true;
  }();
  static_cast<void>(once);
  load<caf::io::middleman>();
  // Work stealing looks for work without pause; beside an engine on the same machine that costs tasks more than it
  // gives messages (docs/performance.md).
  set("caf.scheduler.policy", "sharing");
  // CAF would take four on a small machine: they wake each other for nothing.
  set("caf.scheduler.max-threads", static_cast<std::int64_t>(std::max(2u, std::thread::hardware_concurrency())));
  // CAF's own console log is off; its warnings reach the user through davit's.
  set("caf.logger.console.verbosity", "quiet");
}

void caf_configuration::join_fleet() {
  set("caf.middleman.heartbeat-interval", caf::timespan{std::chrono::seconds{1}});
  set("caf.middleman.connection-timeout", caf::timespan{std::chrono::seconds{4}});
}

std::string caf_configuration::wrong(const std::string& name, const caf::config_value& value) const {
  auto& all = const_cast<caf_configuration*>(this)->custom_options();
  auto is_group = caf::holds_alternative<caf::config_value::dictionary>(value);
  if (auto option = all.qualified_name_lookup(name)) {
    auto type = option->type_name();
    auto copy = value;
    if (is_group || option->sync(copy))
      return "must be a value of CAF's type " + std::string{type.begin(), type.end()};
    return out_of_bounds(name, value);
  }
  std::vector<std::string> names;
  for (const auto& one : all) {
    auto full = one.full_name();
    names.emplace_back(full.begin(), full.end());
  }
  auto known_group
    = std::any_of(names.begin(), names.end(), [&](const auto& one) { return one.starts_with(name + '.'); });
  if (known_group)
    return is_group ? "" : "must be a group of options, in braces";
  auto text = json::detail::unknown_field_message(name, {names.begin(), names.end()});
  text.replace(0, text.find(',') == std::string::npos ? text.size() : text.find(','), "CAF has no such option");
  return text;
}

} // namespace davit
