// A data directory that is removed while the agent works with it.
#include "fixture/test_daemon.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <filesystem>

using namespace davit;
using namespace davit::test;

TEST_CASE("an agent whose data directory, or its database, is removed accepts nothing more, and ends with the reason") {
  auto what = GENERATE(as<std::string>{}, "", "/davit.db");
  test_daemon agent{{}};
  agent.start();
  REQUIRE(agent.http("POST", "/v1/tasks", {}, R"({"image":"a"})").status == 202);
  std::filesystem::remove_all(agent.data() + what);
  int status = 0; // 0: nobody answers any more
  try {
    status = agent.http("POST", "/v1/tasks", {}, R"({"image":"a"})").status;
  } catch (const std::exception&) {
  }
  CHECK((status == 0 || status == 503));
  auto end = agent.wait_end();
  INFO(end.err);
  CHECK(end.exit_code == 1);
  CHECK(end.err.find("was removed while the agent works with it") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(agent.data() + "/davit.db"));
}
