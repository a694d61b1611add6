// What a client of the API learns of a store that does not work: not where it is.
#include "api/problem.hpp"

#include "actors/agent_context.hpp"
#include "configuration/configuration.hpp"
#include "fixture/captured_log.hpp"
#include "fixture/process.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/test_database.hpp"

#include <caf/sec.hpp>
#include <catch2/catch_test_macros.hpp>

#include <memory>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

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
    for (const auto& body : {answer.body, problem_of(lost).body})
      CHECK(body.find("caf::") == std::string::npos);
  }
  auto refused = problem_of_accept(make_failure(store_errc::unavailable, "the database is ill"));
  CHECK(refused.body.find("known") == std::string::npos);
}

TEST_CASE("a database that hangs: each request is answered, and what is known without it is told", "[postgresql]") {
  test_database database;
  database.start();
  auto url = database.url(database.create());
  engine_settings absent;
  absent.name = "absent";
  absent.endpoint = "unix:///nonexistent/docker.sock";
  test_agent agent{{absent}, [&](agent_settings& settings) { settings.store_url = url; }};
  REQUIRE(agent.http("GET", "/v1/tasks").status == 200);
  auto id = to_string(agent.submit(busybox("true")));
  database.freeze();
  auto ask = [&](const std::string& method, const std::string& target, const std::string& body = {}) {
    std::vector<std::string> words{
      "/usr/bin/curl", "-sSi", "-m", "60", "--unix-socket", agent.socket(), "-X", method, "http://davit" + target};
    if (!body.empty())
      words.insert(words.end(), {"-H", "Content-Type: application/json", "-d", body});
    return std::make_unique<process>(std::move(words));
  };
  auto submitted = ask("POST", "/v1/tasks", R"({"image":"busybox:test","name":"hung"})");
  auto waited = ask("GET", "/v1/tasks/" + id + "/wait?timeout=1s");
  std::vector<std::unique_ptr<process>> others;
  for (auto target : {"/v1/tasks", "/v1/events", "/v1/agents"})
    others.push_back(ask("GET", target));
  others.push_back(ask("GET", "/v1/tasks/" + id));
  others.push_back(ask("POST", "/v1/tasks/" + id + "/cancel"));
  auto readiness = ask("GET", "/readyz");
  auto check = [](process& asked, const std::string& words) {
    auto done = asked.wait();
    auto answer = done.out + done.err;
    INFO(answer);
    CHECK(answer.starts_with("HTTP/1.1 503 "));
    CHECK(answer.find(words) != std::string::npos);
    CHECK(answer.find("caf::") == std::string::npos);
    return answer;
  };
  CHECK(check(*waited, "the store does not answer").find("Retry-After: 1") != std::string::npos);
  for (auto& one : others)
    check(*one, "the store does not answer; try again later");
  check(*submitted, "it is not known whether the task was accepted");
  auto ready = check(*readiness, "the store does not answer");
  CHECK(ready.find("engine absent is") != std::string::npos);
  CHECK(ready.find("no engine is configured") == std::string::npos);
  database.thaw();
  // It was: the answer has said that this may be.
  auto there = [&] { return agent.http("GET", "/v1/tasks?name=hung").body.find("\"hung\"") != std::string::npos; };
  CHECK(eventually(there));
}
