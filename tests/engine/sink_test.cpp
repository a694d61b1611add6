// Logs that are sent elsewhere: whole, in order, over a service that is away and an agent that is killed; and never in
// a task's way.
#include "fixture/log_receiver.hpp"
#include "fixture/process.hpp"
#include "fixture/test_daemon.hpp"
#include "fixture/test_engine.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <csignal>
#include <set>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

std::vector<std::string> sink(const std::string& type, const std::string& more) {
  return {"--davit.logs.sinks.out.type=\"" + type + "\"", "--davit.logs.sinks.out." + more};
}

std::vector<std::string> numbered(int count, const std::string& word) {
  std::vector<std::string> lines;
  for (int i = 1; i <= count; ++i)
    lines.push_back(word + ' ' + std::to_string(i));
  return lines;
}

/// Those of one task.
std::vector<std::string> beginning_with(std::vector<std::string> lines, const std::string& word) {
  std::erase_if(lines, [&](const std::string& line) { return !line.starts_with(word); });
  return lines;
}

task_spec printing(int count, const std::string& word = "line") {
  return busybox("i=0; while [ $i -lt " + std::to_string(count) + " ]; do i=$((i+1)); echo " + word + " $i; done");
}

} // namespace

TEST_CASE("a file sink has a line of JSON for each line that tasks print, and is rotated", "[sinks]") {
  test_engine engine{"a"};
  scratch_folder folder;
  auto options = sink("file", "path=\"" + (folder / "logs.json") + "\"");
  options.push_back("--davit.logs.sinks.out.max-size=\"200k\"");
  test_daemon agent{{engine.settings(4)}, options};
  agent.start();
  auto ended = agent.run(printing(3000));
  CHECK(ended.outcome == outcome::succeeded);
  CHECK(eventually([&] { return shell("cat " + (folder / "logs*json") + " | wc -l") == "3000\n"; }));
  CHECK(shell("cat $(ls -r " + (folder / "logs*json") + ") | jq -r 'select(.task == \"" + to_string(ended.id)
              + "\") | .line' | sort -n -k2 | uniq | wc -l")
        == "3000\n");
  CHECK(shell("ls " + (folder / "logs*json") + " | wc -l") != "1\n");
  CHECK(agent.call("GET", "/v1/sinks").find(R"("dropped":0,"failures":0,"backlog":0)") != std::string::npos);
  CHECK(agent.metric("davit_sink_bytes_total{sink=\"out\"}") > 20'000);
}

TEST_CASE("a service that is away holds no task up, and gets all when it is back, in order", "[sinks]") {
  log_receiver loki{[](const auto&) { return transport::server_response{503, "text/plain", "not now", {}}; }};
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(4)}, sink("loki", "url=\"" + loki.url() + "\"")};
  agent.start();
  auto first = agent.run(printing(500)), second = agent.run(printing(500, "other"));
  CHECK(first.outcome == outcome::succeeded);
  CHECK(second.outcome == outcome::succeeded);
  CHECK(eventually([&] { return agent.metric("davit_sink_failures_total{sink=\"out\"}") > 0; }));
  CHECK(agent.call("GET", "/v1/sinks").find("it answers with 503: not now") != std::string::npos);
  CHECK(loki.lines().empty());
  loki.become({});
  CHECK(eventually([&] { return loki.lines().size() == 1000; }));
  CHECK(beginning_with(loki.lines(), "line") == numbered(500, "line"));
  CHECK(beginning_with(loki.lines(), "other") == numbered(500, "other"));
  CHECK(eventually([&] { return agent.call("GET", "/v1/sinks").find(R"("backlog":0)") != std::string::npos; }));
}

TEST_CASE("kill -9 of the agent: every line reaches the service, those around the kill perhaps twice", "[sinks]") {
  log_receiver collector;
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(4)}, sink("otlp", "url=\"" + collector.url() + "\"")};
  agent.start();
  auto id = agent.submit(busybox("i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; sleep 0.1; done"));
  eventually([&] { return collector.lines().size() > 10; });
  agent.kill();
  shell("sleep 1");
  agent.start();
  auto quick
    = agent.run(busybox("echo quick")); // ended before the kill below, and perhaps not written down by the sink
  agent.kill();
  agent.start();
  CHECK(agent.wait(id).outcome == outcome::succeeded);
  CHECK(eventually([&] {
    auto lines = collector.lines();
    std::set<std::string> seen{lines.begin(), lines.end()};
    return seen.size() == 61 && seen.contains("line 60") && seen.contains("quick");
  }));
  CHECK(collector.lines().size() < 200);
}

TEST_CASE("more than max-backlog is dropped, the oldest first, and counted; tasks do not notice", "[sinks]") {
  log_receiver loki{[](const auto&) { return transport::server_response{500, "text/plain", "broken", {}}; }};
  test_engine engine{"a"};
  auto options = sink("loki", "url=\"" + loki.url() + "\"");
  options.push_back("--davit.logs.sinks.out.max-backlog=\"64k\"");
  test_daemon agent{{engine.settings(4)}, options};
  agent.start();
  CHECK(agent.run(printing(5000)).outcome == outcome::succeeded);
  CHECK(eventually([&] { return agent.metric("davit_sink_dropped_bytes_total{sink=\"out\"}") > 40'000; }));
  auto kept = agent.run(busybox("echo kept"));
  loki.become({});
  CHECK(eventually([&] { return !loki.lines().empty(); }));
  CHECK(loki.lines() == std::vector<std::string>{"kept"});
}

TEST_CASE("what was printed is sent before an agent that is stopped has ended", "[sinks]") {
  log_receiver loki;
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(4)}, sink("loki", "url=\"" + loki.url() + "\"")};
  agent.start();
  auto id = agent.submit(busybox("sleep 1; seq 100"));
  agent.await_state(id, task_state::running);
  agent.signal(SIGTERM);
  CHECK(agent.wait_end().exit_code == 0);
  CHECK(loki.lines().size() == 100);
}

TEST_CASE("the submitter's trace goes to the task and to its logs", "[sinks]") {
  log_receiver collector;
  test_engine engine{"a"};
  test_daemon agent{{engine.settings(4)}, sink("otlp", "url=\"" + collector.url() + "\"")};
  agent.start();
  const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  auto answer = agent.http("POST", "/v1/tasks", {{"traceparent", trace}},
                           R"({"image":"busybox:test","network":"none","command":["sh","-c","echo $TRACEPARENT"]})");
  REQUIRE(answer.status == 202);
  CHECK(eventually([&] { return collector.lines() == std::vector<std::string>{trace}; }));
  CHECK(collector.requests().at(0).body.find(R"("traceId":"0af7651916cd43dd8448eb211c80319c")") != std::string::npos);
  // A header that is none is to be ignored; a field is not.
  CHECK(agent.http("POST", "/v1/tasks", {{"traceparent", "nonsense"}}, R"({"image":"busybox:test","command":["true"]})")
          .status
        == 202);
  CHECK(agent.http("POST", "/v1/tasks", {}, R"({"image":"busybox:test","traceparent":"nonsense"})").status == 400);
}
