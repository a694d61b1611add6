// The groups of davit.api.issuers: what is read, and what would let in too many, or nobody, is refused.
#include "configuration/configuration.hpp"
#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <fstream>
#include <map>

using namespace davit;

namespace {

struct issuer_file {
  test::scratch_folder folder;
  std::map<std::string, std::string> lines{{"issuer", "\"https://gitlab.example.com\""},
                                           {"audience", "\"davit\""},
                                           {"jwks-url", "\"https://gitlab.example.com/oauth/discovery/keys\""},
                                           {"owner", "\"{project_path}\""},
                                           {"require", "[\"project_path=group/.*\"]"}};

  configuration read(const std::string& more = {}) {
    auto text = "davit {\n api {\n  " + more + "\n  issuers {\n   gitlab {\n";
    for (const auto& [name, value] : lines)
      text += "    " + name + " = " + value + '\n';
    std::ofstream{folder / "davit.conf"} << text << "   }\n  }\n }\n}\n";
    return read_configuration(folder / "davit.conf", {});
  }
  /// What is said of it, without the file's name.
  std::string said(const std::string& more = {}) {
    auto mistakes = read(more).mistakes;
    std::string all;
    for (const auto& one : mistakes)
      all += one.option + ": " + one.message + '\n';
    return all;
  }
};

} // namespace

TEST_CASE_METHOD(issuer_file, "an issuer is read") {
  lines["scopes"] = "[\"submit\", \"read:all\"]";
  lines["profile"] = "\"restricted\"";
  auto config = read();
  REQUIRE(said().empty());
  REQUIRE(config.agent.access.issuers.size() == 1);
  const auto& one = config.agent.access.issuers.front();
  CHECK(one.name == "gitlab");
  CHECK(one.issuer == "https://gitlab.example.com");
  CHECK(one.owner == "{project_path}");
  CHECK(one.require == std::vector<std::string>{"project_path=group/.*"});
  CHECK(one.scopes == std::vector{api_scope::submit, api_scope::read_all});
  CHECK(one.profile == policy_profile::restricted);
}

TEST_CASE_METHOD(issuer_file, "what would let in too many, or nobody, is named") {
  const std::vector<std::tuple<std::string, std::string, std::string>> table{
    {"issuer", "", "davit.api.issuers.gitlab: it has no issuer"},
    {"audience", "", "davit.api.issuers.gitlab: it has no audience"},
    {"jwks-url", "", "davit.api.issuers.gitlab: it needs the issuer's keys"},
    {"jwks-url", "\"http://gitlab.example.com/keys\"", "davit.api.issuers.gitlab.jwks-url: who changes the keys"},
    {"jwks-url", "\"gitlab.example.com\"",
     "davit.api.issuers.gitlab.jwks-url: \"gitlab.example.com\" is not a valid URL"},
    {"jwks-file", "\"/nowhere/keys.json\"", "it needs the issuer's keys: set jwks-file or jwks-url, and not both"},
    {"jwks-file", "\"/nowhere/keys.json\"", "davit.api.issuers.gitlab.jwks-file: /nowhere/keys.json can't be read"},
    {"require", "", "davit.api.issuers.gitlab: it has no require"},
    {"require", "[]", "davit.api.issuers.gitlab: it has no require"},
    {"require", "[\"project_path\"]", "davit.api.issuers.gitlab.require: \"project_path\" is not a rule"},
    {"require", "[\"a=(\"]", "davit.api.issuers.gitlab.require: \"(\" is not a valid RE2 pattern"},
    {"owner", "\"{a}{b}\"", "davit.api.issuers.gitlab.owner: \"{a}{b}\" needs a / between two claims"},
    {"owner", "\"{a\"", "davit.api.issuers.gitlab.owner: \"{a\" has a {"},
    {"scopes", "[\"all\"]", "davit.api.issuers.gitlab.scopes: must be a list, each entry one of"},
    {"issuers", "1", "davit.api.issuers.gitlab.issuers: unknown option, did you mean \"issuer\"?"}};
  for (const auto& [name, value, expected] : table) {
    auto file = issuer_file{};
    if (value.empty())
      file.lines.erase(name);
    else
      file.lines[name] = value;
    auto text = file.said();
    INFO(name << " = " << value << "\n" << text);
    CHECK(text.find(expected) != std::string::npos);
  }
  lines["jwks-url"] = "\"http://127.0.0.1:8080/keys\"";
  CHECK(said().empty());
  CHECK(said("listen = \"0.0.0.0:7300\"").find("needs TLS") != std::string::npos);
}
