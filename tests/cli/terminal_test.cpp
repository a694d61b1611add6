// What commands print on a terminal, and what the agent's log has of what others wrote.
#include "cli/log_formatter.hpp"
#include "fixture/process.hpp"
#include "fixture/test_agent.hpp"

#include <catch2/catch_test_macros.hpp>

#include <spdlog/details/log_msg.h>
#include <spdlog/formatter.h>

#include <fcntl.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace davit;
using namespace davit::test;

namespace {

/// What a command writes to a terminal.
std::string on_terminal(std::vector<std::string> words) {
  int terminal = -1;
  std::vector<char*> arguments;
  for (auto& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  auto child = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  REQUIRE(child >= 0);
  if (child == 0) {
    ::execv(arguments.front(), arguments.data());
    ::_exit(127);
  }
  std::string text;
  char buffer[4096];
  for (ssize_t size = 0; (size = ::read(terminal, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(size));
  ::close(terminal);
  ::waitpid(child, nullptr, 0);
  return text;
}

} // namespace

TEST_CASE(
  "a task's own words can't move a terminal's cursor or turn its text around, and programs get them as they are",
  "[terminal]") {
  test_agent agent{{}};
  const std::string hostile = "a\xc2\x9b"
                              "31m\xe2\x80\xae\x7f";
  auto answer = agent.http("POST", "/v1/tasks", {}, R"({"image":"a","command":["echo",")" + hostile + "\"]}");
  REQUIRE(answer.status == 202);
  auto id = answer.body.substr(answer.body.find("\"id\":\"") + 6, 36);
  const std::string host = "--host=unix://" + agent.socket();
  for (const auto& words : std::vector<std::vector<std::string>>{
         {"inspect", id, host}, {"inspect", id, host, "--json"}, {"ps", host, "--json"}}) {
    auto all = words;
    all.insert(all.begin(), DAVIT_BINARY);
    auto shown = on_terminal(all);
    INFO(shown);
    CHECK(shown.find("a\\u009b31m\\u202e\\u007f") != std::string::npos);
    CHECK(shown.find("\xe2\x80\xae") == std::string::npos);
    CHECK(run_process(all).out.find(hostile) != std::string::npos);
  }
}

TEST_CASE("a message of the agent's log is one harmless line", "[terminal]") {
  const std::string hostile = "engine e\x1b[2J: a\nb \xe2\x80\xae \xff";
  auto line = [&](bool as_json) {
    spdlog::memory_buf_t text;
    make_log_formatter(as_json)->format({"davit", spdlog::level::warn, hostile}, text);
    return std::string{text.data(), text.size()};
  };
  CHECK(line(false).ends_with("Z warning engine e\\x1b[2J: a b \\xe2\\x80\\xae \\xff\n"));
  auto json = line(true);
  CHECK(json.find("\\u001b[2J: a\\nb \\u202e ") != std::string::npos);
  CHECK(json.find('\n') == json.size() - 1);
}
