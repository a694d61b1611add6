#include "cli/explain.hpp"

#include "api/tokens.hpp"
#include "cli/print.hpp"
#include "cli/task_flags.hpp"
#include "json/read.hpp"
#include "json/write.hpp"
#include "policy/placement.hpp"

#include <iostream>

namespace davit {

namespace {

/// What the token of this name holds its tasks to.
api_token find_token(const std::string& file, const std::string& name) {
  std::string wrong;
  auto list = file.empty() ? std::nullopt : token_list::load(file, wrong);
  if (!list)
    usage("--token: " + (file.empty() ? "the configuration has no api.tokens-file" : wrong));
  for (auto& one : list->tokens)
    if (one.name == name)
      return std::move(one);
  usage("--token: " + file + " has no token with the name " + name);
}

} // namespace

int explain_policy(const configuration& config, const std::string& text, std::optional<policy_profile> named,
                   const std::string& token, bool as_json) {
  auto spec = json::read<task_spec>(std::string_view{text}, json::unknown_fields::refuse);
  if (!spec)
    usage("the task spec: " + spec.error().text());
  std::string wrong;
  auto rules = policy::make(config.agent.policy, wrong);
  if (!rules)
    usage(wrong);
  auto profile = named.value_or(widest_profile(config.agent.engines, config.agent.policy.profile, *spec));
  caller_limits limits;
  if (!token.empty()) {
    auto known = find_token(config.agent.access.tokens_file, token);
    if (known.profile)
      spec->profile = std::min(spec->profile.value_or(*known.profile), *known.profile);
    limits = {"the token " + token, known.ceilings.value_or(named_ceilings{}), known.volumes_allow, known.cache_scope};
  }
  auto judged = rules->judge(*spec, profile, limits);
  auto least = least_profile(*spec);
  if (as_json) {
    std::cout << json_for_stdout(
      json::write(json::object{{"allowed", judged.violations.empty()},
                               {"profile", to_string(*judged.effective.profile)},
                               {"least_profile", least ? json::value(to_string(*least)) : json::value(nullptr)},
                               {"violations", json::to_value(judged.violations)},
                               {"additions", json::to_value(judged.additions)},
                               {"effective", json::to_value(judged.effective)}}))
              << '\n';
    return judged.violations.empty() ? 0 : 1;
  }
  std::vector<std::vector<std::string>> rows{{"VERDICT", "FIELD", "RULE", "WHY"}};
  for (const auto& one : judged.violations)
    rows.push_back({"refused", one.field, one.rule, printable(one.message)});
  for (const auto& one : judged.additions)
    rows.push_back({"added", one.field, one.rule, printable(one.value)});
  json::parser parser;
  auto given = parser.parse(text);
  for (auto field : given->get_object()) {
    std::string name{field.key};
    auto named_by = [&](const std::string& path) {
      return path == name || path.starts_with(name + '.') || path.starts_with(name + '[');
    };
    if (std::none_of(judged.violations.begin(), judged.violations.end(),
                     [&](const violation& one) { return named_by(one.field); }))
      rows.push_back({"allowed", name, "", ""});
  }
  print_table(rows);
  std::cerr << (judged.violations.empty() ? "allowed" : "refused") << " under the profile "
            << to_string(*judged.effective.profile) << "; "
            << (least ? "the strictest profile whose rules allow it is " + to_string(*least)
                      : "no profile's rules allow it")
            << '\n';
  return judged.violations.empty() ? 0 : 1;
}

} // namespace davit
