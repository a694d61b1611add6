// One agent at several addresses: TLS outside, a unix socket inside.
#include "cli/client.hpp"
#include "fixture/certificates.hpp"
#include "fixture/process.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>

using namespace davit;
using namespace davit::test;

TEST_CASE("an agent listens with TLS outside and on a unix socket inside at once; each has its own rules",
          "[listeners]") {
  scratch_folder folder;
  certificate_authority authority{folder.path().string(), "ca"};
  auto server = authority.issue("server");
  token_file tokens;
  auto token = tokens.make("ci", "submit,read");
  auto outside = listen_address(), inside = "unix://" + (folder / "inside.sock");
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.api_listen = {outside, inside};
                     settings.access.tokens_file = tokens.path;
                     settings.access.tls_certificate = server.certificate;
                     settings.access.tls_key = server.key;
                   }};
  agent.trust(authority.file());
  CHECK(agent.http("GET", "/v1/tasks").status == 401); // outside, a token is needed
  agent.use_token(token);
  auto theirs = agent.submit(busybox("true"));
  auto at = [&](const std::string& host, const std::vector<std::string>& words) {
    std::vector<std::string> all{DAVIT_BINARY, words.front(), "--host", host};
    all.insert(all.end(), words.begin() + 1, words.end());
    return run_process(all);
  };
  // Inside, the kernel says who calls: no token, no TLS, and all rights of local-scopes.
  auto listed = at(inside, {"ps", "--json"});
  INFO(listed.err);
  CHECK(listed.exit_code == 0);
  CHECK(listed.out.find(to_string(theirs)) != std::string::npos);
  auto ours = at(inside, {"submit", "a", "--", "true"});
  REQUIRE(ours.exit_code == 0);
  CHECK(agent.http("GET", "/v1/tasks/" + ours.out.substr(0, 36)).status == 404); // another owner's
  CHECK(at("http://" + outside, {"ps"}).exit_code != 0);                         // without TLS nobody is heard
  // Who shows something that is no token does not come as somebody without one.
  auto with = [&](const std::string& header) {
    return run_process({"/usr/bin/curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", header, "--unix-socket",
                        (folder / "inside.sock"), "http://localhost/v1/tasks"})
      .out;
  };
  CHECK(with("X: y") == "200");
  CHECK(with("Authorization:  BEARER   " + token) == "200");
  for (auto header : {"Authorization: Bearer ", "Authorization: Bearer", "Authorization: Basic eDp5",
                      "Authorization: x", "Authorization;"}) {
    INFO(header);
    CHECK(with(header) == "401");
  }
  agent.restart();
  CHECK(at(inside, {"ps"}).exit_code == 0);
}

TEST_CASE("an agent that can't listen at one of its addresses does not start, and leaves none of them", "[listeners]") {
  scratch_folder folder;
  auto taken = listen_address();
  test_agent other{{}, [&](agent_settings& settings) { settings.api_listen = {taken}; }};
  auto socket = folder / "api.sock";
  auto started
    = run_process({DAVIT_BINARY, "agent", "--davit.agent.data-dir=\"" + (folder / "data") + "\"",
                   "--davit.agent.name=\"b\"", "--davit.api.listen=[\"unix://" + socket + "\", \"" + taken + "\"]"});
  CHECK(started.exit_code == 1);
  CHECK(started.err.find("cannot listen on tcp://" + taken) != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(socket));
}
