// What a client of the API learns of a store that does not work: not where it is.
#include "api/problem.hpp"

#include "actors/agent_context.hpp"
#include "configuration/configuration.hpp"
#include "fixture/captured_log.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/test_database.hpp"

#include <caf/sec.hpp>
#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;

TEST_CASE("a store that is away is told to clients without its address", "[postgresql]") {
  test_database database;
  database.start();
  auto url = database.url(database.create());
  test_agent agent{{}, [&](agent_settings& settings) { settings.store_url = url; }};
  REQUIRE(agent.http("GET", "/v1/tasks").status == 200);
  auto id = to_string(agent.submit(busybox("true")));
  database.kill();
  auto ask = [&](const std::string& method, const std::string& target, const std::string& body = {}) {
    INFO(method << ' ' << target);
    transport::http_response answer;
    CHECK(eventually([&] { return (answer = agent.http(method, target, {}, body)).status == 503; }));
    INFO(answer.body);
    CHECK(answer.body.find("the agent's log says why") != std::string::npos);
    for (auto word : {"postgres", "127.0.0.1", "libpq", "sql"})
      CHECK(answer.body.find(word) == std::string::npos);
    CHECK(answer.body.find(std::to_string(database.port())) == std::string::npos);
  };
  ask("GET", "/v1/tasks");
  ask("GET", "/v1/tasks/" + id);
  ask("GET", "/v1/tasks/" + id + "/logs");
  ask("GET", "/v1/events");
  ask("POST", "/v1/tasks/" + id + "/cancel");
  ask("POST", "/v1/tasks", R"({"image":"busybox:test"})");
  ask("GET", "/readyz");
}

TEST_CASE("what the store says is in the agent's log instead") {
  caf_configuration types; // an error carries a message
  captured_log log;
  CHECK(eventually([&] { // not once for each of many requests
    auto answer = problem_of(make_failure(store_errc::unavailable, "the store postgresql://me@host/x is ill"));
    CHECK(answer.body.find("me@host") == std::string::npos);
    return log.has("the store postgresql://me@host/x is ill");
  }));
  auto unknown = problem_of(make_failure(store_errc::not_found, "there is no task x"));
  CHECK(unknown.body.find("no task x") != std::string::npos);
}

TEST_CASE("a store that does not answer is a sentence, for clients and in the agent's log; of a task nobody knows then "
          "whether it was accepted") {
  caf_configuration types;
  captured_log log;
  auto read = problem_of(caf::sec::request_timeout);
  CHECK(read.status == 503);
  CHECK(read.body.find("\"the store does not answer; try again later\"") != std::string::npos);
  CHECK(log.count("requests of the API fail: the store does not answer") == 1);
  CHECK(problem_of(caf::sec::request_timeout, "the scheduler").body.find("the scheduler does not answer")
        != std::string::npos);
  CHECK(log.count("does not answer") == 1); // not once for each of many requests
  for (auto lost : {caf::sec::request_timeout, caf::sec::broken_promise, caf::sec::request_receiver_down}) {
    auto answer = problem_of_accept(lost);
    CHECK(answer.status == 503);
    CHECK(answer.body.find("it is not known whether the task was accepted") != std::string::npos);
    CHECK(answer.body.find("the same Idempotency-Key") != std::string::npos);
    for (auto body : {answer.body, problem_of(lost).body})
      CHECK(body.find("caf::") == std::string::npos);
  }
  auto refused = problem_of_accept(make_failure(store_errc::unavailable, "the database is ill"));
  CHECK(refused.body.find("known") == std::string::npos);
}
