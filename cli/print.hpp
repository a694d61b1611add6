// What the commands print: tables for people, lines of JSON for programs.
#pragma once

#include "cli/client.hpp"
#include "json/read.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace davit {

// -- reading an agent's answers
// ------------------------------------------------------------------------------------------

/// Throws a command_failure if the answer is not JSON.
json::element parse(json::parser& parser, const std::string& text);

/// A text field, made printable; empty if it is not there.
std::string text_at(json::element root, std::string_view field);

/// A field that is a list; throws a command_failure if there is none.
simdjson::dom::array list_at(json::element root, std::string_view field);

// -- printing
// ------------------------------------------------------------------------------------------------------------

/// JSON for stdout: as it is for a program, harmless for a terminal.
std::string json_for_stdout(std::string json);

/// Columns as wide as their widest cell; the first row is the heading. Cells are made printable. `below`: lines that
/// come below a row, by its index; indented, and made printable too.
void print_table(const std::vector<std::vector<std::string>>& table,
                 const std::map<std::size_t, std::vector<std::string>>& below = {});

/// `5s ago`.
std::string age_text(timestamp at);

/// The newest `limit` tasks that fit `query` (`&state=queued`...).
void print_tasks(api_client& client, const std::string& query, bool as_json, std::size_t limit);
void print_engines(api_client& client, bool as_json);
void print_agents(api_client& client, bool as_json);

/// Of one task, or of all if `id` is empty.
void print_events(api_client& client, const std::string& id, bool as_json);

} // namespace davit
