#include "configuration/file_reader.hpp"

#include "configuration/options.hpp"
#include "json/read.hpp"

#include <algorithm>
#include <set>

namespace davit {

namespace {

using dictionary = caf::config_value::dictionary;

const std::string engines_group = "davit.engines", sinks_group = "davit.logs.sinks",
                  issuers_group = "davit.api.issuers", profiles_group = "davit.policy.profiles";

/// The names that may stand in a group of davit's: options and groups.
std::set<std::string> names_in(const std::string& group) {
  std::set<std::string> names;
  auto take = [&](const std::string& full) {
    if (full.starts_with(group + '.'))
      names.insert(full.substr(group.size() + 1, full.find('.', group.size() + 1) - group.size() - 1));
  };
  for (const auto& one : agent_options())
    take("davit." + one.name);
  take(engines_group);
  take(sinks_group);
  take(issuers_group);
  take(profiles_group);
  return names;
}

std::string unknown_option(const std::string& name, const std::set<std::string>& known) {
  auto text = json::detail::unknown_field_message(name, {known.begin(), known.end()});
  return text.replace(text.find("field"), 5, "option");
}

std::string must_be_group(const std::string& name, const std::string& inside) {
  auto leaf = name.substr(name.rfind('.') + 1);
  return "must be a group: " + leaf + " { " + inside + " }";
}

} // namespace

mistake_list::mistake_list(std::vector<config_mistake>& into, std::string file, std::map<std::string, int> lines)
  : into_(into), file_(std::move(file)), lines_(std::move(lines)) {}

void mistake_list::add(const std::string& name, std::string message) {
  auto line = lines_.find(name);
  auto known = line != lines_.end() && !overridden_.contains(name);
  into_.push_back({overridden_.contains(name) ? "" : file_, known ? line->second : 0, name, std::move(message)});
}

bool mistake_list::has(const std::string& name) const {
  return std::any_of(into_.begin(), into_.end(), [&](const auto& one) { return one.option == name; });
}

void file_reader::add(const std::string& name, std::string message) {
  if (from_command_line_)
    mistakes_.given_on_the_command_line(name);
  if (!mistakes_.has(name)) // what the parser made of a number that is too long is no news
    mistakes_.add(name, std::move(message));
}

void file_reader::read(const caf::settings& content, bool from_command_line) {
  from_command_line_ = from_command_line;
  auto groups = names_in("davit");
  for (const auto& [name, value] : content) {
    if (name == "davit")
      read_davit("davit", value);
    else if (name == "caf")
      read_caf("caf", value);
    else if (groups.contains(name))
      add(name, "belongs in the group davit: davit { " + name + " { ... } }");
    else if (name != "config-file")
      add(name, "unknown group; known are davit and caf");
  }
}

void file_reader::read_caf(const std::string& name, const caf::config_value& value) {
  if (auto wrong = caf_.wrong(name, value); !wrong.empty())
    return add(name, wrong);
  if (auto group = caf::get_if<dictionary>(&value))
    for (const auto& [key, inner] : *group)
      read_caf(name + '.' + key, inner);
}

void file_reader::read_davit(const std::string& name, const caf::config_value& value) {
  if (name == engines_group)
    return read_groups(name, value, engines_, engine_options());
  if (name == sinks_group)
    return read_groups(name, value, sinks_, sink_options());
  if (name == issuers_group)
    return read_groups(name, value, issuers_, issuer_options());
  if (name == profiles_group)
    return read_groups(name, value, profiles_, profile_options());
  auto inside = names_in(name);
  if (!inside.empty()) {
    auto group = caf::get_if<dictionary>(&value);
    if (!group)
      return add(name, must_be_group(name, *inside.begin() + (name == "davit" ? " { ... }" : " = ...")) + ", not "
                         + written(value));
    for (const auto& [key, inner] : *group)
      read_davit(name + '.' + key, inner);
    return;
  }
  const auto& all = agent_options();
  auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return "davit." + one.name == name; });
  if (found == all.end())
    return add(name, unknown_option(name.substr(name.rfind('.') + 1), names_in(name.substr(0, name.rfind('.')))));
  if (from_command_line_)
    mistakes_.given_on_the_command_line(name);
  if (auto wrong = found->set(agent_, value); !wrong.empty())
    add(name, wrong);
}

/// Groups whose names are the user's own.
template <class Settings, class Options>
void file_reader::read_groups(const std::string& name, const caf::config_value& value,
                              std::map<std::string, Settings>& into, const Options& options) {
  auto group = caf::get_if<dictionary>(&value);
  if (!group)
    return add(name, must_be_group(name, "NAME { ... }") + ", not " + written(value));
  std::set<std::string> names;
  for (const auto& one : options)
    names.insert(one.name);
  for (const auto& [key, inner] : *group) {
    auto full = name + '.' + key;
    auto fields = caf::get_if<dictionary>(&inner);
    if (!fields) {
      add(full, must_be_group(full, options.front().name + " = ...") + ", not " + written(inner));
      continue;
    }
    auto& settings = into[key];
    settings.name = key;
    for (const auto& [leaf, field] : *fields) {
      auto place = full + '.' + leaf;
      auto found = std::find_if(options.begin(), options.end(),
                                [&leaf = leaf](const auto& one) { return one.name == leaf || one.formerly == leaf; });
      if (from_command_line_)
        mistakes_.given_on_the_command_line(place);
      if (found == options.end())
        add(place, unknown_option(leaf, names));
      else if (found->name != leaf)
        add(place, "is now called \"" + found->name + "\"; write that instead");
      else if (auto wrong = found->set(settings, field); !wrong.empty())
        add(place, wrong);
    }
  }
}

agent_settings file_reader::finish() {
  for (auto& [name, engine] : engines_)
    agent_.engines.push_back(std::move(engine));
  for (auto& [name, sink] : sinks_)
    agent_.logs.sinks.push_back(std::move(sink));
  for (auto& [name, issuer] : issuers_)
    agent_.access.issuers.push_back(std::move(issuer));
  for (auto& [name, profile] : profiles_)
    agent_.policy.profiles.push_back(std::move(profile));
  return std::move(agent_);
}

} // namespace davit
