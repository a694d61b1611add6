// A crowd that means harm at a live agent's port, with and without tokens, while somebody else works there.
#include "fixture/environment.hpp"
#include "fixture/hostile_crowd.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <thread>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

TEST_CASE("a crowd in every state, with and without tokens: others are served, each answer is whole, and all is "
          "forgotten when it has gone",
          "[crowd]") {
  token_file tokens;
  auto hostile = tokens.make("hostile", "submit,read,cancel"), good = tokens.make("good", "submit,read");
  auto listen = listen_address();
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                     settings.access.rate_limit = 0;
                   }};
  agent.use_token(hostile);
  auto task = to_string(agent.submit(busybox("true")));
  agent.use_token(good);
  crowd_plan plan;
  plan.port = static_cast<std::uint16_t>(std::stoi(listen.substr(listen.find(':') + 1)));
  plan.seed = number_from("DAVIT_CROWD_SEED", 1);
  plan.connections = number_from("DAVIT_CROWD", 400);
  plan.requests = hostile_requests(hostile, task);
  INFO("DAVIT_CROWD_SEED=" << plan.seed);
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds{number_from("DAVIT_CROWD_SECONDS", 4)};
  crowd_report report;
  std::thread besiegers{[&] { report = besiege(plan, until); }};
  std::size_t served = 0;
  std::vector<std::string> unexpected;
  while (std::chrono::steady_clock::now() < until && unexpected.empty()) {
    try {
      // Loopback is one address of many clients: a known one at work keeps its place.
      auto status = agent.http("POST", "/v1/tasks", {}, R"({"image":"b","command":["true"]})").status;
      if (status != 202)
        unexpected.push_back("submit: " + std::to_string(status));
      auto listed = agent.http("GET", "/v1/tasks?limit=3");
      if (listed.status != 200 || listed.body.find(task) != std::string::npos)
        unexpected.push_back("list: " + std::to_string(listed.status) + " " + listed.body);
      ++served;
    } catch (const std::exception& e) {
      unexpected.emplace_back(e.what());
    } catch (const command_failure& failure) {
      unexpected.push_back(failure.message);
    }
  }
  besiegers.join();
  for (const auto& one : unexpected)
    FAIL_CHECK(one);
  for (const auto& one : report.wrong)
    FAIL_CHECK("this is no answer: " << one);
  CHECK(served > 0);
  CHECK(report.answers > 0);
  CHECK(eventually([&] { return agent.metric("davit_http_connections") <= 2; }));
  INFO(report.connected << " connections, " << report.answers << " answers, the good client " << served << " times");
  if (std::getenv("DAVIT_CROWD_SECONDS"))
    WARN(report.connected << " connections, " << report.answers << " answers, the good client " << served << " times");
}
