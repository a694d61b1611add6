// In a fleet any agent signs what is known of any task, with its own key.
#include "attestation/envelope.hpp"
#include "fixture/test_daemon.hpp"
#include "fixture/test_database.hpp"
#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>

#include <boost/json.hpp>

using namespace davit;
using namespace davit::test;

TEST_CASE("another agent than the one that ran a task signs the same about it", "[fleet][attest]") {
  test_database server;
  auto store = server.url(server.create());
  auto options = [&](const std::string& name) {
    return std::vector<std::string>{"--davit.agent.name=\"" + name + "\"", "--davit.store.url=\"" + store + "\"",
                                    "--davit.fleet.lease=9s"};
  };
  test_engine engine{"e"};
  test_daemon a{{engine.settings(4)}, options("a")}, b{{}, options("b")};
  a.start();
  b.start();
  auto ended = a.run(busybox("head -c 3000000 /dev/urandom | od -v | head -c 2000000; echo end >&2"));
  REQUIRE(ended.outcome == outcome::succeeded);
  auto statement = [&](test_daemon& from) {
    std::string text, why;
    // The log comes into the store a moment after the outcome; until then it is the agent's that ran the task.
    CHECK(eventually([&] {
      auto answer = from.http("GET", "/v1/tasks/" + to_string(ended.id) + "/attestation", {}, "");
      text = answer.body;
      return answer.status == 200;
    }));
    auto sealed = attestation::read_envelope(text, why);
    REQUIRE(sealed);
    auto pem = boost::json::parse(from.call("GET", "/v1/signing-key")).at("public_key").as_string();
    auto key = attestation::public_key::read_pem(std::string{pem}, why);
    REQUIRE(key);
    CHECK(signer_of(*sealed, {{*key}, {}}));
    return boost::json::parse(sealed->payload);
  };
  auto by_a = statement(a), by_b = statement(b);
  const auto &of_a = by_a.at("predicate").at("runDetails"), &of_b = by_b.at("predicate").at("runDetails");
  CHECK(by_a.at("subject") == by_b.at("subject"));
  CHECK(by_a.at("subject").as_array().size() == 4);
  CHECK(by_a.at("predicate").at("buildDefinition") == by_b.at("predicate").at("buildDefinition"));
  CHECK(of_a.at("davit_attempts") == of_b.at("davit_attempts"));
  CHECK(of_b.at("davit_attempts").at(0).at("agent").as_string() == "a");
  CHECK(of_a.at("davit_log").at("state").as_string() == "whole");
  CHECK(of_a.at("davit_log") == of_b.at("davit_log"));
  CHECK(of_a.at("davit_signer").at("agent").as_string() == "a");
  CHECK(of_b.at("davit_signer").at("agent").as_string() == "b");
  CHECK(of_a.at("davit_signer").at("key") != of_b.at("davit_signer").at("key"));
}
