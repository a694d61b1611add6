// One pull of an image on an engine, however many tasks want it.
#include "fixture/scripted_engine.hpp"
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <thread>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

TEST_CASE("tasks that want the same image share its pull; one that is cancelled leaves the others theirs") {
  std::atomic<int> pulls{0};
  std::atomic<bool> released{false}, there{false};
  scripted_engine engine{"e", [&](const std::string& request, scripted_connection& connection) {
                           auto is = [&](const char* part) { return request.find(part) != std::string::npos; };
                           if (is("/images/create")) {
                             ++pulls;
                             eventually([&] { return released.load(); });
                             there = true;
                             return connection.answer(200, R"({"status":"Download complete"})");
                           }
                           if ((is("/images/") || is("/containers/create")) && !there)
                             return connection.answer(404, R"({"message":"No such image"})");
                           if (is("/images/"))
                             return connection.answer(200, R"({"Id":"sha256:0"})");
                           return false;
                         }};
  test_agent agent{{engine.settings(4)}};
  auto spec = busybox("true");
  spec.image = "registry.example/shared:1";
  std::vector<task_id> tasks;
  for (int i = 0; i < 4; ++i)
    tasks.push_back(agent.submit(spec));
  for (auto id : tasks)
    agent.await_phase(id, "pull");
  agent.cancel(tasks.front()); // the one that the pull was begun for
  CHECK(agent.wait(tasks.front()).outcome == outcome::cancelled);
  released = true;
  for (std::size_t i = 1; i < tasks.size(); ++i) {
    auto ended = agent.wait(tasks[i]);
    INFO(ended.message);
    CHECK(ended.outcome == outcome::succeeded);
  }
  CHECK(pulls == 1);
}

TEST_CASE("a task whose time to pull is over leaves; the pull goes on for the others") {
  std::atomic<bool> released{false}, there{false};
  scripted_engine engine{"e", [&](const std::string& request, scripted_connection& connection) {
                           auto is = [&](const char* part) { return request.find(part) != std::string::npos; };
                           if (is("/images/create")) {
                             eventually([&] { return released.load(); });
                             there = true;
                             return connection.answer(200, R"({"status":"Download complete"})");
                           }
                           if ((is("/images/") || is("/containers/create")) && !there)
                             return connection.answer(404, R"({"message":"No such image"})");
                           return is("/images/") && connection.answer(200, R"({"Id":"sha256:0"})");
                         }};
  test_agent agent{{engine.settings(4)}};
  auto patient = busybox("true"), hasty = busybox("true");
  patient.image = hasty.image = "registry.example/shared:1";
  hasty.pull_timeout = 1s;
  auto first = agent.submit(hasty), second = agent.submit(patient);
  auto ended = agent.wait(first);
  CHECK(ended.outcome == outcome::image_unavailable);
  CHECK(ended.message.find("the pull took longer than 1s") != std::string::npos);
  released = true;
  CHECK(agent.wait(second).outcome == outcome::succeeded);
}
