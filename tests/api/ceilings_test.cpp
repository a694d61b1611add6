// A token's ceilings and volumes, as the API holds its tasks to them.
#include "fixture/test_agent.hpp"
#include "fixture/token_file.hpp"

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>

#include <fstream>

using namespace davit;
using namespace davit::test;
using namespace std::chrono_literals;

namespace {

struct limited_tokens {
  token_file tokens;
  std::string ci = tokens.make(
                "ci", "submit,read",
                {"--owner", "team", "--ceiling", "memory=64m", "--ceiling", "timeout=1h", "--shared-volume", "data-1"}),
              root = tokens.make("root", "admin", {"--owner", "team"}),
              low = tokens.make("low", "admin", {"--owner", "team", "--ceiling", "memory=32m"});
  test_agent agent{{}, [&](agent_settings& settings) {
                     settings.access.tokens_file = tokens.path;
                     settings.policy.volumes_allow = {"data-.*"};
                   }};

  transport::http_response submit(const std::string& token, const std::string& more) {
    agent.use_token(token);
    return agent.http("POST", "/v1/tasks", {}, R"({"image":"busybox:test","command":["true"])" + more + "}");
  }
  task stored(const transport::http_response& answer) {
    INFO(answer.body);
    REQUIRE(answer.status == 202);
    uuid id;
    REQUIRE(from_string(std::string{boost::json::parse(answer.body).at("id").as_string()}, id));
    return agent.find(id);
  }
};

} // namespace

TEST_CASE_METHOD(limited_tokens, "a token's ceilings hold for its tasks, and for no others") {
  auto large = R"(,"resources":{"memory":"128m"})";
  auto refused = submit(ci, large);
  CHECK(refused.status == 403);
  CHECK(refused.body.find("limits.memory") != std::string::npos);
  CHECK(refused.body.find("128m is over the limit of 64m, the ceiling of the token ci") != std::string::npos);
  auto others = stored(submit(root, large));
  CHECK(others.spec.resources.memory == byte_size{128ull << 20});
  agent.use_token(low); // it is its owner's task, but this token may not run it
  auto again = agent.http("POST", "/v1/tasks/" + to_string(others.id) + "/retry");
  CHECK(again.status == 403);
  CHECK(again.body.find("the ceiling of the token low") != std::string::npos);
}

TEST_CASE_METHOD(limited_tokens, "what a task does not name is kept with it as the token's ceiling has it") {
  auto own = stored(submit(ci, ""));
  CHECK(own.spec.resources.memory == byte_size{64ull << 20});
  CHECK(own.spec.timeout == 1h);
  CHECK_FALSE(own.spec.resources.cpus); // the policy's default stays the policy's affair
  auto free = stored(submit(root, ""));
  CHECK_FALSE(free.spec.resources.memory);
  CHECK_FALSE(free.spec.timeout);
  auto smaller = stored(submit(ci, R"(,"resources":{"memory":"16m"},"timeout":"1m")"));
  CHECK(smaller.spec.resources.memory == byte_size{16ull << 20});
  CHECK(smaller.spec.timeout == 1min);
}

TEST_CASE_METHOD(limited_tokens, "a token may be kept from volumes that all owners share") {
  auto with = [](const std::string& name) {
    return R"(,"mounts":[{"type":"volume","source":")" + name + R"(","target":"/x"}])";
  };
  CHECK(submit(ci, with("data-1")).status == 202);
  CHECK(submit(ci, with("cache")).status == 202); // its owner's own
  auto refused = submit(ci, with("data-2"));
  CHECK(refused.status == 403);
  CHECK(refused.body.find("volumes.allow") != std::string::npos);
  CHECK(refused.body.find("the token ci may not use it") != std::string::npos);
  CHECK(submit(root, with("data-2")).status == 202);
}

TEST_CASE_METHOD(limited_tokens, "a token's ceilings are listed, explained, and refused if they make no sense") {
  auto list = run_process({DAVIT_BINARY, "token", "list", "--tokens-file", tokens.path});
  CHECK(list.out.find("memory=64m,timeout=1h") != std::string::npos);
  auto make = [&](const std::string& ceiling) {
    return run_process(
      {DAVIT_BINARY, "token", "create", "x", "--scope", "read", "--tokens-file", tokens.path, "--ceiling", ceiling});
  };
  CHECK(make("memory=lots").err.find("--ceiling: memory: must be a size") != std::string::npos);
  CHECK(make("memmory=1g").err.find("is not a ceiling; the ceilings are cpus, memory") != std::string::npos);
  CHECK(run_process({DAVIT_BINARY, "token", "create", "x", "--scope", "read", "--tokens-file", tokens.path,
                     "--shared-volume", "("})
          .exit_code
        == 125);
  scratch_folder folder;
  std::ofstream{folder / "davit.conf"} << "davit {\n  api {\n    tokens-file = \"" + tokens.path + "\"\n  }\n}\n";
  std::ofstream{folder / "spec.json"} << R"({"image":"alpine","resources":{"memory":"128m"}})";
  auto explain = [&](const std::string& token) {
    return run_process(
      {DAVIT_BINARY, "explain-policy", folder / "spec.json", "--config-file", folder / "davit.conf", "--token", token});
  };
  auto told = explain("ci");
  INFO(told.err);
  CHECK(told.exit_code == 1);
  CHECK(told.out.find("128m is over the limit of 64m, the ceiling of the token ci") != std::string::npos);
  CHECK(explain("root").exit_code == 0);
  CHECK(explain("nobody").err.find("no token with the name nobody") != std::string::npos);
}
