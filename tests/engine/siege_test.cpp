// A crowd at an agent's port and actors that end, while a client has tasks run on a real engine.
#include "fixture/environment.hpp"
#include "fixture/hostile_crowd.hpp"
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"

#include <caf/send.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <thread>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

using steady = std::chrono::steady_clock;

struct besieged_agent {
  test_engine engine{"a"};
  token_file tokens;
  std::string listen = listen_address(), hostile = tokens.make("hostile", "submit,read,cancel"),
              good = tokens.make("good", "submit,read,cancel");
  test_agent agent{{with_sandboxes()}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                     settings.access.rate_limit = 0;
                   }};

  engine_settings with_sandboxes() const {
    auto settings = engine.settings(4);
    settings.sandboxes = 2;
    return settings;
  }

  std::uint16_t port() const { return static_cast<std::uint16_t>(std::stoi(listen.substr(listen.find(':') + 1))); }

  /// One to its end, one that is cancelled.
  void run_two(start_mode start) {
    CAPTURE(to_string(start));
    auto ends = busybox("for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done; exit 3"),
         stays = busybox("echo up; sleep 600");
    ends.start = stays.start = start;
    stays.stop_timeout = 1s;
    auto first = agent.submit(ends), second = agent.submit(stays);
    agent.await_state(second, task_state::running);
    agent.cancel(second);
    CHECK(agent.wait(second).outcome == outcome::cancelled);
    auto ended = agent.wait(first);
    CHECK(ended.exit_code == 3);
    CHECK(agent.logs(first).out == "line 1\nline 2\nline 3\nline 4\nline 5\n");
  }

  /// Another one each time; the supervisor, or the scheduler for an executor, starts it again.
  void end_actor(unsigned turn) {
    auto all = agent.process().addresses();
    auto end = [](const auto& actor) { caf::anon_send_exit(actor, caf::exit_reason::kill); };
    switch (turn % 6) {
      case 0:
        return end(all.scheduler);
      case 1:
        return end(all.engines.at("a"));
      case 2:
        return end(all.store);
      case 3:
        return end(all.sandboxes.at("a"));
      case 4:
        return end(all.logs);
      default:
        return end(all.reaper);
    }
  }
};

} // namespace

TEST_CASE_METHOD(besieged_agent,
                 "a crowd at the port, and actors that end: each task of a client at work ends as it should",
                 "[siege]") {
  agent.use_token(hostile);
  auto task = to_string(agent.submit(busybox("true")));
  agent.use_token(good);
  crowd_plan plan;
  plan.port = port();
  plan.seed = number_from("DAVIT_CROWD_SEED", 1);
  plan.connections = number_from("DAVIT_CROWD", 100);
  plan.requests = hostile_requests(hostile, task);
  INFO("DAVIT_CROWD_SEED=" << plan.seed);
  auto until = steady::now() + std::chrono::seconds{number_from("DAVIT_CROWD_SECONDS", 4)};
  crowd_report report;
  std::thread besiegers{[&] { report = besiege(plan, until); }};
  std::size_t tasks = 0;
  unsigned ended = 0;
  std::string unexpected;
  // A subtree takes five failures a minute.
  auto next = steady::now() + 1s;
  while (steady::now() < until && unexpected.empty()) {
    try {
      run_two(tasks % 4 == 0 ? start_mode::cold : start_mode::warm);
      tasks += 2;
      if (steady::now() >= next) {
        end_actor(ended++);
        next += 20s;
      }
    } catch (const std::exception& e) {
      unexpected = e.what();
    } catch (const command_failure& failure) {
      unexpected = failure.message;
    }
  }
  besiegers.join();
  CHECK(unexpected == "");
  for (const auto& one : report.wrong)
    FAIL_CHECK("this is no answer: " << one);
  CHECK(tasks > 0);
  CHECK(report.answers > 0);
  if (std::getenv("DAVIT_CROWD_SECONDS"))
    WARN(report.connected << " connections, " << report.answers << " answers, " << tasks << " tasks, " << ended
                          << " actors ended");
}
