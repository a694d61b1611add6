// Several owners at one engine: what they name alike is not the same.
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;
using namespace davit::test;

TEST_CASE("a named volume is its owner's, and a task's labels stand below davit's prefix", "[owners]") {
  test_engine engine{"a"};
  token_file tokens;
  auto a = tokens.make("a1", "submit,read", {"--owner", "team-a"}), other = tokens.make("a2", "submit,read"),
       b = tokens.make("b1", "submit,read", {"--owner", "team-b"});
  auto listen = listen_address();
  test_agent agent{{engine.settings(2)}, [&](agent_settings& settings) {
                     settings.api_listen = {listen};
                     settings.access.tokens_file = tokens.path;
                   }};
  auto run = [&](const std::string& token, const std::string& script) {
    auto spec = busybox(script);
    mount one;
    one.type = mount_type::volume;
    one.source = "cache";
    one.target = "/cache";
    spec.mounts.push_back(one);
    spec.labels = {{"com.docker.compose.project", "theirs"}};
    agent.use_token(token);
    auto ended = agent.run(spec);
    INFO(ended.message);
    CHECK(ended.outcome == outcome::succeeded);
    return agent.logs(ended.id).out;
  };
  CHECK(run(a, "echo secret > /cache/x").empty());
  CHECK(run(b, "cat /cache/x 2>/dev/null || echo nothing") == "nothing\n");
  CHECK(run(other, "cat /cache/x 2>/dev/null || echo nothing") == "nothing\n");
  CHECK(run(a, "cat /cache/x") == "secret\n");
  CHECK(engine.docker("volume ls -q --filter label=davit.owner=team-a | wc -l") == "1\n");
  CHECK(engine.docker("volume ls -q --filter name=^cache$ | wc -l") == "0\n");
  agent.use_token(a);
  auto spec = busybox("sleep 600");
  spec.labels = {{"com.docker.compose.project", "theirs"}};
  auto running = agent.submit(spec);
  agent.await_state(running, task_state::running);
  CHECK(engine.docker("ps -q --filter label=com.docker.compose.project | wc -l") == "0\n");
  if (agent.find(running).attempts.back().evidence.start.rfind("warm", 0) != 0) // a sandbox was made before its task
    CHECK(engine.docker("ps -q --filter label=davit.label.com.docker.compose.project=theirs | wc -l") == "1\n");
}
