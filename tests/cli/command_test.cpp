// The binary as a user meets it, where no engine is needed.
#include "fixture/certificates.hpp"
#include "fixture/process.hpp"
#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/stat.h>

using namespace davit::test;
using namespace std::chrono_literals;

namespace {

/// davit without anything of this machine's environment.
process_result
run_davit(std::vector<std::string> arguments, const scratch_folder& home, std::vector<std::string> environment = {}) {
  environment.push_back("XDG_STATE_HOME=" + home.path().string());
  environment.push_back("DOCKER_HOST=unix://" + (home / "no-docker.sock"));
  arguments.insert(arguments.begin(), DAVIT_BINARY);
  return run_process(std::move(arguments), {}, std::move(environment));
}

std::string read_file(const std::string& name) {
  std::ostringstream all;
  all << std::ifstream{name}.rdbuf();
  return all.str();
}

} // namespace

TEST_CASE("what is not understood ends with code 2 and says so on stderr; stdout stays empty") {
  scratch_folder home;
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"frobnicate"}, {"ps", "--colour"}, {"logs"}, {}}) {
    auto result = run_davit(arguments, home);
    CHECK(result.exit_code == 2);
    CHECK(result.out.empty());
    CHECK_FALSE(result.err.empty());
  }
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"run"},
                                                                     {"run", "--timeout", "soon", "a"},
                                                                     {"run", "--memory", "much", "a"},
                                                                     {"run", "--env-file", "/nowhere", "a"}}) {
    auto result = run_davit(arguments, home);
    CHECK(result.exit_code == 125); // as docker run does it
    CHECK(result.err.starts_with("davit: "));
  }
}

TEST_CASE("the version is told to people and to programs") {
  scratch_folder home;
  CHECK(run_davit({"version"}, home).out.starts_with("davit "));
  CHECK(run_davit({"--version"}, home).out == run_davit({"version"}, home).out);
  CHECK(run_davit({"version", "--json"}, home).out.starts_with("{\"version\":\""));
}

TEST_CASE("config/davit.conf is what check-config --defaults prints, and every file in config/ is good") {
  scratch_folder home;
  CHECK(run_davit({"check-config", "--defaults"}, home).out == read_file(DAVIT_SOURCE "/config/davit.conf"));
  for (auto name : {"davit.conf", "host-socket.conf", "dind.conf"}) {
    auto result = run_davit({"check-config", std::string{DAVIT_SOURCE "/config/"} + name}, home);
    INFO(result.err);
    CHECK(result.exit_code == 0);
  }
}

TEST_CASE("check-config names file, line and option of every mistake") {
  scratch_folder home;
  auto file = home / "davit.conf";
  std::ofstream{file} << "davit {\n  agent {\n    nmae = \"a\"\n  }\n  api {\n    listen = 7\n  }\n}\n";
  auto result = run_davit({"check-config", file}, home);
  CHECK(result.exit_code == 2);
  CHECK(result.err.find(file + ":3: davit.agent.nmae: unknown option, did you mean \"name\"?") != std::string::npos);
  CHECK(result.err.find(file + ":6: davit.api.listen: must be a text in quotes, or a list of such texts, not 7")
        != std::string::npos);
  auto agent = run_davit({"agent", "--config-file=" + file}, home);
  CHECK(agent.exit_code == 2);
  CHECK(agent.err.find(":3: davit.agent.nmae") != std::string::npos);
  CHECK(run_davit({"agent", "--config-file", file}, home).err.find(":3: davit.agent.nmae") != std::string::npos);
  CHECK(run_davit({"agent", "--config-file=/nowhere/davit.conf"}, home).exit_code == 2);
}

TEST_CASE("without an agent, commands that need one say where they looked") {
  scratch_folder home;
  auto result = run_davit({"ps"}, home, {"DAVIT_HOST=unix://" + (home / "none.sock")});
  CHECK(result.exit_code == 125);
  CHECK(result.err.find(home / "none.sock") != std::string::npos);
  CHECK(result.err.find("is a davit agent running there?") != std::string::npos);
}

TEST_CASE("a flag whose value means nothing is refused, and not left out") {
  scratch_folder home;
  const std::pair<std::vector<std::string>, std::string> wrong[]
    = {{{"ps", "-n", "0"}, "must be 1 or more, not 0"},
       {{"ps", "--limit=-1"}, "must be 1 or more, not -1"},
       {{"logs", "--attempt", "0", "x"}, "must be 1 or more, not 0"},
       {{"logs", "--tail=-1", "x"}, "must be 0 or more, not -1"},
       {{"submit", "--pids-limit", "0", "image"}, "must be 1 or more, not 0"},
       {{"submit", "-l", "=x", "image"}, "-l: write NAME=VALUE, not \"=x\""},
       {{"submit", "--engine-label", "", "image"}, "--engine-label: must not be empty"},
       {{"submit"}, "davit submit [flags] IMAGE"},
       {{"ps", "--host", "127.99.99.99"}, "tcp://127.99.99.99:7300"}};
  for (const auto& [arguments, words] : wrong) {
    auto result = run_davit(arguments, home);
    INFO(arguments.front() << ": " << result.err);
    CHECK(result.exit_code != 0);
    CHECK(result.err.find(words) != std::string::npos);
  }
}

TEST_CASE("run without an engine ends with 125, says why, and leaves no task behind that would start later") {
  scratch_folder home;
  auto result = run_davit({"run", "busybox:test", "--", "true"}, home);
  CHECK(result.exit_code == 125);
  CHECK(result.err.find("no engine is ready: there is no socket at " + (home / "no-docker.sock")) != std::string::npos);
  CHECK(result.out.empty());
}

TEST_CASE("a flag after -- is an error that says where flags belong, and an unknown flag is no image") {
  scratch_folder home;
  for (std::vector<std::string> words : {std::vector<std::string>{"run", "--", "-it", "busybox:test"},
                                         {"run", "--rm", "--", "--nonsense", "busybox:test"},
                                         {"run", "-e", "A=1", "--", "--", "busybox:test"},
                                         {"submit", "--", "-e", "A=1", "busybox:test"}}) {
    auto result = run_davit(words, home);
    INFO(words[0] << ' ' << words[2] << ": " << result.err);
    CHECK(result.exit_code == 125);
    CHECK(result.err.find("is not an image: after -- comes the image, then its command") != std::string::npos);
  }
  auto unknown = run_davit({"run", "--nonsense", "busybox:test"}, home);
  CHECK(unknown.exit_code == 125);
  CHECK(unknown.err.find("\"--nonsense\" is neither a flag nor an image") != std::string::npos);
  for (std::vector<std::string> words : {std::vector<std::string>{"run", "--", "busybox:test", "-it"},
                                         {"run", "busybox:test", "--", "-it"}}) // that is the command
    CHECK(run_davit(words, home).err.find("no engine is ready") != std::string::npos);
}

TEST_CASE("the doctor names what is wrong and how to mend it") {
  scratch_folder home;
  auto result = run_davit({"doctor"}, home);
  CHECK(result.exit_code == 1);
  CHECK(result.out.find("there is no socket at") != std::string::npos);
  CHECK(result.out.find("fix:") != std::string::npos);
}

TEST_CASE("explain-policy tells what is refused, added and allowed, and by which rule") {
  scratch_folder home;
  auto spec = home / "spec.json";
  std::ofstream{spec} << R"({"image":"alpine","privileged":true,"user":"0"})";
  auto refused = run_davit({"explain-policy", spec}, home);
  CHECK(refused.exit_code == 1);
  CHECK(refused.out.find("refused  privileged        privileged") != std::string::npos);
  CHECK(refused.out.find("added    resources.memory  limits.default     512m") != std::string::npos);
  CHECK(refused.out.find("allowed  user") != std::string::npos);
  CHECK(refused.out.find("allowed  privileged") == std::string::npos);
  CHECK(refused.err.find("privileged") != std::string::npos);
  auto wide = run_davit({"explain-policy", spec, "--profile", "privileged", "--json"}, home);
  CHECK(wide.exit_code == 0);
  CHECK(wide.out.find(R"("allowed":true)") != std::string::npos);
  CHECK(wide.out.find(R"("least_profile":"privileged")") != std::string::npos);
  std::ofstream{home / "davit.conf"}
    << "davit {\n  policy {\n    profile = \"privileged\"\n  }\n  engines {\n    a {\n      endpoint = \"unix:///x\"\n "
       "     profile = \"restricted\"\n    }\n  }\n}\n";
  auto by_engine = run_davit({"explain-policy", spec, "--config-file", home / "davit.conf", "--json"}, home);
  INFO(by_engine.err);
  CHECK(by_engine.exit_code == 1);
  CHECK(by_engine.out.find(R"("profile":"restricted")") != std::string::npos);
  CHECK(by_engine.out.find(R"("rule":"user")") != std::string::npos);
  CHECK(run_davit({"explain-policy", home / "nowhere.json"}, home).exit_code == 125);
  std::ofstream{spec} << R"({"image":"alpine","priviledged":true})";
  auto wrong = run_davit({"explain-policy", spec}, home);
  CHECK(wrong.exit_code == 125);
  CHECK(wrong.err.find("did you mean") != std::string::npos);
}

TEST_CASE("files with secrets that others can read, or that say nothing, stop the agent before it starts") {
  scratch_folder home;
  auto file = home / "davit.conf", key = home / "secrets.key", tokens = home / "tokens.json";
  std::ofstream{file} << "davit {\n  agent {\n    data-dir = \"" << home / "data"
                      << "\"\n    secrets-key = \"" << key << "\"\n  }\n  api {\n    listen = \"unix://"
                      << home / "socket"
                      << "\"\n    tokens-file = \"" << tokens << "\"\n  }\n}\n";
  auto put = [](const std::string& name, const std::string& text, mode_t mode) {
    std::ofstream{name} << text;
    ::chmod(name.c_str(), mode);
  };
  const std::string good_key = std::string(43, 'A') + "=\n", good_tokens = "{\"tokens\":[]}\n";
  auto expect = [&](const std::string& words) {
    for (const auto& arguments :
         std::vector<std::vector<std::string>>{{"check-config", file}, {"agent", "--config-file=" + file}}) {
      auto result = run_davit(arguments, home);
      INFO(result.err);
      CHECK(result.exit_code == 2);
      CHECK(result.err.find(words) != std::string::npos);
      CHECK_FALSE(std::filesystem::exists(home / "data"));
    }
  };
  CHECK(run_davit({"check-config", file}, home).exit_code == 0); // the agent makes the one, davit token the other
  put(key, good_key, 0644);
  put(tokens, good_tokens, 0600);
  expect(file + ":4: davit.agent.secrets-key: " + key
         + " can be read by every user of this machine (mode 0644); run: chmod 600 " + key);
  put(key, good_key, 0440);
  CHECK(run_davit({"check-config", file}, home).exit_code == 0);
  ::chmod(key.c_str(), 0600);
  put(key, "c2hvcnQ=\n", 0600);
  expect(file + ":4: davit.agent.secrets-key: " + key + " has no valid key: it must be 32 bytes in base64");
  put(key, good_key, 0600);
  put(tokens, good_tokens, 0604);
  expect(file + ":8: davit.api.tokens-file: " + tokens + " can be read by every user");
  put(tokens, good_tokens, 0620);
  expect("is open to other users of this machine (mode 0620); run: chmod 600 " + tokens);
  put(tokens, "{}x", 0600);
  expect(file + ":8: davit.api.tokens-file: " + tokens + " is not a valid list of tokens");
  put(tokens, good_tokens, 0644);
  std::filesystem::create_directory(home / "data");
  put(home / "data/davit.db", "x", 0644);
  ::chmod((home / "data").c_str(), 0755);
  auto doctor = run_davit({"doctor", "--config-file", file}, home);
  INFO(doctor.out << doctor.err);
  CHECK(doctor.exit_code == 1);
  CHECK(doctor.out.find("chmod 600 " + tokens) != std::string::npos);
  CHECK(doctor.out.find(home / "data") != std::string::npos);
  CHECK(doctor.out.find("(mode 0755) and 1 more is open to other users") != std::string::npos);
  CHECK(doctor.out.find("chmod -R go= " + (home / "data")) != std::string::npos);
  ::chmod((home / "data").c_str(), 0700);
  ::chmod((home / "data/davit.db").c_str(), 0600);
  CHECK(run_davit({"doctor", "--config-file", file}, home).out.find("data is closed to other users")
        != std::string::npos);
}

TEST_CASE("certificates that are none, or that their key does not fit, are mistakes and stop the agent with code 2") {
  scratch_folder home;
  certificate_authority authority{home.path().string(), "ca"};
  auto good = authority.issue("good"), other = authority.issue("other");
  auto file = home / "davit.conf", none = home / "none.pem";
  std::ofstream{none} << "no certificate\n";
  auto check = [&](const std::string& certificate, const std::string& key, const std::string& ca) {
    std::ofstream{file} << "davit {\n  agent {\n    data-dir = \"" << home / "data"
                        << "\"\n  }\n  api {\n"
                        << "    tls-certificate = \"" << certificate << "\"\n    tls-key = \"" << key
                        << "\"\n    tls-client-ca = \"" << ca << "\"\n  }\n}\n";
    auto result = run_davit({"check-config", file}, home);
    if (result.exit_code != 0) {
      auto agent = run_davit({"agent", "--config-file=" + file}, home);
      CHECK(agent.exit_code == 2);
      CHECK(agent.err == result.err);
    }
    return result;
  };
  CHECK(check(good.certificate, good.key, authority.file()).exit_code == 0);
  auto expect = [&](const process_result& result, const std::string& words) {
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK(result.err.starts_with(file + words));
  };
  expect(check(none, good.key, authority.file()), ":6: davit.api.tls-certificate: " + none + " has no PEM certificate");
  expect(check(good.certificate, other.key, authority.file()),
         ":7: davit.api.tls-key: " + other.key + " has no key that fits " + good.certificate);
  expect(check(good.certificate, none, authority.file()), ":7: davit.api.tls-key: " + none + " has no key that fits");
  expect(check(good.certificate, good.key, none),
         ":8: davit.api.tls-client-ca: " + none + " has no PEM certificate authority");
}

TEST_CASE("what is not a regular file is no configuration and no list of tokens, and nothing is made beside it") {
  scratch_folder home;
  auto pipe = home / "pipe", file = home / "davit.conf";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  auto refused = [&](const std::vector<std::string>& arguments, const std::string& words) {
    auto result = run_davit(arguments, home);
    INFO(result.err);
    CHECK(result.exit_code != 0);
    CHECK(result.out.empty());
    CHECK(result.err.find(words) != std::string::npos);
  };
  refused({"check-config", pipe}, pipe + ": is not a regular file");
  refused({"check-config", home.path().string()}, ": is a directory, not a file");
  refused({"agent", "--config-file=" + pipe}, pipe + ": is not a regular file");
  refused({"token", "create", "a", "--scope", "read", "--tokens-file", pipe}, pipe + " is not a regular file");
  refused({"token", "revoke", "a", "--tokens-file", pipe}, pipe + " is not a regular file");
  refused({"token", "list", "--tokens-file", pipe}, pipe + " is not a regular file");
  refused({"token", "create-key", "--key-file", pipe}, pipe + " is not a regular file");
  for (std::string option :
       {"agent { secrets-key", "agent { signing-key", "agent { docker-config", "api { tokens-file", "api { mint-key",
        "api { tls-certificate", "api { audit-log", "logs { sinks { one { path"}) {
    std::ofstream{file} << "davit { " << option << " = \"" << pipe << "\" }" << (option.ends_with("path") ? " } }" : "")
                        << " }\n";
    refused({"check-config", file}, "is not a regular file");
  }
  std::vector<std::string> names;
  for (const auto& one : std::filesystem::directory_iterator{home.path()})
    names.push_back(one.path().filename().string());
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"davit.conf", "pipe"});
}
