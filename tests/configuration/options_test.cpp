// The table of options, as a whole: whatever it holds must be readable, refusable and described.
#include "configuration/configuration.hpp"
#include "configuration/options.hpp"
#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <random>
#include <set>
#include <sstream>

using namespace davit;

namespace {

/// A file with one option in it, and the line where that stands.
std::pair<std::string, int> file_with(const std::string& full_name, const std::string& value) {
  std::string text, part, closing;
  std::istringstream parts{full_name};
  std::vector<std::string> path;
  while (std::getline(parts, part, '.'))
    path.push_back(part);
  for (std::size_t i = 0; i + 1 < path.size(); ++i) {
    text += path[i] + " {\n";
    closing += "}\n";
  }
  return {text + path.back() + " = " + value + '\n' + closing, static_cast<int>(path.size())};
}

std::vector<config_mistake> mistakes_of(const std::string& text) {
  test::scratch_folder folder;
  auto file = folder / "davit.conf";
  std::ofstream{file} << text;
  return read_configuration(file, {}).mistakes;
}

const agent_settings default_agent;
const engine_settings default_engine;
const sink_settings default_sink;
const issuer_settings default_issuer;
const profile_settings default_profile;

/// Every option with its full name and the defaults, whatever it is an option of.
void for_each_option(auto visit) {
  for (const auto& one : agent_options())
    visit(one, "davit." + one.name, default_agent);
  for (const auto& one : engine_options())
    visit(one, "davit.engines.e." + one.name, default_engine);
  for (const auto& one : sink_options())
    visit(one, "davit.logs.sinks.s." + one.name, default_sink);
  for (const auto& one : issuer_options())
    visit(one, "davit.api.issuers.i." + one.name, default_issuer);
  for (const auto& one : profile_options())
    visit(one, "davit.policy.profiles.baseline." + one.name, default_profile);
}

/// A value of a kind that is not the option's, or one that is not within its bounds.
template <class Option>
std::string bad_value(const Option& one, std::mt19937& random) {
  auto pick = [&](std::vector<std::string> from) { return from[random() % from.size()]; };
  auto count = std::to_string(2 + random() % 1'000'000);
  std::vector<std::string> bad{"[1, 2]", "[\"\"]"};
  if (one.kind != value_kind::text)
    bad.insert(bad.end(), {"\"neither this nor that\"", "\"\"", "\"-" + count + "\""});
  if (one.kind != value_kind::flag)
    bad.push_back("true");
  if (one.kind == value_kind::text || one.kind == value_kind::flag || one.kind == value_kind::list)
    bad.insert(bad.end(), {count, count + "s", count + ".5"});
  if (one.kind == value_kind::duration)
    bad.insert(bad.end(), {'-' + count + "s", count});
  if (one.kind == value_kind::size)
    bad.insert(bad.end(), {'-' + count, "\"1.5.5g\"", "\"12q\""});
  if (one.kind == value_kind::whole_number)
    bad.insert(bad.end(), {count + ".5", '-' + count});
  if (one.kind == value_kind::number)
    bad.insert(bad.end(), {'-' + count, '-' + count + ".25"});
  if (one.kind == value_kind::text)
    bad.insert(bad.end(), {"\"\"", "\"  \""});
  if (one.kind == value_kind::text && !one.bounds.empty())
    bad.push_back("\"{ftp:// " + count + "}\"");
  for (const auto& beyond : {one.below, one.above})
    if (!beyond.empty())
      bad.push_back(beyond);
  return pick(bad);
}

std::string read_source(const std::string& path) {
  std::ifstream in{std::string{DAVIT_SOURCE} + "/" + path};
  return {std::istreambuf_iterator<char>{in}, {}};
}

} // namespace

TEST_CASE("an option with any bad value is refused by a message that names it and its line") {
  auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random{seed};
  for_each_option([&](const auto& one, const std::string& name, const auto&) {
    for (int i = 0; i < 12; ++i) {
      auto value = bad_value(one, random);
      auto [text, line] = file_with(name, value);
      auto mistakes = mistakes_of(text);
      CAPTURE(name, value);
      auto named = [&, line = line](const config_mistake& mistake) {
        return mistake.option == name && mistake.line == line && !mistake.message.empty();
      };
      CHECK(std::count_if(mistakes.begin(), mistakes.end(), named) == 1);
    }
  });
}

TEST_CASE("values just outside of an option's bounds are refused") {
  int tried = 0;
  for_each_option([&](const auto& one, const std::string& name, const auto&) {
    for (const auto& value : {one.below, one.above})
      if (!value.empty()) {
        auto mistakes = mistakes_of(file_with(name, value).first);
        CAPTURE(name, value);
        CHECK(
          std::any_of(mistakes.begin(), mistakes.end(), [&](const auto& mistake) { return mistake.option == name; }));
        ++tried;
      }
  });
  CHECK(tried > 15);
}

TEST_CASE("every option's default is read as what it is written as") {
  for_each_option([](const auto& one, const std::string& name, const auto& defaults) {
    auto settings = defaults;
    auto text = one.get(settings);
    CAPTURE(name, text);
    if (text.empty()) {
      CHECK_FALSE(one.unset.empty());
      return;
    }
    auto value = caf::config_value::parse(text);
    REQUIRE(value);
    CHECK(one.set(settings, *value).empty());
    CHECK(one.get(settings) == text);
    CHECK(one.get(defaults) == text);
  });
}

TEST_CASE("every option has a name of its own and one sentence of description") {
  std::set<std::string> names;
  for_each_option([&](const auto& one, const std::string& name, const auto&) {
    CAPTURE(name);
    CHECK(names.insert(name).second);
    CHECK(one.description.ends_with('.'));
    CHECK(one.description.find('\n') == std::string::npos);
  });
}

TEST_CASE("the file of defaults and the manual's page are written from the table") {
  CHECK(read_source("config/davit.conf") == default_configuration());
  CHECK(read_source("docs/configuration.md") == configuration_reference());
}

TEST_CASE("a mistake is named with what is wrong, where, and what to do") {
  const std::pair<std::string, std::string> table[] = {
    {"davit = 3\n", ":1: davit: must be a group: davit { agent { ... } }, not 3"},
    {"agent = \"x\"\n", ":1: agent: belongs in the group davit: davit { agent { ... } }"},
    {"agent {\n name = \"x\"\n}\n", ":1: agent: belongs in the group davit"},
    {"davit {\n agent = \"x\"\n}\n", ":2: davit.agent: must be a group: agent { data-dir = ... }, not \"x\""},
    {"davit {\n engines = 4\n}\n", ":2: davit.engines: must be a group: engines { NAME { ... } }, not 4"},
    {"davit {\n engines {\n  a = \"unix:///x\"\n }\n}\n",
     ":3: davit.engines.a: must be a group: a { endpoint = ... }, not \"unix:///x\""},
    {"davit {\n agnet {\n }\n}\n", ":2: davit.agnet: unknown option, did you mean \"agent\"?"},
    {"somebody {\n}\n", ":1: somebody: unknown group; known are davit and caf"},
    {"davit {\n engines {\n  a {\n   endpoint = \"http://engine:2375\"\n  }\n }\n}\n",
     ":4: davit.engines.a.endpoint: \"http://engine:2375\" is not the address of an engine; write tcp://engine:2375"},
    {"davit {\n engines {\n  a {\n   endpoint = \"unix:///x\"\n   log-files = \"/x\"\n  }\n }\n}\n",
     ":5: davit.engines.a.log-files: is now called \"containers-folder\"; write that instead"},
    {"davit {\n engines {\n  a {\n  }\n }\n}\n", ":3: davit.engines.a: the engine has no endpoint; write "},
    {"davit {\n store {\n  url = \"sqlite://davit.db\"\n }\n}\n",
     ":3: davit.store.url: \"sqlite://davit.db\" does not name a file by its absolute path; write sqlite:///path"},
    {"davit {\n store {\n  url = \"mysql://x\"\n }\n}\n",
     ":3: davit.store.url: \"mysql://x\" is not a valid store; write sqlite:///path"},
    {"davit {\n agent {\n  name = \"\"\n }\n}\n", ":3: davit.agent.name: must consist of letters, digits"},
    {"davit {\n agent {\n  data-dir = \"\"\n }\n}\n",
     ":3: davit.agent.data-dir: must not be empty; leave the option out for its default"},
    {"davit {\n api {\n  listen = \"http://127.0.0.1:7300\"\n }\n}\n",
     ":3: davit.api.listen: \"http://127.0.0.1:7300\" has a scheme that is not expected here; write host:port or "
     "unix:///run/davit.sock"},
    {"davit {\n logs {\n  sinks {\n   a {\n    type = \"loki\"\n    url = \"unix:///x\"\n   }\n  }\n }\n}\n",
     ":6: davit.logs.sinks.a.url: \"unix:///x\" is not a valid address of a log service: it must start with http"},
    {"caf = 1\n", ":1: caf: must be a group of options, in braces"},
    {"caf {\n shceduler {\n }\n}\n", ":2: caf.shceduler: CAF has no such option"},
    {"caf {\n scheduler {\n  max-thread = 2\n }\n}\n",
     ":3: caf.scheduler.max-thread: CAF has no such option, did you mean \"caf.scheduler.max-threads\"?"},
    {"caf {\n scheduler {\n  max-threads = \"many\"\n }\n}\n",
     ":3: caf.scheduler.max-threads: must be a value of CAF's type "},
    {"caf {\n scheduler {\n  max-threads = 0\n }\n}\n", ":3: caf.scheduler.max-threads: must be at least 1"},
    {"caf {\n scheduler {\n  policy = \"sharign\"\n }\n}\n",
     ":3: caf.scheduler.policy: must be \"sharing\" or \"stealing\""},
    {"caf {\n scheduler {\n  policy {\n   x = 1\n  }\n }\n}\n",
     ":3: caf.scheduler.policy: must be a value of CAF's type "},
  };
  for (const auto& [text, expected] : table) {
    auto mistakes = mistakes_of(text);
    CAPTURE(text, expected);
    REQUIRE(mistakes.size() == 1);
    auto said = mistakes.front().text();
    CHECK(said.substr(said.find("davit.conf") + 10).starts_with(expected));
    CAPTURE(said);
  }
}

TEST_CASE("a mistake on the command line is not looked for in the file") {
  auto config
    = read_configuration("", {"--davit.engines.a.slots=0", "--caf.scheduler.max-thread=2", "--davit.fleet.lease=1s"});
  std::vector<std::string> said;
  for (const auto& one : config.mistakes)
    said.push_back(one.text());
  CHECK(std::count(said.begin(), said.end(), "command line: davit.engines.a.slots: must be from 1 to 100000, not 0")
        == 1);
  CHECK(std::count(said.begin(), said.end(), "command line: davit.fleet.lease: must be at least 3s, not 1s") == 1);
  CHECK(std::count(
          said.begin(), said.end(),
          "command line: caf.scheduler.max-thread: CAF has no such option, did you mean \"caf.scheduler.max-threads\"?")
        == 1);
}
