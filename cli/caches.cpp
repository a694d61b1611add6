#include "cli/caches.hpp"

#include "cli/print.hpp"
#include "cli/progress_line.hpp"
#include "json/read.hpp"
#include "messages/caches.hpp"

#include <CLI/CLI.hpp>

#include <iostream>

namespace davit {

namespace {

struct cache_page {
  std::vector<kept_cache> caches;
  std::string next;
};

template <class Inspector>
bool inspect(Inspector& f, cache_page& x) {
  return f.object(x).fields(f.field("caches", x.caches), f.field("next", x.next));
}

/// In a scope and below it; empty: all.
void print_caches(api_client& client, const std::string& scope, bool as_json) {
  std::vector<std::vector<std::string>> rows{{"KEY", "SCOPE", "FILES", "SIZE", "CREATED", "USED"}};
  std::string after;
  do {
    auto text = client.call("GET", "/v1/caches?scope=" + transport::url_encode(scope)
                                     + (after.empty() ? "" : "&after=" + transport::url_encode(after)));
    auto page = json::read<cache_page>(std::string_view{text}, json::unknown_fields::ignore);
    if (!page)
      throw command_failure{"the agent's answer is malformed: " + page.error().text()};
    if (as_json) {
      json::parser parser;
      for (auto one : list_at(parse(parser, text), "caches"))
        std::cout << json_for_stdout(simdjson::minify(one)) << '\n';
    }
    for (const auto& one : page->caches)
      rows.push_back({one.key, one.scope, std::to_string(one.files), size_text(one.bytes), age_text(one.created_at),
                      age_text(one.used_at)});
    after = page->next;
  } while (!after.empty());
  if (!as_json)
    print_table(rows);
}

/// Of a scope; with `prefixes` all whose keys begin so, there and below.
void remove_caches(api_client& client, const std::vector<std::string>& keys, const std::string& scope, bool prefixes) {
  std::string missing;
  for (const auto& one : keys)
    try {
      client.call("DELETE", std::string{"/v1/caches?"} + (prefixes ? "prefix=" : "key=") + transport::url_encode(one)
                              + "&scope=" + transport::url_encode(scope));
      std::cout << one << '\n';
    } catch (const command_failure& e) {
      if (keys.size() == 1)
        throw;
      missing += (missing.empty() ? "" : "; ") + one + ": " + e.message;
    }
  if (!missing.empty())
    throw command_failure{missing};
}

} // namespace

CLI::App* add_caches_command(CLI::App& app, cache_flags& flags) {
  auto all = app.add_subcommand("caches", "List or remove the folders that tasks keep for those after them");
  all->require_subcommand(1);
  auto list = all->add_subcommand("ls", "List them");
  list->add_option("--scope", flags.scope, "Only those in this scope and below it");
  auto remove = all->add_subcommand("rm", "Remove them");
  remove->add_option("key", flags.keys)->required();
  remove->add_flag("--prefix", flags.by_prefix, "Remove all whose keys begin with KEY, also in scopes below");
  remove->add_option("--scope", flags.scope, "Of this scope; without it, of the trusted one");
  return all;
}

void run_caches_command(api_client& client, const CLI::App& command, const cache_flags& flags, bool as_json) {
  if (*command.get_subcommand("ls"))
    print_caches(client, flags.scope, as_json);
  else
    remove_caches(client, flags.keys, flags.scope, flags.by_prefix);
}

} // namespace davit
